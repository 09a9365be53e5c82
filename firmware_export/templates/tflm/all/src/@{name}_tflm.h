/* The int8 network under TensorFlow Lite Micro. One inference at a time, from one task. */
#ifndef @{NAME}_TFLM_H
#define @{NAME}_TFLM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define @{NAME}_TFLM_INPUTS @{inputs}u
#define @{NAME}_TFLM_OUTPUTS @{outputs}u

/* value = (code - zero point) * scale */
#define @{NAME}_TFLM_INPUT_SCALE @{in_scale}
#define @{NAME}_TFLM_INPUT_ZERO_POINT (@{in_zero})
#define @{NAME}_TFLM_OUTPUT_SCALE @{out_scale}
#define @{NAME}_TFLM_OUTPUT_ZERO_POINT (@{out_zero})

/* Once, before all else; false: the model's schema is not TFLM's, or the arena is too small for this build of it. */
bool @{name}_tflm_begin(void);

/* Whether this build computes what it should, to the bit. After @{name}_tflm_begin; it overwrites inputs and outputs. */
bool @{name}_tflm_selftest(void);

/* Bytes of the arena that are in use, after @{name}_tflm_begin: what the arena may shrink to, in multiples of 16. */
uint32_t @{name}_tflm_arena_used(void);

/* @{NAME}_TFLM_INPUTS quantised numbers, to be written before each run. */
int8_t *@{name}_tflm_inputs(void);

/* Runs the network: @{NAME}_TFLM_OUTPUTS quantised numbers that stay until the next run, NULL where it failed. */
const int8_t *@{name}_tflm_run(void);

#ifdef __cplusplus
}
#endif

#endif
