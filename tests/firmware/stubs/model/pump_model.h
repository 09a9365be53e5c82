#ifndef PUMP_MODEL_H
#define PUMP_MODEL_H

#include "fedtiny.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PUMP_HEAD_WORDS 64u
#define PUMP_ARENA_BYTES 30u
#define PUMP_INPUTS 3u
#define PUMP_OUTPUTS 3u
#define PUMP_WATCH(watch) static fedtiny_watch watch = {&pump_release, {0}, 0u, 64u}

extern const fedtiny_release pump_release;
extern const fedtiny_network pump_network;

#ifdef __cplusplus
}
#endif

#endif
