#include "pump_model.h"

const fedtiny_release pump_model = {1};

fedtiny_status pump_model_selftest(const fedtiny_watch *watch) {
    return (watch->release == &pump_model) ? FEDTINY_OK : FEDTINY_MORE;
}
