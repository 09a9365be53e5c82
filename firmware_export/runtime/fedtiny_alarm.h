/*
 * The life of an alarm, from verdicts on windows.
 *
 *             votes of the last "window" windows            acknowledge
 *     clear ----------------------------------> raised -------------------> acknowledged
 *       ^                                         |                              |
 *       +------ the last "window" windows are all quiet -------------------------+
 *
 * Quiet is less than not voting: see fedtiny_machine.clear.
 */
#ifndef FEDTINY_ALARM_H
#define FEDTINY_ALARM_H

#include "fedtiny_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FEDTINY_ALARM_WINDOW 32u /* windows that vote, at most */

typedef enum { FEDTINY_CLEARED = 0, FEDTINY_RAISED = 1, FEDTINY_ACKNOWLEDGED = 2 } fedtiny_alarm_state;

typedef struct {
    fedtiny_alarm_state state;
    uint8_t votes;
    uint8_t window;
    uint32_t over; /* the last windows, the newest in bit 0: at or over the threshold */
    uint32_t quiet;
} fedtiny_alarm;

/* A clear alarm that votes of the last window windows raise: 1 to 32 windows, at least 1 vote. */
fedtiny_status fedtiny_alarm_begin(fedtiny_alarm *alarm, uint8_t votes, uint8_t window);

/* The next window's verdict; a window that is over is not quiet. True: the state has changed. */
bool fedtiny_alarm_add(fedtiny_alarm *alarm, bool over, bool quiet);

/* Whether it is raised or acknowledged. */
bool fedtiny_alarm_standing(const fedtiny_alarm *alarm);

/* Somebody has seen it; true: it was raised. */
bool fedtiny_alarm_acknowledge(fedtiny_alarm *alarm);

/* Clear it and forget the votes; true: it stood. */
bool fedtiny_alarm_reset(fedtiny_alarm *alarm);

#ifdef __cplusplus
}
#endif

#endif
