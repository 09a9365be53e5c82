#include "fedtiny_golden.h"

#include "fedtiny_crc.h"

/* Marsaglia, Xorshift RNGs, Journal of Statistical Software 8, 2003: 32 bits, never 0. */
uint32_t fedtiny_golden_noise(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13u;
    x ^= x >> 17u;
    x ^= x << 5u;
    *state = x;
    return x;
}

fedtiny_status fedtiny_golden_network(const fedtiny_network *network, const fedtiny_golden *golden, int8_t *arena) {
    const uint16_t inputs = network->layers[0].inputs;
    const uint16_t outputs = network->layers[network->count - 1u].outputs;
    uint32_t state = 1u;
    uint16_t vector;

    for (vector = 0; vector < golden->vectors; vector++) {
        const int8_t *result;
        uint16_t i;
        for (i = 0; i < inputs; i++) {
            arena[i] = (int8_t)((int32_t)(fedtiny_golden_noise(&state) >> 24u) - 128);
        }
        result = fedtiny_nn_run(network, NULL, arena);
        if (fedtiny_crc32(0, (const uint8_t *)result, outputs) != golden->outputs[vector]) {
            return FEDTINY_ERROR_SELFTEST;
        }
    }
    return FEDTINY_OK;
}
