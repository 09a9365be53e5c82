/* Features in float32. */
#include "fedtiny_features.h"

#if !FEDTINY_FIXED_POINT

#include <math.h>

#include "fedtiny_fft.h"

/* The mean that a channel is freed of, as exactly as it takes beside a large offset. */
#if FEDTINY_SAMPLE_INT16

typedef int32_t centre; /* sum of the samples; at most 32,768 of them */

static centre centre_of(const fedtiny_front *front, const int16_t *samples)
{
    int32_t total = 0;
    for (uint32_t i = 0u; i < front->window; i++) {
        total += samples[i * front->channels];
    }
    return total;
}

/* (x - mean) * window, without an error of rounding before the last step */
static inline float centred(const fedtiny_front *front, int16_t x, centre middle)
{
    return (float)((int32_t)front->window * x - middle);
}

#else

typedef struct {
    float mean;
    float rest; /* mean of what is left when mean is taken off */
} centre;

static centre centre_of(const fedtiny_front *front, const float *samples)
{
    const float first = samples[0];
    centre middle = {0.0f, 0.0f};
    for (uint32_t i = 0u; i < front->window; i++) {
        middle.mean += samples[i * front->channels] - first;
    }
    middle.mean = middle.mean / (float)front->window + first;
    for (uint32_t i = 0u; i < front->window; i++) {
        middle.rest += samples[i * front->channels] - middle.mean;
    }
    middle.rest /= (float)front->window;
    return middle;
}

static inline float centred(const fedtiny_front *front, float x, centre middle)
{
    (void)front;
    return (x - middle.mean) - middle.rest;
}

#endif

/* Sample i behind the Hann window, at the scale of the spectrum. */
static inline float windowed(const fedtiny_front *front, const fedtiny_sample *samples, uint32_t i, centre middle)
{
    const float weight = front->gain - front->gain * cosine(front, i);
    return centred(front, samples[i * front->channels], middle) * weight;
}

static void spectrum(const fedtiny_front *front, const fedtiny_sample *samples, float *scratch)
{
    const centre middle = centre_of(front, samples);
    const uint32_t points = front->window / 2u;
    uint32_t source = 0u;
#if defined(FEDTINY_CMSIS_DSP)
    arm_cfft_instance_f32 instance;
    const bool ready = (front->plan != NULL) && (front->plan(&instance) == ARM_MATH_SUCCESS);
#else
    const bool ready = false;
#endif
    for (uint32_t i = 0u; i < points; i++) {
        store(scratch, i, windowed(front, samples, 2u * source, middle),
              windowed(front, samples, 2u * source + 1u, middle));
        source = ready ? source + 1u : next_point(front, source);
    }
#if defined(FEDTINY_CMSIS_DSP)
    if (ready) {
        arm_cfft_f32(&instance, scratch, 0u, 1u);
    }
#endif
    if (!ready) {
        transform(front, scratch);
    }
    split(front, scratch);
}

void fedtiny_features(const fedtiny_front *front, const fedtiny_sample *frames, fedtiny_wave *scratch,
                      fedtiny_value *features)
{
    const uint32_t points = front->window / 2u;
    for (uint32_t channel = 0u; channel < front->channels; channel++) {
        spectrum(front, frames + channel, scratch);
        for (uint32_t band = 0u; band < front->bands; band++) {
            const uint32_t start = front->edges[band];
            const uint32_t stop = front->edges[band + 1u];
            float power = stop > points ? scratch[1] * scratch[1] : 0.0f;
            for (uint32_t k = start; k < (stop > points ? points : stop); k++) {
                power += scratch[2u * k] * scratch[2u * k] + scratch[2u * k + 1u] * scratch[2u * k + 1u];
            }
            features[channel * front->bands + band] = logf(power / (float)(stop - start) + front->floor);
        }
    }
}

#endif
