/* Release @{short}, revision @{revision}, by fedtiny @{fedtiny}. Generated: an export with other options writes another. */
#ifndef @{NAME}_MODEL_H
#define @{NAME}_MODEL_H

#include "fedtiny.h"
#include "fedtiny_selftest.h"

#ifdef __cplusplus
extern "C" {
#endif

#define @{NAME}_MODEL_RELEASE "@{release}"
#define @{NAME}_MODEL_REVISION @{revision}u
#define @{NAME}_MODEL_FEATURES @{features}u
#define @{NAME}_MODEL_ARENA_BYTES @{arena}u

/* uint32_t words of a slot for a head image: of one without, and of one with what an agent has learned of a machine. */
#define @{NAME}_MODEL_HEAD_WORDS FEDTINY_HEAD_WORDS(@{inputs}u, @{outputs}u, 0u)
#define @{NAME}_MODEL_HEAD_MACHINE_WORDS \
    FEDTINY_HEAD_WORDS(@{inputs}u, @{outputs}u, FEDTINY_MACHINE_BYTES(@{features}u, @{rank}u))

extern const fedtiny_release @{name}_model;

/* All memory of one machine, static. @{NAME}_MODEL_WATCH(pump); makes pump, a const fedtiny_watch. */
#define @{NAME}_MODEL_WATCH(watch) \
@{frames}    static fedtiny_value watch##_values[@{features}]; \
    static int32_t watch##_arena[@{arena} / 4]; \
    static fedtiny_value watch##_centre[@{features}]; \
    static fedtiny_value watch##_learned[FEDTINY_LEARN_VALUES(@{features}u)]; \
    static float watch##_work[FEDTINY_LEARN_WORK(@{features}u, @{largest}u)]; \
    static fedtiny_state watch##_state; \
    static const fedtiny_watch watch = {&@{name}_model, @{samples}, watch##_values, \
                                        (int8_t *)watch##_arena, watch##_centre, watch##_learned, watch##_work, \
                                        &watch##_state}

/* Whether this build computes what it should; before fedtiny_start, in whose buffers it works. */
fedtiny_status @{name}_model_selftest(const fedtiny_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
