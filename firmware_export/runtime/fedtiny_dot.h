/* The inner product of a dense layer: 4 outputs at a time, over blocks of 4 rows x 16 columns of int8 weights. */
#ifndef FEDTINY_DOT_H
#define FEDTINY_DOT_H

#include <stdint.h>

/*
 * Adds to sums the products of 4 rows of weights with inputs. weights: the blocks of these rows, one after the other,
 * 64 bytes for 16 columns, row by row, aligned to 4; what pads the last block is zero. inputs: aligned to 4, readable
 * up to the next multiple of 16; what pads them may have any value.
 */
static inline void fedtiny_dot4(const int8_t *weights, const int8_t *inputs, uint32_t inputs_count, int32_t sums[4])
{
    for (uint32_t row = 0; row < 4u; row++) {
        int32_t sum = sums[row];
        for (uint32_t column = 0; column < inputs_count; column++) {
            const uint32_t at = ((column / 16u) * 64u) + (row * 16u) + (column % 16u);
            sum += (int32_t)weights[at] * (int32_t)inputs[column];
        }
        sums[row] = sum;
    }
}

#endif
