/* What a window costs: ticks of a loop of known length, of windows through the network; bytes of stack. */
#include <string.h>

#include "board.h"
#include "fedtiny_nn.h"

#define TURNS 1000000u /* of the loop, 2 instructions each */
#define WINDOWS 100u
#define MOST_INPUTS 1024u
#define MOST_ARENA 4096u

extern const fedtiny_network model_network;

static int8_t inputs[MOST_INPUTS];
static int8_t arena[MOST_ARENA] __attribute__((aligned(4)));

static uint32_t ticks_of_loop(void)
{
    board_start();
    const uint32_t before = board_ticks();
    board_loop(TURNS);
    return board_ticks() - before;
}

/* The copy of the inputs is of both, so that the difference of the two is the network alone. */
static uint32_t ticks_of_windows(bool with_network)
{
    const uint32_t bytes = model_network.layers[0].inputs;
    board_start();
    const uint32_t before = board_ticks();
    for (uint32_t window = 0; window < WINDOWS; window++) {
        (void)memcpy(arena, inputs, bytes);
        __asm volatile("" : : : "memory");
        if (with_network) {
            (void)fedtiny_nn_run(&model_network, NULL, arena);
        }
    }
    return board_ticks() - before;
}

int main(void)
{
    uint32_t results[4];
    for (uint32_t i = 0; i < MOST_INPUTS; i++) {
        inputs[i] = (int8_t)((int32_t)((i * 37u) & 0xFFu) - 128);
    }
    results[0] = ticks_of_loop();
    results[1] = ticks_of_windows(false);
    results[2] = ticks_of_windows(true);
    board_paint_stack();
    (void)fedtiny_nn_run(&model_network, NULL, arena);
    results[3] = board_stack_used();
    board_write("results.bin", results, sizeof results);
    return 0;
}
