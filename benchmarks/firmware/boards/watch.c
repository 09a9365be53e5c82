/*
 * What a watched machine costs, samples to alarm: stack, the code of all that a firmware calls, and its time.
 * results.bin: bytes of stack, bytes of fedtiny_state. ticks.bin: of a loop of known length; then windows that were
 * scored, and the ticks of fedtiny_run on them all, of their features alone, and of their network alone.
 */
#include "board.h"
#include "fedtiny_model.h"

#define TURNS 1000000u /* of the loop, 2 instructions each */
#define WINDOWS 100u   /* through learning and into scoring */

FEDTINY_MODEL_WATCH(machine);
static uint32_t storage[FEDTINY_MODEL_HEAD_WORDS];
static fedtiny_head_slot slot;
static fedtiny_sample frames[64];

static void hear_noise(void)
{
    static uint32_t noise = 1u;
    for (uint32_t i = 0u; i < 64u; i++) {
        noise = (noise * 1664525u) + 1013904223u;
        frames[i] = (fedtiny_sample)((int32_t)(noise >> 20) - 2048);
    }
}

static void refuse_head(void)
{
    size_t used;
    if ((fedtiny_head_begin(&slot, false) == FEDTINY_OK)
        && (fedtiny_head_write(&slot, (const uint8_t *)frames, sizeof frames, &used) == FEDTINY_OK)) {
        (void)fedtiny_head_apply(&slot);
    }
}

/* Each call is a part of its own: the counter of ticks holds no more than a few windows. */
static void count_parts(uint32_t ticks[5])
{
    for (uint32_t i = 0u; i < ticks[1]; i++) {
        board_start();
        fedtiny_features(machine.release->front, machine.samples, machine.scratch, machine.values);
        ticks[3] += board_ticks();
        board_start();
        (void)fedtiny_nn_run(machine.release->network, NULL, machine.arena);
        ticks[4] += board_ticks();
    }
}

int main(void)
{
    uint32_t results[2] = {0u, sizeof(fedtiny_state)};
    uint32_t ticks[5] = {0u, 0u, 0u, 0u, 0u};
    uint32_t windows = 0u;
    board_start();
    board_loop(TURNS);
    ticks[0] = board_ticks();
    if ((fedtiny_model_selftest(&machine) != FEDTINY_OK) || (fedtiny_start(&machine) != FEDTINY_OK)) {
        return 1;
    }
    fedtiny_head_init(&slot, &machine.release->base, &machine.state->heads, storage, sizeof storage);
    board_paint_stack();
    while (windows < WINDOWS) {
        fedtiny_finding finding;
        hear_noise();
        (void)fedtiny_push(&machine, frames, 64u / machine.release->channels);
        board_start();
        if (fedtiny_run(&machine, &finding) == FEDTINY_OK) {
            windows++;
            if (finding.verdict >= FEDTINY_NORMAL) {
                ticks[1]++;
                ticks[2] += board_ticks();
            }
        }
        refuse_head();
        (void)fedtiny_acknowledge(&machine);
    }
    results[0] = board_stack_used();
    count_parts(ticks);
    board_write("results.bin", results, sizeof results);
    board_write("ticks.bin", ticks, sizeof ticks);
    return 0;
}
