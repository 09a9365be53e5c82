/*
 * What is normal for one machine, learned on the microcontroller from its first windows: where no agent has learned it,
 * or a new head has made what was learned worthless. Three phases, by windows, as the plan says:
 *
 *     level       mean of the features: whether the machine lies so far from the release's that it needs its own
 *     residuals   mean and deviation of what the network leaves
 *     scores      of windows that were not learned from: the threshold that keeps the false-alarm budget
 *
 * The residual model that scores in the end knows the windows of the last two. All is streaming; no window is kept.
 * Floating point and libm (sqrtf, logf, expf) are used in both number types; what is learned is converted at the end.
 *
 *     if (fedtiny_learn_features(&learner, features)) {
 *         ... fedtiny_standardise by learner.machine, network, fedtiny_residual ...
 *         if (fedtiny_learn_residual(&learner, residual) == FEDTINY_OK) { ... score by learner.machine from now on ... }
 *     }
 *
 * Keep windows of a machine that stands still (fedtiny_still by learner.machine) and those under an alarm away from it.
 */
#ifndef FEDTINY_LEARN_H
#define FEDTINY_LEARN_H

#include "fedtiny_score.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FEDTINY_LEARN_VALUES(features) (3u * (features))
#define FEDTINY_LEARN_WORK(features, largest) (2u * (features) + (largest))

/* How to learn; made at export. Vectors have one value a feature. */
typedef struct {
    uint16_t features;
    uint16_t windows[3];         /* of each phase: at least 1, 2, 2 */
    bool powers;                 /* features are log powers: they tell whether the machine stands still */
    const fedtiny_value *mean;   /* the release's standardisation */
    const fedtiny_value *factor;
    float foreign;               /* mean square distance in z beyond which a machine takes its own mean */
    float still;                 /* below the quietest window's loudest feature by this much: it stands still */
    uint16_t blocks;             /* that the scores come in, at most their windows */
    uint16_t largest;            /* at least the so many-th largest score is the threshold; 0: too few windows for it */
    float by_chance;             /* of the deviation of log scores: what the highest block lies above the mean */
    float tolerance;             /* of the same: from their level to the threshold */
    float clear;                 /* share of the threshold below which a window is quiet */
} fedtiny_plan;

typedef enum {
    FEDTINY_LEARN_LEVEL = 0,
    FEDTINY_LEARN_RESIDUALS = 1,
    FEDTINY_LEARN_SCORES = 2,
    FEDTINY_LEARNED = 3
} fedtiny_learn_phase;

typedef struct {
    const fedtiny_plan *plan;
    fedtiny_machine machine; /* its standardisation stands from the second phase on, all of it at the end */
    fedtiny_learn_phase phase;
    uint16_t count; /* windows of the phase */
    fedtiny_value *values;
    float *work;
    float quietest;    /* loudest feature of the quietest window */
    uint32_t fitted;   /* windows in the running residuals */
    uint16_t in_block; /* log scores: windows of the block at hand, its mean, */
    float block_mean;
    float highest_mean; /* the highest of the blocks', */
    float log_sum;      /* of all, and the squares within blocks */
    float log_squares;
} fedtiny_learner;

/* Begins. values: FEDTINY_LEARN_VALUES(features), work: FEDTINY_LEARN_WORK(features, plan->largest); both stay. */
void fedtiny_learn_begin(fedtiny_learner *learner, const fedtiny_plan *plan, fedtiny_value *values, float *work);

/*
 * The network has a new head: residuals and threshold are learned anew. known: the machine that was scored by until
 * now, whose mean and standstill are kept; NULL: the learner's own, or it goes on with what it lacks.
 */
void fedtiny_learn_head(fedtiny_learner *learner, const fedtiny_machine *known);

/* A normal window's features, before they are standardised. True: its residual is wanted, too. */
bool fedtiny_learn_features(fedtiny_learner *learner, const fedtiny_value *features);

/* Its residual, which is overwritten. FEDTINY_OK: learned, machine is complete; FEDTINY_MORE: go on. */
fedtiny_status fedtiny_learn_residual(fedtiny_learner *learner, fedtiny_value *residual);

#ifdef __cplusplus
}
#endif

#endif
