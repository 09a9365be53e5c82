/* Start of a Cortex-M in QEMU, semihosting, SysTick. The emulator loads .data and .bss, so nothing is copied here. */
#include "board.h"

/* Semihosting for AArch32 and AArch64, release 2.0: operation numbers, and the mode of SYS_OPEN. */
#define SYS_OPEN 0x01u
#define SYS_CLOSE 0x02u
#define SYS_WRITE 0x05u
#define SYS_READ 0x06u
#define SYS_EXIT_EXTENDED 0x20u
#define MODE_READ_BINARY 1u
#define MODE_WRITE_BINARY 5u
#define APPLICATION_EXIT 0x20026u

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define SYST_MOST 0xFFFFFFu
#define SYST_PROCESSOR_CLOCK 4u
#define SYST_ENABLE 1u

#define NO_FILE 2u
#define FAULT 3u

extern uint32_t board_stack_top[];
int main(void);
void board_reset(void);

static uint32_t call(uint32_t operation, const void *block)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = block;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_exit(uint32_t code)
{
    const uint32_t block[2] = {APPLICATION_EXIT, code};
    (void)call(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

static uint32_t open_file(const char *path, uint32_t mode)
{
    uint32_t length = 0;
    while (path[length] != '\0') {
        length++;
    }
    const uint32_t block[3] = {(uint32_t)(uintptr_t)path, mode, length};
    const uint32_t file = call(SYS_OPEN, block);
    if (file == UINT32_MAX) {
        board_exit(NO_FILE);
    }
    return file;
}

uint32_t board_read(const char *path, void *to, uint32_t most)
{
    const uint32_t file = open_file(path, MODE_READ_BINARY);
    const uint32_t block[3] = {file, (uint32_t)(uintptr_t)to, most};
    const uint32_t missing = call(SYS_READ, block);
    (void)call(SYS_CLOSE, &file);
    return most - missing;
}

void board_write(const char *path, const void *from, uint32_t bytes)
{
    const uint32_t file = open_file(path, MODE_WRITE_BINARY);
    const uint32_t block[3] = {file, (uint32_t)(uintptr_t)from, bytes};
    const uint32_t missing = call(SYS_WRITE, block);
    (void)call(SYS_CLOSE, &file);
    if (missing != 0u) {
        board_exit(NO_FILE);
    }
}

void board_start(void)
{
    SYST_CSR = SYST_PROCESSOR_CLOCK;
    SYST_RVR = SYST_MOST;
    SYST_CVR = 0u;
    SYST_CSR = SYST_PROCESSOR_CLOCK | SYST_ENABLE;
}

uint32_t board_ticks(void)
{
    const uint32_t left = SYST_CVR;
    return (left == 0u) ? 0u : (SYST_MOST - left);
}

void board_loop(uint32_t turns)
{
    __asm volatile("1: subs %0, %0, #1\n bne 1b" : "+r"(turns) : : "cc");
}

/* Assembly, so that neither has a stack of its own: both start at that of their caller, as its next call does. */
__attribute__((naked)) void board_paint_stack(void)
{
    __asm volatile("ldr r0, =board_stack_low\n"
                   "ldr r1, =0xA5C3A5C3\n"
                   "mov r2, sp\n"
                   "1: cmp r2, r0\n"
                   "bls 2f\n"
                   "str r1, [r2, #-4]!\n"
                   "b 1b\n"
                   "2: bx lr\n");
}

__attribute__((naked)) uint32_t board_stack_used(void)
{
    __asm volatile("ldr r2, =board_stack_low\n"
                   "ldr r1, =0xA5C3A5C3\n"
                   "1: ldr r3, [r2], #4\n"
                   "cmp r3, r1\n"
                   "beq 1b\n"
                   "sub r2, #4\n"
                   "mov r0, sp\n"
                   "subs r0, r2\n"
                   "bx lr\n");
}

static void fault(void)
{
    board_exit(FAULT);
}

void board_reset(void)
{
#if defined(__ARM_FP)
    CPACR |= 0xF00000u; /* the floating point and vector unit */
    __asm volatile("dsb\n isb" : : : "memory");
#endif
    board_exit((uint32_t)main());
}

typedef void (*handler)(void);
static const struct {
    uint32_t *stack;
    handler handlers[15];
} vectors __attribute__((section(".vectors"), used)) = {
    board_stack_top,
    {board_reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, fault},
};
