#include "fedtiny.h"

#include <float.h>
#include <string.h>

/*
 * The next head takes effect here, between two windows. What was learned under another head is worth nothing: the head
 * brings what an agent has learned under it, or the machine is learned anew. The latter waits while an alarm stands,
 * and while residuals are being learned: heads that come faster than that would keep the machine unwatched.
 */
static void switch_head(const fedtiny_watch *watch) {
    const fedtiny_release *release = watch->release;
    fedtiny_state *state = watch->state;
    const fedtiny_head *head = fedtiny_head_look(&state->heads);
    const bool learning = (state->scorer.machine == NULL) && (state->learner.phase != FEDTINY_LEARN_LEVEL);
    const bool brings = (head != NULL) ? (head->machine != NULL) : (release->machine != NULL);

    if ((head == state->heads.used) || (!brings && (learning || fedtiny_alarm_standing(&state->scorer.alarm)))) {
        return;
    }
    /* the head in use until now, and what came with it, is not written before the next one is used */
    fedtiny_learn_head(&state->learner, state->scorer.machine);
    fedtiny_head_use(&state->heads, head);
    if (!brings) {
        state->scorer.machine = NULL;
    } else if (head == NULL) {
        fedtiny_scorer_use(&state->scorer, release->machine);
    } else {
        (void)fedtiny_machine_open(&state->sent, head->machine, head->machine_bytes, release->features);
        fedtiny_scorer_use(&state->scorer, &state->sent);
    }
}

/* Whether a channel gives the same sample throughout the window: a wire is off, a sensor is dead. */
static bool is_flat(const fedtiny_watch *watch) {
    const fedtiny_release *release = watch->release;
    const size_t count = (size_t)release->window * release->channels;
    uint16_t channel;

    for (channel = 0; channel < release->channels; channel++) {
        size_t i = (size_t)channel + release->channels;
        while ((i < count) && (watch->samples[i] == watch->samples[channel])) {
            i += release->channels;
        }
        if (i >= count) {
            return true;
        }
    }
    return false;
}

/* Whether all features are numbers. */
static bool are_finite(const fedtiny_value *values, uint16_t features) {
#if !FEDTINY_FIXED_POINT
    uint16_t i;
    for (i = 0; i < features; i++) {
        if (!((values[i] > -FLT_MAX) && (values[i] < FLT_MAX))) {
            return false;
        }
    }
#else
    (void)values;
    (void)features;
#endif
    return true;
}

/* Values from features to residual, by the head in use. */
static void reconstruct(const fedtiny_watch *watch, const fedtiny_machine *machine) {
    const fedtiny_release *release = watch->release;
    const fedtiny_head *head = watch->state->heads.used;
    const int8_t *outputs;

    fedtiny_standardise(machine, &release->input, watch->values, watch->arena);
    outputs = fedtiny_nn_run(release->network, (head != NULL) ? &head->layer : NULL, watch->arena);
    fedtiny_residual((head != NULL) ? &head->codes : &release->output, outputs, watch->values, release->features);
}

static void learn(const fedtiny_watch *watch) {
    fedtiny_learner *learner = &watch->state->learner;

    if (fedtiny_learn_features(learner, watch->values)) {
        reconstruct(watch, &learner->machine);
        if (fedtiny_learn_residual(learner, watch->values) == FEDTINY_OK) {
            fedtiny_scorer_use(&watch->state->scorer, &learner->machine);
        }
    }
}

static uint8_t learned_percent(const fedtiny_learner *learner) {
    uint32_t done = learner->count;
    uint32_t all = 0;
    uint32_t phase;

    for (phase = 0; phase < 3u; phase++) {
        all += learner->plan->windows[phase];
        if (phase < (uint32_t)learner->phase) {
            done += learner->plan->windows[phase];
        }
    }
    return (uint8_t)(100u * done / all);
}

