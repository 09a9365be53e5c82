/*
 * Watches one machine: what a sensor gives goes in, an alarm comes out. Replace the functions marked YOUR; the rest can
 * stay. As it is, it runs on any computer with a terminal.
 */
#include <stdio.h>

#include "@{name}_model.h"

@{code}

/* YOUR SERIAL LINE HERE. Puts up to most bytes that have come into to and returns how many, without waiting. */
static size_t read_line(uint8_t *to, size_t most) {
    (void)to;
    (void)most;
    return 0u;
}

/* YOUR OUTPUT HERE: a lamp, a relay, a message. */
static void set_alarm(bool on) {
    (void)puts(on ? "ALARM" : "alarm is over");
}

@{heads}

@{show}

static void show(const fedtiny_finding *finding) {
    if (finding->verdict == FEDTINY_LEARNING) {
        (void)printf("learning, %u %%\n", (unsigned)finding->learned);
    } else if (finding->verdict == FEDTINY_STILL) {
        (void)puts("standing still");
    } else if (finding->verdict == FEDTINY_SENSOR) {
        (void)puts("the sensor gives nothing that can be judged");
    } else {
        (void)printf("score is %u %% of the threshold\n", percent(finding));
    }
    if (finding->changed) {
        set_alarm(finding->alarm == FEDTINY_RAISED);
    }
}

int main(void) {
    if ((@{name}_model_selftest(&machine) != FEDTINY_OK) || (fedtiny_start(&machine) != FEDTINY_OK)) {
        (void)puts("this build does not compute what it should: see README.md, self-test");
        return 1;
    }
    start_heads();
    for (;;) {
        fedtiny_finding finding;
        uint8_t bytes[32];
        const fedtiny_status head = receive_head(bytes, read_line(bytes, sizeof bytes));
        if (head != FEDTINY_MORE) {
            (void)puts(head_news(head));
        }
        if (watch_machine(&finding)) {
            show(&finding);
        }
    }
}
