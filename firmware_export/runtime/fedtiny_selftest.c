#include "fedtiny_selftest.h"

fedtiny_status fedtiny_selftest(const fedtiny_watch *watch, const fedtiny_golden *golden) {
    const fedtiny_release *release = watch->release;
    fedtiny_status status = fedtiny_golden_network(release->network, golden, watch->arena);
    uint32_t state = 1u;
    uint32_t i;

    if ((status != FEDTINY_OK) || (golden->features == NULL)) {
        return status;
    }
    for (i = 0; i < release->window * release->channels; i++) {
        const int32_t sample = (int32_t)(fedtiny_golden_noise(&state) >> 18u) - 8192; /* 14 bits */
#if FEDTINY_SAMPLE_INT16
        watch->samples[i] = (int16_t)sample;
#else
        watch->samples[i] = (float)sample * (1.0f / 8192.0f);
#endif
    }
    fedtiny_features(release->front, watch->samples, watch->scratch, watch->values);
    for (i = 0; i < release->features; i++) {
        const fedtiny_value off = watch->values[i] - golden->features[i];
        if (!((off <= golden->tolerance) && (off >= -golden->tolerance))) { /* a NaN is wrong, too */
            status = FEDTINY_ERROR_SELFTEST;
        }
    }
    return status;
}
