#include "pump_model.h"

const fedtiny_release pump_release = {1};
const fedtiny_network pump_network = {1};
