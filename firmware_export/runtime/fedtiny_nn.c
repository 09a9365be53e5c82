#include "fedtiny_nn.h"

#include <string.h>

#include "fedtiny_dot.h"

const uint8_t FEDTINY_BUILD = 0u;

#if defined(FEDTINY_DOT_MVE) && (FEDTINY_ROUNDING != FEDTINY_ROUNDING_XNN)

/* As below, by instructions that round so: VQRDMULH is the doubling high multiply, VRSHL shifts with ties upward. */
static inline void requantise(const fedtiny_layer *layer, uint32_t row, const int32_t *sums, int8_t *outputs)
{
    const int32x4_t shift = vldrbq_s32(&layer->shift[row]);
    const int32x4_t start = vshlq_s32(vld1q_s32(sums), vmaxq_s32(shift, vdupq_n_s32(0)));
    int32x4_t value = vqrdmulhq_s32(start, vld1q_s32(&layer->multiplier[row]));
#if FEDTINY_ROUNDING == FEDTINY_ROUNDING_TFLM
    value = vaddq_s32(value, vshrq_n_s32(vandq_s32(value, shift), 31));
#endif
    value = vrshlq_s32(value, vminq_s32(shift, vdupq_n_s32(0)));
    value = vmaxq_s32(value, vdupq_n_s32(layer->low - layer->zero_point));
    value = vminq_s32(value, vdupq_n_s32(layer->high - layer->zero_point));
    vstrbq_s32(&outputs[row], vaddq_n_s32(value, layer->zero_point));
}

#else

#if FEDTINY_ROUNDING == FEDTINY_ROUNDING_XNN

/*
 * Output of a row, from low to high, of its sum: sum * multiplier in float32, clamped, then to the nearest integer,
 * ties to even. Adding 1.5 * 2^23 leaves that integer in the low bits of the float32; the clamp between keeps a
 * compiler from fusing the product with that addition.
 */
static inline int32_t requantised(const fedtiny_layer *layer, uint32_t row, int32_t sum)
{
    const int32_t zero_point = layer->zero_point;
    const float least = (float)(layer->low - zero_point);
    const float most = (float)(layer->high - zero_point);
    float scaled = (float)sum * layer->multiplier[row];
    int32_t bits;
    if (scaled < least) {
        scaled = least;
    }
    if (scaled > most) {
        scaled = most;
    }
    scaled += 12582912.0f;
    (void)memcpy(&bits, &scaled, sizeof(bits));
    return (bits - 0x4B400000) + zero_point;
}

#else

/*
 * Output of a row, from low to high, of its sum: sum * multiplier * 2^(shift - 31), rounded to the nearest integer
 * before the shift to the right, ties upward, and again by it, ties upward (tflite) or away from zero (tflm). The
 * export sees to it that no sum overflows when it is shifted to the left.
 */
static inline int32_t requantised(const fedtiny_layer *layer, uint32_t row, int32_t sum)
{
    const int32_t zero_point = layer->zero_point;
    const int32_t least = layer->low - zero_point;
    const int32_t most = layer->high - zero_point;
    const int32_t shift = layer->shift[row];
    const int32_t start = (shift > 0) ? (sum * (int32_t)(1u << (uint32_t)shift)) : sum;
    int32_t value = (int32_t)((((int64_t)start * layer->multiplier[row]) + 0x40000000) >> 31);
    if (shift < 0) {
#if FEDTINY_ROUNDING == FEDTINY_ROUNDING_TFLM
        value += value >> 31;
#endif
        value = ((value >> (-1 - shift)) + 1) >> 1;
    }
    if (value < least) {
        value = least;
    }
    if (value > most) {
        value = most;
    }
    return value + zero_point;
}

#endif

static inline void requantise(const fedtiny_layer *layer, uint32_t row, const int32_t *sums, int8_t *outputs)
{
    for (uint32_t i = 0; i < FEDTINY_ROWS; i++) {
        outputs[row + i] = (int8_t)requantised(layer, row + i, sums[i]);
    }
}

#endif

/* outputs has room for the padded rows. */
static void run_layer(const fedtiny_layer *from, const int8_t *inputs, int8_t *outputs)
{
    const fedtiny_layer layer = *from; /* a copy: the compiler need not read it again after each output */
    const uint32_t blocks = (layer.inputs + (FEDTINY_COLUMNS - 1u)) / FEDTINY_COLUMNS;
    const int8_t *weights = layer.weights;
    for (uint32_t row = 0; row < layer.outputs; row += FEDTINY_ROWS) {
        int32_t sums[FEDTINY_ROWS];
        (void)memcpy(sums, &layer.bias[row], sizeof(sums));
        fedtiny_dot4(weights, inputs, layer.inputs, sums);
        weights += blocks * (FEDTINY_ROWS * FEDTINY_COLUMNS);
        requantise(&layer, row, sums, outputs);
    }
}

const int8_t *fedtiny_nn_run(const fedtiny_network *network, const fedtiny_layer *head, int8_t *arena)
{
    int8_t *inputs = arena;
    int8_t *outputs = &arena[network->odd_offset];
    for (uint32_t i = 0; i < network->count; i++) {
        const bool last = (i + 1u) == network->count;
        int8_t *const used = inputs;
        run_layer((last && (head != NULL)) ? head : &network->layers[i], used, outputs);
        inputs = outputs;
        outputs = used;
    }
    return inputs;
}
