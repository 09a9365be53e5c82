#include "fedtiny_learn.h"

#include <math.h>

#define FLOOR_SHARE 0.25f    /* of the median deviation; the floor on deviations of fit_standardisation in */
#define SMALLEST 0.02f       /* fedtiny/signal/features.py */
#define LEAST_VARIANCE 1e-6f /* fedtiny/model/scoring.py */
#define LEAST_THRESHOLD 1e-3f /* normal windows score about 1: less is learned from what never varies */
#define LEAST_SCORE 1e-9f    /* fedtiny/model/threshold.py */

#if FEDTINY_FIXED_POINT

#define CANNOT_TELL INT32_MIN

static float number_of(fedtiny_value value) {
    return (float)value * (1.0f / 65536.0f);
}

static fedtiny_value value_of(float number) {
    const float scaled = number * 65536.0f;
    if (scaled >= 2147483648.0f) {
        return INT32_MAX;
    }
    if (!(scaled > -2147483648.0f)) {
        return INT32_MIN;
    }
    return (fedtiny_value)(scaled + ((scaled < 0.0f) ? -0.5f : 0.5f));
}

#else

#define CANNOT_TELL (-3.4e38f)

static float number_of(fedtiny_value value) {
    return value;
}

static fedtiny_value value_of(float number) {
    return number;
}

#endif

/* The parts of values and work. */
static fedtiny_value *own_mean(const fedtiny_learner *learner) {
    return learner->values;
}

static fedtiny_value *residual_mean(const fedtiny_learner *learner) {
    return &learner->values[learner->plan->features];
}

static fedtiny_value *gain(const fedtiny_learner *learner) {
    return &learner->values[2u * (size_t)learner->plan->features];
}

static float *average(const fedtiny_learner *learner) {
    return learner->work;
}

static float *squares(const fedtiny_learner *learner) {
    return &learner->work[learner->plan->features];
}

static float *largest(const fedtiny_learner *learner) {
    return &learner->work[2u * (size_t)learner->plan->features];
}

/* Begins a phase; the running residuals are those of the last two, the running level that of the first. */
static void enter(fedtiny_learner *learner, fedtiny_learn_phase phase) {
    learner->phase = phase;
    learner->count = 0u;
    if (phase != FEDTINY_LEARN_SCORES) {
        learner->fitted = 0u;
        for (uint16_t i = 0u; i < learner->plan->features; i++) {
            average(learner)[i] = 0.0f;
            squares(learner)[i] = 0.0f;
        }
    }
    learner->in_block = 0u;
    learner->log_sum = 0.0f;
    learner->log_squares = 0.0f;
    for (uint16_t i = 0u; i < learner->plan->largest; i++) {
        largest(learner)[i] = 0.0f;
    }
}

/* Running mean and squared deviations of a window's values: Welford, Technometrics 4, 1962. */
static void add(fedtiny_learner *learner, const fedtiny_value *values) {
    learner->fitted++;
    const float count = (float)learner->fitted;
    for (uint16_t i = 0u; i < learner->plan->features; i++) {
        const float value = number_of(values[i]);
        const float off = value - average(learner)[i];
        average(learner)[i] += off / count;
        squares(learner)[i] += off * (value - average(learner)[i]);
    }
}

/* The release's mean, or the machine's own where that lies far from it: adapt_standardisation of features.py. */
static void settle_level(fedtiny_learner *learner) {
    const fedtiny_plan *plan = learner->plan;
    float distance = 0.0f;
    for (uint16_t i = 0u; i < plan->features; i++) {
        const float z = (average(learner)[i] - number_of(plan->mean[i])) * number_of(plan->factor[i]);
        distance += z * z;
    }
    if (distance > plan->foreign * (float)plan->features) {
        for (uint16_t i = 0u; i < plan->features; i++) {
            own_mean(learner)[i] = value_of(average(learner)[i]);
        }
        learner->machine.mean = own_mean(learner);
    }
}

