#ifndef PUMP_MODEL_H
#define PUMP_MODEL_H

#include "fedtiny.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PUMP_MODEL_ARENA_BYTES 30u
#define PUMP_MODEL_INPUTS 3u
#define PUMP_MODEL_OUTPUTS 3u

extern const fedtiny_network pump_model_network;

fedtiny_status pump_model_selftest(int8_t *arena);

#ifdef __cplusplus
}
#endif

#endif
