#ifndef PUMP_MODEL_H
#define PUMP_MODEL_H

#include "fedtiny.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PUMP_MODEL_HEAD_WORDS 64u
#define PUMP_MODEL_WATCH(watch) \
    static fedtiny_state watch##_state; \
    static const fedtiny_watch watch = {&pump_model, &watch##_state}

extern const fedtiny_release pump_model;

fedtiny_status pump_model_selftest(const fedtiny_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