/* The value that so many others lie below, or beside it. */
static float by_rank(const float *values, uint16_t count, uint16_t rank) {
    for (uint16_t i = 0u; i < count; i++) {
        uint16_t below = 0u;
        uint16_t equal = 0u;
        for (uint16_t j = 0u; j < count; j++) {
            below = (uint16_t)(below + ((values[j] < values[i]) ? 1u : 0u));
            equal = (uint16_t)(equal + ((values[j] == values[i]) ? 1u : 0u));
        }
        if ((below <= rank) && (rank < below + equal)) {
            return values[i];
        }
    }
    return 0.0f; /* no number among them */
}

/* Residual model of rank 0 from the running residuals: fit_residuals of scoring.py. */
static void fit(fedtiny_learner *learner) {
    const uint16_t n = learner->plan->features;
    const float *sums = squares(learner);
    const float count = (float)learner->fitted;
    const float low = sqrtf(by_rank(sums, n, (uint16_t)((n - 1u) / 2u)) / count);
    const float high = sqrtf(by_rank(sums, n, (uint16_t)(n / 2u)) / count);
    const float floor_deviation = fmaxf(FLOOR_SHARE * 0.5f * (low + high), SMALLEST);
    float variance = 0.0f;
    for (uint16_t i = 0u; i < n; i++) {
        const float deviation = fmaxf(sqrtf(sums[i] / count), floor_deviation);
        variance += sums[i] / (count * deviation * deviation);
    }
    const float spread = sqrtf(fmaxf(variance / (float)n, LEAST_VARIANCE));
    for (uint16_t i = 0u; i < n; i++) {
        const float deviation = fmaxf(sqrtf(sums[i] / count), floor_deviation);
        residual_mean(learner)[i] = value_of(average(learner)[i]);
        gain(learner)[i] = value_of(1.0f / (deviation * spread));
    }
}

/* Windows of the block at hand: as equal as can be, the larger ones first. */
static uint16_t block_size(const fedtiny_plan *plan, uint16_t block) {
    const uint16_t windows = plan->windows[FEDTINY_LEARN_SCORES];
    return (uint16_t)(windows / plan->blocks + ((block < windows % plan->blocks) ? 1u : 0u));
}

/* Which block the window of this number, from 0, is the last of; blocks: of none. */
static uint16_t ended_block(const fedtiny_plan *plan, uint16_t window) {
    uint16_t end = 0u;
    for (uint16_t block = 0u; block < plan->blocks; block++) {
        end = (uint16_t)(end + block_size(plan, block));
        if (end == window + 1u) {
            return block;
        }
    }
    return plan->blocks;
}

static void keep_largest(const fedtiny_learner *learner, float score) {
    float *kept = largest(learner); /* descending */
    for (uint16_t i = 0u; i < learner->plan->largest; i++) {
        if (score > kept[i]) {
            const float smaller = kept[i];
            kept[i] = score;
            score = smaller;
        }
    }
}

static void add_score(fedtiny_learner *learner, float score) {
    const float logarithm = logf(fmaxf(score, LEAST_SCORE));
    learner->in_block++;
    if (learner->in_block == 1u) {
        learner->block_mean = 0.0f;
    }
    const float off = logarithm - learner->block_mean;
    learner->block_mean += off / (float)learner->in_block;
    learner->log_squares += off * (logarithm - learner->block_mean);
    learner->log_sum += logarithm;
    keep_largest(learner, score);
    const uint16_t block = ended_block(learner->plan, (uint16_t)(learner->count - 1u));
    if (block < learner->plan->blocks) {
        const bool highest = (block == 0u) || (learner->block_mean > learner->highest_mean);
        learner->highest_mean = highest ? learner->block_mean : learner->highest_mean;
        learner->in_block = 0u;
    }
}

