/* A window's way through the exported C, from samples to its level: for benchmarks/firmware/quality.py. */
#include <string.h>

#include "fedtiny_features.h"
#include "fedtiny_learn.h"
#include "fedtiny_nn.h"

#include "release.h" /* it_network, it_front, it_plan, input, output, and sizes */

static fedtiny_wave scratch[WINDOW];
static fedtiny_value values[FEATURES];
static fedtiny_value centre[FEATURES];
static int8_t arena[ARENA] __attribute__((aligned(4)));
static fedtiny_value learned[FEDTINY_LEARN_VALUES(FEATURES)];
static float work[FEDTINY_LEARN_WORK(FEATURES, LARGEST)];
static fedtiny_learner learner;
static fedtiny_machine sent;

static void residual(const fedtiny_machine *machine) {
    fedtiny_standardise(machine, &input, values, arena);
    fedtiny_residual(&output, fedtiny_nn_run(&it_network, NULL, arena), values, FEATURES);
}

/* Levels of count windows by a machine section or, where there is none, what was learned; the threshold. */
fedtiny_value score(const uint8_t *section, size_t size, const int16_t *frames, size_t count, fedtiny_value *levels);
fedtiny_value score(const uint8_t *section, size_t size, const int16_t *frames, size_t count, fedtiny_value *levels) {
    fedtiny_scorer scorer = { .centre = centre };
    if (section != NULL && fedtiny_machine_open(&sent, section, size, FEATURES) != FEDTINY_OK) {
        return 0;
    }
    (void)fedtiny_alarm_begin(&scorer.alarm, 1, 1);
    fedtiny_scorer_use(&scorer, (section != NULL) ? &sent : &learner.machine);
    for (size_t i = 0; i < count; i++) {
        fedtiny_finding finding;
        fedtiny_features(&it_front, &frames[i * SAMPLES], scratch, values);
        residual(scorer.machine);
        fedtiny_judge(&scorer, values, &finding);
        levels[i] = finding.level;
    }
    return scorer.machine->threshold;
}

/* What goes into the network, and what comes out of it [FEATURES], of count windows by a machine section. */
int reconstruct(
    const uint8_t *section, size_t size, const int16_t *frames, size_t count, int8_t *inputs, int8_t *outputs
);
int reconstruct(
    const uint8_t *section, size_t size, const int16_t *frames, size_t count, int8_t *inputs, int8_t *outputs
) {
    const fedtiny_status status = fedtiny_machine_open(&sent, section, size, FEATURES);
    for (size_t i = 0; (i < count) && (status == FEDTINY_OK); i++) {
        fedtiny_features(&it_front, &frames[i * SAMPLES], scratch, values);
        fedtiny_standardise(&sent, &input, values, arena);
        (void)memcpy(&inputs[i * FEATURES], arena, FEATURES);
        (void)memcpy(&outputs[i * FEATURES], fedtiny_nn_run(&it_network, NULL, arena), FEATURES);
    }
    return status;
}

int learn(const int16_t *frames, size_t count);
int learn(const int16_t *frames, size_t count) {
    fedtiny_status status = FEDTINY_MORE;
    fedtiny_learn_begin(&learner, &it_plan, learned, work);
    for (size_t i = 0; i < count; i++) {
        fedtiny_features(&it_front, &frames[i * SAMPLES], scratch, values);
        if (fedtiny_learn_features(&learner, values)) {
            residual(&learner.machine);
            status = fedtiny_learn_residual(&learner, values);
        }
    }
    return status;
}
