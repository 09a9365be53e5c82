/* The int8 network under TensorFlow Lite Micro. One inference at a time, from one task. */
#ifndef @{NAME}_TFLM_H
#define @{NAME}_TFLM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define @{NAME}_INPUTS @{inputs}u
#define @{NAME}_OUTPUTS @{outputs}u

/* Once, before all else; false: the model's schema is not TFLM's, or the arena is too small for this build of it. */
bool @{name}_begin(void);

/* Bytes of the arena that are in use, known after @{name}_begin: what the arena may shrink to, in multiples of 16. */
uint32_t @{name}_arena_used(void);

/* @{NAME}_INPUTS quantised numbers, to be written before each run. */
int8_t *@{name}_inputs(void);

/* Runs the network; returns @{NAME}_OUTPUTS quantised numbers that stay until the next run, NULL where it failed. */
const int8_t *@{name}_run(void);

#ifdef __cplusplus
}
#endif

#endif
