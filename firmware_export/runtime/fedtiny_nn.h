/* An int8 network of dense layers, to the bit as the interpreter of its rounding profile computes it. */
#ifndef FEDTINY_NN_H
#define FEDTINY_NN_H

#include "fedtiny_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FEDTINY_ROWS 4u     /* outputs that are computed together */
#define FEDTINY_COLUMNS 16u /* inputs to a block */

/* From an int32 sum to the next layer's int8: a Q31 multiplier, or a float32 under the profile xnn. */
#if FEDTINY_ROUNDING == FEDTINY_ROUNDING_XNN
typedef float fedtiny_multiplier;
#else
typedef int32_t fedtiny_multiplier;
#endif

/*
 * One dense layer. Rows (outputs) are padded to a multiple of FEDTINY_ROWS, columns (inputs) to one of FEDTINY_COLUMNS;
 * what pads is zero. weights: blocks of 4 rows x 16 columns, row by row within a block (64 bytes), the blocks of a
 * group of 4 rows one after the other. bias, multiplier and shift have one entry a padded row; the input's zero point
 * is folded into the bias. weights are aligned to 4. shift: positive is to the left; not used under xnn, may be NULL.
 */
typedef struct {
    uint16_t inputs;
    uint16_t outputs;
    int8_t zero_point; /* of the output */
    int8_t low;        /* least and most of the output: its activation function */
    int8_t high;
    const int8_t *weights;
    const int32_t *bias;
    const fedtiny_multiplier *multiplier;
    const int8_t *shift;
} fedtiny_layer;

/*
 * Layers in order. They work in an arena of arena_bytes, aligned to 4: the inputs of even layers at 0, those of odd
 * layers at odd_offset, each padded to a multiple of FEDTINY_COLUMNS.
 */
typedef struct {
    const fedtiny_layer *layers;
    uint16_t count;
    uint32_t odd_offset;
    uint32_t arena_bytes;
    const uint8_t *build; /* FEDTINY_BUILD */
} fedtiny_network;

extern const uint8_t FEDTINY_BUILD;

/*
 * Runs the network on the inputs at the start of the arena, which it overwrites; returns the outputs, in the arena.
 * head stands in for the last layer; NULL: the network's own. What pads inputs may have any value.
 */
const int8_t *fedtiny_nn_run(const fedtiny_network *network, const fedtiny_layer *head, int8_t *arena);

#ifdef __cplusplus
}
#endif

#endif
