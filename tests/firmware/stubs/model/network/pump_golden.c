#include "pump_golden.h"

fedtiny_status pump_selftest(int8_t *arena) {
    return (arena != NULL) ? FEDTINY_OK : FEDTINY_MORE;
}
