#include "pump_model.h"

const fedtiny_network pump_model_network = {1};

fedtiny_status pump_model_selftest(int8_t *arena) {
    return (arena != NULL) ? FEDTINY_OK : FEDTINY_MORE;
}