/* calibrate_threshold of threshold.py, whose constants for so many windows are the plan's. */
static void calibrate(fedtiny_learner *learner) {
    const fedtiny_plan *plan = learner->plan;
    const uint16_t windows = plan->windows[FEDTINY_LEARN_SCORES];
    const float spread = sqrtf(learner->log_squares / (float)(windows - plan->blocks));
    const float level = fmaxf(learner->log_sum / (float)windows, learner->highest_mean - plan->by_chance * spread);
    float threshold = expf(level + plan->tolerance * spread);
    if (plan->largest > 0u) {
        threshold = fmaxf(threshold, largest(learner)[plan->largest - 1u]);
    }
    threshold = fmaxf(threshold, LEAST_THRESHOLD);
    learner->machine.threshold = value_of(threshold);
    learner->machine.drift_limit = learner->machine.threshold;
    learner->machine.clear = value_of(plan->clear * threshold);
}

void fedtiny_learn_begin(fedtiny_learner *learner, const fedtiny_plan *plan, fedtiny_value *values, float *work) {
    const fedtiny_machine fresh = {
        .features = plan->features,
        .mean = plan->mean,
        .factor = plan->factor,
        .residual_mean = &values[plan->features],
        .gain = &values[2u * (size_t)plan->features],
        .still_below = CANNOT_TELL,
    };
    learner->plan = plan;
    learner->machine = fresh;
    learner->values = values;
    learner->work = work;
    learner->quietest = INFINITY;
    enter(learner, FEDTINY_LEARN_LEVEL);
}

void fedtiny_learn_head(fedtiny_learner *learner, const fedtiny_machine *known) {
    if ((known != NULL) && (known != &learner->machine)) {
        for (uint16_t i = 0u; i < learner->plan->features; i++) {
            own_mean(learner)[i] = known->mean[i];
        }
        learner->machine.mean = own_mean(learner);
        learner->machine.still_below = known->still_below;
        if (known->still_below > CANNOT_TELL) {
            learner->quietest = number_of(known->still_below) + learner->plan->still;
        }
        enter(learner, FEDTINY_LEARN_RESIDUALS);
    } else if (learner->phase != FEDTINY_LEARN_LEVEL) {
        enter(learner, FEDTINY_LEARN_RESIDUALS);
    } else {
        /* no residual was seen yet */
    }
}

bool fedtiny_learn_features(fedtiny_learner *learner, const fedtiny_value *features) {
    const fedtiny_plan *plan = learner->plan;
    if (plan->powers) {
        fedtiny_value loudest = features[0];
        for (uint16_t i = 1u; i < plan->features; i++) {
            loudest = (features[i] > loudest) ? features[i] : loudest;
        }
        learner->quietest = fminf(learner->quietest, number_of(loudest));
        learner->machine.still_below = value_of(learner->quietest - plan->still);
    }
    if (learner->phase != FEDTINY_LEARN_LEVEL) {
        return true;
    }
    add(learner, features);
    learner->count++;
    if (learner->count == plan->windows[FEDTINY_LEARN_LEVEL]) {
        settle_level(learner);
        enter(learner, FEDTINY_LEARN_RESIDUALS);
    }
    return false;
}

fedtiny_status fedtiny_learn_residual(fedtiny_learner *learner, fedtiny_value *residual) {
    if ((learner->phase != FEDTINY_LEARN_RESIDUALS) && (learner->phase != FEDTINY_LEARN_SCORES)) {
        return FEDTINY_ERROR_NOT_READY;
    }
    learner->count++;
    add(learner, residual);
    if (learner->phase == FEDTINY_LEARN_RESIDUALS) {
        if (learner->count == learner->plan->windows[FEDTINY_LEARN_RESIDUALS]) {
            fit(learner);
            enter(learner, FEDTINY_LEARN_SCORES);
        }
        return FEDTINY_MORE;
    }
    fedtiny_whiten(&learner->machine, residual);
    add_score(learner, number_of(fedtiny_mean_square(residual, learner->plan->features)));
    if (learner->count < learner->plan->windows[FEDTINY_LEARN_SCORES]) {
        return FEDTINY_MORE;
    }
    calibrate(learner);
    fit(learner);
    enter(learner, FEDTINY_LEARNED);
    return FEDTINY_OK;
}
