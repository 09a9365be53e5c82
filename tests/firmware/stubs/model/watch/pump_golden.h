#ifndef PUMP_GOLDEN_H
#define PUMP_GOLDEN_H

#include "fedtiny.h"

#ifdef __cplusplus
extern "C" {
#endif

fedtiny_status pump_selftest(fedtiny_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
