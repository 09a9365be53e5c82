/*
 * Features in integers, with an exponent that a channel's window has in common.
 *
 * No overflow: a sample is freed of its mean exactly, d = window * x - sum of all x, and |d| <= 65,535 * window, which
 * for windows of up to 20,480 samples is below 1.35e9. It is shifted left while all |d| stay below 2^30; call the
 * largest of them D < 1.35e9. A point of the transform has a magnitude of at most sqrt(2) D < 1.9e9, and so has every
 * sum within the transform (fedtiny_fft.h), in its real and imaginary part alike: below 2^31 - 1, with much more room
 * than the few thousand units that rounding may add up to. A Hann window sums up to half of its length, so a bin of
 * the real signal, window / 2 times scaled down, is at most D again, and by Parseval a band's power is below
 * 1.25 D^2 < 2^62.
 */
#include "fedtiny_features.h"

#if FEDTINY_FIXED_POINT

#if !FEDTINY_SAMPLE_INT16
#error "fixed-point features need int16 samples"
#endif

#include "fedtiny_fft.h"

#define LARGEST_PEAK 536870912 /* 2^29: below it, there is room for one more bit */
#define LARGEST_SHIFT 30u
#define LN_2 1488522236 /* Q31 */

/* log2(1 + x) = x * polynomial(x) within 2e-7 for x in [0, 1): interpolated at Chebyshev points; Q30, x in Q31. */
static const int32_t logarithm[8] = {1549081665, -774497233, 515409455, -379134322,
                                     273993519,  -165519457, 67375618,  -12967602};

typedef struct {
    int32_t total; /* of the samples */
    uint32_t shift; /* to the left */
} block;

static block block_of(const fedtiny_front *front, const int16_t *samples)
{
    block b = {0, 0u};
    int32_t least = samples[0];
    int32_t most = samples[0];
    for (uint32_t i = 0u; i < front->window; i++) {
        const int32_t x = samples[i * front->channels];
        b.total += x;
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    const int32_t above = (int32_t)front->window * most - b.total;
    const int32_t below = b.total - (int32_t)front->window * least;
    int32_t peak = above > below ? above : below;
    while ((peak < LARGEST_PEAK) && (b.shift < LARGEST_SHIFT)) {
        peak *= 2;
        b.shift++;
    }
    return b;
}

/* Sample i behind the Hann window. */
static inline int32_t windowed(const fedtiny_front *front, const int16_t *samples, uint32_t i, block b)
{
    const int32_t centred = (int32_t)front->window * samples[i * front->channels] - b.total;
    return times(centred * (int32_t)(1u << b.shift), HALF - (cosine(front, i) >> 1));
}

/* Bins in scratch; returns by how many bits the samples were shifted to the left. */
static uint32_t spectrum(const fedtiny_front *front, const int16_t *samples, int32_t *scratch)
{
    const block b = block_of(front, samples);
    uint32_t source = 0u;
    for (uint32_t i = 0u; i < front->window / 2u; i++) {
        store(scratch, i, windowed(front, samples, 2u * source, b), windowed(front, samples, 2u * source + 1u, b));
        source = next_point(front, source);
    }
    transform(front, scratch);
    split(front, scratch);
    return b.shift;
}

static inline uint64_t square(int32_t x)
{
    return (uint64_t)((int64_t)x * x);
}

/* log2 of x > 0, in Q12.20 */
static int32_t log2_of(uint64_t x)
{
    const uint32_t zeros = (uint32_t)__builtin_clzll(x);
    const int32_t fraction = (int32_t)((uint32_t)((x << zeros) >> 32) - 0x80000000u); /* Q31 */
    int32_t y = logarithm[7];
    for (uint32_t i = 7u; i > 0u; i--) {
        y = rounded((int64_t)y * fraction, 31u) + logarithm[i - 1u];
    }
    return (int32_t)(63u - zeros) * 1048576 + rounded((int64_t)y * fraction, 41u);
}

/* ln(power * scale + floor), Q16.16; power: sum of a band, of samples that were shifted to the left by `shift`. */
static int32_t feature_of(uint64_t power, uint32_t shift, const fedtiny_band_scale *scale)
{
    const int32_t exponent = scale->floor_exponent + (int32_t)(2u * shift);
    const int32_t lost = exponent > 30 ? exponent - 30 : 0; /* a floor that dwarfs all power: in larger units, then */
    uint64_t whole = lost < 64 ? power >> lost : 0u;
    if (exponent >= 0) {
        whole += (uint64_t)scale->floor_mantissa << (exponent - lost);
    } else if (exponent > -32) {
        whole += (uint64_t)rounded(scale->floor_mantissa, (uint32_t)-exponent);
    }
    const int32_t units = lost - (int32_t)(2u * shift);
    const int32_t log2 = log2_of(whole > 0u ? whole : 1u) + units * 1048576 + scale->log2_scale;
    return rounded((int64_t)log2 * LN_2, 35u);
}

void fedtiny_features(const fedtiny_front *front, const fedtiny_sample *frames, fedtiny_wave *scratch,
                      fedtiny_value *features)
{
    const uint32_t points = front->window / 2u;
    for (uint32_t channel = 0u; channel < front->channels; channel++) {
        const uint32_t shift = spectrum(front, frames + channel, scratch);
        for (uint32_t band = 0u; band < front->bands; band++) {
            const uint32_t start = front->edges[band];
            const uint32_t stop = front->edges[band + 1u];
            uint64_t power = stop > points ? square(scratch[1]) : 0u;
            for (uint32_t k = start; k < (stop > points ? points : stop); k++) {
                power += square(scratch[2u * k]) + square(scratch[2u * k + 1u]);
            }
            features[channel * front->bands + band] =
                feature_of(power, shift, &front->scales[stop - start - front->narrowest]);
        }
    }
}

#endif
