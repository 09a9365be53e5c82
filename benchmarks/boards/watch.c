/* What a watched machine costs, samples to alarm: stack, and the code of all that a firmware calls. */
#include "board.h"
#include "fedtiny_model.h"

FEDTINY_MODEL_WATCH(machine);
static uint32_t storage[FEDTINY_MODEL_HEAD_WORDS];
static fedtiny_head_slot slot;

int main(void)
{
    static fedtiny_sample frames[64];
    uint32_t results[2] = {0u, sizeof(fedtiny_state)};
    uint32_t noise = 1u;
    uint32_t windows = 0u;
    if ((fedtiny_model_selftest(&machine) != FEDTINY_OK) || (fedtiny_start(&machine) != FEDTINY_OK)) {
        return 1;
    }
    fedtiny_head_init(&slot, &machine.release->base, &machine.state->heads, storage, sizeof storage);
    board_paint_stack();
    while (windows < 100u) { /* through learning and into scoring */
        fedtiny_finding finding;
        size_t used;
        for (uint32_t i = 0u; i < 64u; i++) {
            noise = (noise * 1664525u) + 1013904223u;
            frames[i] = (fedtiny_sample)((int32_t)(noise >> 20) - 2048);
        }
        (void)fedtiny_push(&machine, frames, 64u / machine.release->channels);
        if (fedtiny_run(&machine, &finding) == FEDTINY_OK) {
            windows++;
        }
        if ((fedtiny_head_begin(&slot, false) == FEDTINY_OK)
            && (fedtiny_head_write(&slot, (const uint8_t *)frames, sizeof frames, &used) == FEDTINY_OK)) {
            (void)fedtiny_head_apply(&slot);
        }
        (void)fedtiny_acknowledge(&machine);
    }
    results[0] = board_stack_used();
    board_write("results.bin", results, sizeof results);
    return 0;
}
