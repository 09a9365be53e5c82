#include "pump_golden.h"

fedtiny_status pump_selftest(fedtiny_watch *watch) {
    return (watch != NULL) ? FEDTINY_OK : FEDTINY_MORE;
}
