/* Things of known size, to see whether they are measured as such; then it hangs where hang.bin says so. */
#include "board.h"

#define WORDS 64u
#define CALIBRATION 1000000u
#define TURNS 54321u

static uint32_t ticks(uint32_t turns)
{
    board_start();
    const uint32_t before = board_ticks();
    board_loop(turns);
    return board_ticks() - before;
}

__attribute__((noinline)) static uint32_t deep(uint32_t number)
{
    volatile uint32_t words[WORDS];
    for (uint32_t i = 0; i < WORDS; i++) {
        words[i] = number + i;
    }
    return words[number % WORDS];
}

int main(void)
{
    uint32_t hang = 0;
    const uint32_t results[2] = {ticks(CALIBRATION), ticks(TURNS)};
    uint32_t stack[2];
    board_paint_stack();
    stack[0] = deep(3u);
    stack[1] = board_stack_used();
    board_write("ticks.bin", results, sizeof results);
    board_write("stack.bin", stack, sizeof stack);
    (void)board_read("hang.bin", &hang, sizeof hang);
    while (hang != 0u) {
    }
    return 7;
}
