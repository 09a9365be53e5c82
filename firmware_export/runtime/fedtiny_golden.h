/*
 * Golden values of the self-test. What they are golden for is noise that is made on the spot, so that they are small; a
 * linker that drops unused sections leaves them out where nobody asks.
 */
#ifndef FEDTINY_GOLDEN_H
#define FEDTINY_GOLDEN_H

#include "fedtiny_nn.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint16_t vectors;
    const uint32_t *outputs;       /* [vectors]: CRC-32 of the network's outputs for one input vector of noise each */
    const fedtiny_value *features; /* [features] of a window of noise; NULL: there is nothing before the network */
    fedtiny_value tolerance;       /* of features; 0 in fixed point */
} fedtiny_golden;

/* The next number of the noise; state starts at 1. */
uint32_t fedtiny_golden_noise(uint32_t *state);

/* Whether the network computes its golden values to the bit. arena: network->arena_bytes, aligned to 4. */
fedtiny_status fedtiny_golden_network(const fedtiny_network *network, const fedtiny_golden *golden, int8_t *arena);

#ifdef __cplusplus
}
#endif

#endif