/* A window's features are in values; sound: nothing is wrong with its samples. */
static void take(const fedtiny_watch *watch, bool sound, fedtiny_finding *finding) {
    fedtiny_state *state = watch->state;
    fedtiny_scorer *scorer = &state->scorer;
    const bool learning = scorer->machine == NULL;

    (void)memset(finding, 0, sizeof *finding);
    if (!sound || !are_finite(watch->values, watch->release->features)) {
        finding->verdict = FEDTINY_SENSOR;
    } else if (fedtiny_still(learning ? &state->learner.machine : scorer->machine, watch->values)) {
        finding->verdict = FEDTINY_STILL;
    } else if (learning) {
        learn(watch);
        finding->verdict = FEDTINY_LEARNING;
    } else {
        reconstruct(watch, scorer->machine);
        fedtiny_judge(scorer, watch->values, finding);
    }
    finding->alarm = scorer->alarm.state;
    finding->learned = (scorer->machine != NULL) ? 100u : learned_percent(&state->learner);
    finding->threshold = (scorer->machine != NULL) ? scorer->machine->threshold : 0;
    finding->revision = (state->heads.used != NULL) ? state->heads.used->revision : watch->release->base.revision;
}

fedtiny_status fedtiny_start(const fedtiny_watch *watch) {
    const fedtiny_release *release = watch->release;
    fedtiny_state *state = watch->state;

    (void)memset(&state->heads, 0, sizeof state->heads);
    state->filled = 0;
    state->scorer.machine = NULL;
    state->scorer.centre = watch->centre;
    fedtiny_learn_begin(&state->learner, release->plan, watch->learned, watch->work);
    if (release->machine != NULL) {
        fedtiny_scorer_use(&state->scorer, release->machine);
    }
    return fedtiny_alarm_begin(&state->scorer.alarm, release->votes, release->vote_window);
}

size_t fedtiny_push(const fedtiny_watch *watch, const fedtiny_sample *frames, size_t count) {
    const fedtiny_release *release = watch->release;
    const size_t filled = watch->state->filled;
    const size_t room = release->window - filled;
    const size_t taken = (count < room) ? count : room;

    if ((taken == 0u) || (release->front == NULL)) {
        return 0u;
    }
    (void)memcpy(
        &watch->samples[filled * release->channels], frames, taken * release->channels * sizeof(fedtiny_sample)
    );
    watch->state->filled = (uint32_t)(filled + taken);
    return taken;
}

void fedtiny_gap(const fedtiny_watch *watch) { watch->state->filled = 0; }

fedtiny_status fedtiny_run(const fedtiny_watch *watch, fedtiny_finding *finding) {
    const fedtiny_release *release = watch->release;
    const uint32_t kept = release->window - release->hop;

    if (release->front == NULL) {
        return FEDTINY_ERROR_ARGUMENT;
    }
    if (watch->state->learner.plan == NULL) {
        return FEDTINY_ERROR_NOT_READY;
    }
    if (watch->state->filled < release->window) {
        return FEDTINY_MORE;
    }
    switch_head(watch);
    fedtiny_features(release->front, watch->samples, watch->scratch, watch->values);
    take(watch, !is_flat(watch), finding);
    (void)memmove(
        watch->samples, &watch->samples[(size_t)release->hop * release->channels],
        (size_t)kept * release->channels * sizeof(fedtiny_sample)
    );
    watch->state->filled = kept;
    return FEDTINY_OK;
}

fedtiny_status fedtiny_run_features(
    const fedtiny_watch *watch, const fedtiny_value *features, fedtiny_finding *finding
) {
    if (watch->state->learner.plan == NULL) {
        return FEDTINY_ERROR_NOT_READY;
    }
    switch_head(watch);
    (void)memcpy(watch->values, features, watch->release->features * sizeof(fedtiny_value));
    take(watch, true, finding);
    return FEDTINY_OK;
}

const fedtiny_value *fedtiny_away(const fedtiny_watch *watch) { return watch->values; }

bool fedtiny_acknowledge(const fedtiny_watch *watch) { return fedtiny_alarm_acknowledge(&watch->state->scorer.alarm); }

void fedtiny_relearn(const fedtiny_watch *watch) {
    fedtiny_state *state = watch->state;

    state->scorer.machine = NULL;
    (void)fedtiny_alarm_reset(&state->scorer.alarm);
    fedtiny_learn_begin(&state->learner, watch->release->plan, watch->learned, watch->work);
}
