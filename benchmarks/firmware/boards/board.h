/* What a program on an emulated board has: files of the host by semihosting, a counter of instructions, its stack. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Whole files in the working directory of the emulator. A file that cannot be had ends the program. */
uint32_t board_read(const char *path, void *to, uint32_t most); /* returns the bytes read */
void board_write(const char *path, const void *from, uint32_t bytes);

/* Ends the emulator; its exit code. */
void board_exit(uint32_t code) __attribute__((noreturn));

/* Ticks since the last board_start, at most 2^24 - 1; how many instructions a tick is, board_loop tells. */
void board_start(void);
uint32_t board_ticks(void);

/* Executes 2 instructions a turn. */
void board_loop(uint32_t turns);

/* Bytes of stack that a call takes, its own return address included: paint, call, look. */
void board_paint_stack(void);
uint32_t board_stack_used(void);

#endif
