/*
 * From features to a score and a verdict. One buffer, a fedtiny_value a feature, goes through it all in place:
 *
 *     features -fedtiny_standardise-> z -fedtiny_residual-> residual -fedtiny_judge-> away
 *
 * with the network between the first two. The squares of away, over the number of features, add up to the score: they
 * tell which features it comes from. Normal windows score about 1.
 *
 * Fixed point: every fedtiny_value is Q16.16 and saturates; errors of a few 2^-16 in z are all that differs from float.
 * It takes values that float32 calls tame: |z| below 32768, gains from 0.01 to 32767; the exporter checks.
 */
#ifndef FEDTINY_SCORE_H
#define FEDTINY_SCORE_H

#include "fedtiny_alarm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* z -> the network's int8 inputs: round(z * per_unit) + zero_point, half to even, clamped. */
typedef struct {
    fedtiny_value per_unit; /* codes a unit of z: 1 / the scale of the input */
    int8_t zero_point;
} fedtiny_input_codes;

/* The network's int8 outputs -> z: (code - zero_point) * step. It belongs to the head. */
typedef struct {
    fedtiny_value step; /* the scale of the output; fixed point: in 2^-24, below 128 */
    int8_t zero_point;
} fedtiny_output_codes;

/*
 * What is normal for one machine. Vectors have one value a feature.
 * z = (features - mean) * factor; whitened = (residual - residual_mean) * gain, then each of the orthonormal directions
 * shortened by its share shrink.
 */
typedef struct {
    uint16_t features;
    uint16_t rank;
    const fedtiny_value *mean;
    const fedtiny_value *factor;
    const fedtiny_value *residual_mean;
    const fedtiny_value *gain;
    const fedtiny_value *centre;     /* where drift starts, in units of whitened; NULL: at 0 */
    const fedtiny_value *directions; /* [rank][features], |value| <= 1 */
    const fedtiny_value *shrink;     /* [rank], 0 to 1 */
    fedtiny_value threshold;         /* a window that scores this or more is anomalous */
    fedtiny_value clear;             /* one that scores less than this is quiet: enough of them clear an alarm */
    fedtiny_value drift_limit;       /* the score that drift alone may come to */
    fedtiny_value still_below;       /* loudest feature of a machine that stands still; the least value: cannot tell */
} fedtiny_machine;

typedef enum {
    FEDTINY_LEARNING = 0,
    FEDTINY_STILL = 1, /* the machine stands still: no score, no vote */
    FEDTINY_NORMAL = 2,
    FEDTINY_ANOMALOUS = 3,
    FEDTINY_SENSOR = 4 /* a channel is flat, or a value is no number: no score, no vote, nothing learned */
} fedtiny_verdict;

typedef struct {
    fedtiny_verdict verdict;
    fedtiny_alarm_state alarm;
    bool changed;            /* the alarm was raised or cleared by this window */
    uint8_t learned;         /* percent of the windows that scoring waits for */
    fedtiny_value score;     /* distance from where drift has moved the normal to */
    fedtiny_value level;     /* distance from what was learned: how the machine has changed since */
    fedtiny_value threshold; /* a score of this or more is anomalous */
    uint32_t revision;       /* of the head that it was scored by */
} fedtiny_finding;

/* The scores of one machine. */
typedef struct {
    const fedtiny_machine *machine;
    fedtiny_value *centre; /* RAM, a value a feature: where slow drift has moved the normal to */
    fedtiny_alarm alarm;
} fedtiny_scorer;

#define FEDTINY_MACHINE_BYTES(features, rank) (4u * (6u + 5u * (features) + (rank) * ((features) + 1u)))

/*
 * Points machine into a machine section of a head image, in place: it must stay where it is. Little-endian, 4 bytes a
 * value: features, rank (uint32); threshold, clear, drift_limit, still_below; mean, factor, residual_mean, gain, centre
 * [features]; directions [rank][features]; shrink [rank]. section is aligned to 4; features: the model's.
 */
fedtiny_status fedtiny_machine_open(fedtiny_machine *machine, const uint8_t *section, size_t size, uint16_t features);

/* Judges by machine from the next window on; drift starts anew. The alarm stays as it is. */
void fedtiny_scorer_use(fedtiny_scorer *scorer, const fedtiny_machine *machine);

/* Whether the machine stands still by its features. Such a window goes no further. */
bool fedtiny_still(const fedtiny_machine *machine, const fedtiny_value *features);

/* features -> z in place, and the network's inputs [features]. */
void fedtiny_standardise(
    const fedtiny_machine *machine, const fedtiny_input_codes *codes, fedtiny_value *values, int8_t *inputs
);

/* z -> residual in place: what the network's outputs leave of it. */
void fedtiny_residual(
    const fedtiny_output_codes *codes, const int8_t *outputs, fedtiny_value *values, uint16_t features
);

/* residual -> whitened in place. */
void fedtiny_whiten(const fedtiny_machine *machine, fedtiny_value *values);

/* Mean of the squares. What is no number or beyond all bounds is the most: 1e12, in fixed point 32767.99. */
fedtiny_value fedtiny_mean_square(const fedtiny_value *values, uint16_t features);

/*
 * residual -> away in place; score, verdict and vote. Drift follows windows below the threshold while no alarm stands.
 */
void fedtiny_judge(fedtiny_scorer *scorer, fedtiny_value *values, fedtiny_finding *finding);

#ifdef __cplusplus
}
#endif

#endif
