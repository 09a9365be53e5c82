/* One window of samples -> log band energies, as the release was trained on them. */
#ifndef FEDTINY_FEATURES_H
#define FEDTINY_FEATURES_H

#include "fedtiny_types.h"

#if defined(FEDTINY_CMSIS_DSP) && !FEDTINY_FIXED_POINT
#include "dsp/transform_functions.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a spectrum is worked out in. Fixed point: a block of integers with one exponent. */
#if FEDTINY_FIXED_POINT
typedef int32_t fedtiny_wave;
#else
typedef float fedtiny_wave;
#endif

/* One stage of the transform: it joins `radix` transforms (2, 3, 4 or 5) into one. */
typedef struct {
    uint8_t radix;
    uint8_t shift;   /* fixed point: bits by which the stage scales down; 1 and 2 for radix 2 and 4 */
    uint16_t stride; /* of the transforms that it joins: from a point to the next, among the points loaded */
} fedtiny_stage;

/* Fixed point: from the summed power of a band, in units of its block, to a power in the unit of the training data. */
typedef struct {
    int32_t log2_scale;     /* Q12.20: log2 of the mean power in a band whose sum is 1 */
    int32_t floor_mantissa; /* the release's floor is floor_mantissa * 2^floor_exponent in units of the sum */
    int16_t floor_exponent;
} fedtiny_band_scale;

typedef struct {
    uint32_t window; /* samples a channel: a multiple of 4 without prime factors beyond 2, 3 and 5 */
    uint16_t channels;
    uint16_t bands;             /* a channel */
    const fedtiny_wave *cosine; /* [window / 4 + 1]: cos(2 pi i / window); fixed point: Q30 */
    const uint16_t *edges;      /* [bands + 1]: first bin of each band, and what follows the last one */
    const fedtiny_stage *stages;
    uint8_t stage_count;
#if FEDTINY_FIXED_POINT
    uint16_t narrowest;              /* bins of the narrowest band; no band has more than one bin more */
    fedtiny_band_scale scales[2];    /* of bands of `narrowest` bins, and of one bin more */
#else
    float gain;  /* from a sample (int16: times window) to half of its share of a normalised spectrum */
    float floor; /* power that every band gets, in the unit of the training data squared */
#if defined(FEDTINY_CMSIS_DSP)
    arm_status (*plan)(arm_cfft_instance_f32 *); /* CMSIS-DSP's for this window; NULL: it has none */
#endif
#endif
} fedtiny_front;

/*
 * Features of one window: frames [window][channels], interleaved, to features [channels * bands]: the natural logarithm
 * of a band's mean power plus the floor. scratch: `window` elements, with nothing of worth in them.
 */
void fedtiny_features(const fedtiny_front *front, const fedtiny_sample *frames, fedtiny_wave *scratch,
                      fedtiny_value *features);

#ifdef __cplusplus
}
#endif

#endif
