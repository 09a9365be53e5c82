/*
 * A machine under watch: samples in, findings out.
 *
 *     #include "fedtiny_model.h"
 *     FEDTINY_MODEL_WATCH(pump);                        the static memory of one machine
 *
 *     fedtiny_start(&pump);
 *     while (count > 0) {                               frames as they come from the converter
 *         taken = fedtiny_push(&pump, frames, count);   fewer than count: the window is full, the rest comes after it
 *         frames += taken * channels;
 *         count -= taken;
 *         if (fedtiny_run(&pump, &finding) == FEDTINY_OK) { ... }
 *     }
 *
 * One window costs what fedtiny_run takes: features, int8 network, score, vote; the one that ends a phase of learning
 * 4 x features^2 comparisons more. Nothing blocks, allocates or recurses.
 * The functions on one watch are called from one task or interrupt, but for those on its heads: see fedtiny_head.h.
 */
#ifndef FEDTINY_H
#define FEDTINY_H

#include "fedtiny_features.h"
#include "fedtiny_head.h"
#include "fedtiny_learn.h"
#include "fedtiny_nn.h"
#include "fedtiny_score.h"
#include "fedtiny_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All that an export holds, in flash. */
typedef struct {
    fedtiny_head_base base; /* release id, revision and last layer of the network as it was exported */
    const fedtiny_network *network;
    const fedtiny_front *front; /* NULL: the release takes ready-made features */
    uint16_t features;
    uint16_t channels;
    uint32_t window; /* samples of a channel */
    uint32_t hop;    /* the same, from the start of one window to that of the next: at most a window */
    fedtiny_input_codes input;
    fedtiny_output_codes output;
    const fedtiny_machine *machine; /* what an agent has learned of this one machine; NULL: it is learned here */
    const fedtiny_plan *plan;       /* how it is learned here, then and whenever a head brings no machine with it */
    uint8_t votes;                  /* windows over the threshold, of the last vote_window, that raise the alarm */
    uint8_t vote_window;
} fedtiny_release;

/* What changes from window to window. */
typedef struct {
    fedtiny_heads heads;
    fedtiny_machine sent; /* what the image of the head in use says of the machine */
    fedtiny_scorer scorer;
    fedtiny_learner learner;
    uint32_t filled; /* frames of the next window that are there */
} fedtiny_state;

/* One machine: its release, and the RAM that <NAME>_MODEL_WATCH of <name>_model.h sets aside for it. */
typedef struct {
    const fedtiny_release *release;
    fedtiny_sample *samples; /* [window][channels]; NULL with scratch: ready-made features */
    fedtiny_wave *scratch;   /* [window] */
    fedtiny_value *values;   /* [features] */
    int8_t *arena;           /* [network->arena_bytes], aligned to 4 */
    fedtiny_value *centre;   /* [features] */
    fedtiny_value *learned;  /* [FEDTINY_LEARN_VALUES] */
    float *work;             /* [FEDTINY_LEARN_WORK] */
    fedtiny_state *state;
} fedtiny_watch;

/*
 * Begins, or begins anew: an empty window, no alarm, the release's own head; what was learned here is forgotten. Heads
 * are applied after it.
 */
fedtiny_status fedtiny_start(const fedtiny_watch *watch);

/* Takes frames (a sample of each channel, interleaved); returns how many: fewer than count when the window is full. */
size_t fedtiny_push(const fedtiny_watch *watch, const fedtiny_sample *frames, size_t count);

/* Samples were lost: the next window begins with the next frame. */
void fedtiny_gap(const fedtiny_watch *watch);

/*
 * FEDTINY_MORE: the window is not full. FEDTINY_OK: finding tells of it, and the next window has begun.
 * FEDTINY_ERROR_NOT_READY: before fedtiny_start.
 */
fedtiny_status fedtiny_run(const fedtiny_watch *watch, fedtiny_finding *finding);

/* The same for a window's features [features] in place of its samples; FEDTINY_OK. */
fedtiny_status fedtiny_run_features(
    const fedtiny_watch *watch, const fedtiny_value *features, fedtiny_finding *finding
);

/* After NORMAL or ANOMALOUS: what each feature adds to the score, times the number of features: values[i] squared. */
const fedtiny_value *fedtiny_away(const fedtiny_watch *watch);

/* The operator has seen the alarm; true: it was raised. */
bool fedtiny_acknowledge(const fedtiny_watch *watch);

/* After maintenance: forget what is normal and learn it here; the alarm is cleared. */
void fedtiny_relearn(const fedtiny_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
