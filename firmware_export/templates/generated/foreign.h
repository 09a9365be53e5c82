/* A network of int8 dense layers, by fedtiny @{fedtiny}. Generated: an export with other options writes another. */
#ifndef @{NAME}_MODEL_H
#define @{NAME}_MODEL_H

#include "fedtiny_golden.h"
#include "fedtiny_nn.h"

#ifdef __cplusplus
extern "C" {
#endif

#define @{NAME}_MODEL_INPUTS @{inputs}u
#define @{NAME}_MODEL_OUTPUTS @{outputs}u
#define @{NAME}_MODEL_ARENA_BYTES @{arena}u /* of fedtiny_nn_run, aligned to 4 */

/* value = (code - zero point) * scale */
#define @{NAME}_MODEL_INPUT_SCALE @{in_scale}
#define @{NAME}_MODEL_INPUT_ZERO_POINT (@{in_zero})
#define @{NAME}_MODEL_OUTPUT_SCALE @{out_scale}
#define @{NAME}_MODEL_OUTPUT_ZERO_POINT (@{out_zero})

extern const fedtiny_network @{name}_model_network;

/* Whether this build computes what it should; it works in the arena. */
fedtiny_status @{name}_model_selftest(int8_t *arena);

#ifdef __cplusplus
}
#endif

#endif
