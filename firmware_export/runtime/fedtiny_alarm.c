#include "fedtiny_alarm.h"

static uint32_t last_windows(const fedtiny_alarm *alarm) {
    return UINT32_MAX >> (FEDTINY_ALARM_WINDOW - alarm->window);
}

static uint32_t count_of(uint32_t bits) {
    uint32_t count = 0u;
    while (bits != 0u) {
        bits &= bits - 1u;
        count++;
    }
    return count;
}

static void forget(fedtiny_alarm *alarm) {
    alarm->over = 0u;
    alarm->quiet = 0u;
}

fedtiny_status fedtiny_alarm_begin(fedtiny_alarm *alarm, uint8_t votes, uint8_t window) {
    if ((alarm == NULL) || (votes == 0u) || (window == 0u) || (window > FEDTINY_ALARM_WINDOW)) {
        return FEDTINY_ERROR_ARGUMENT;
    }
    alarm->state = FEDTINY_CLEARED;
    alarm->votes = (votes < window) ? votes : window;
    alarm->window = window;
    forget(alarm);
    return FEDTINY_OK;
}

bool fedtiny_alarm_add(fedtiny_alarm *alarm, bool over, bool quiet) {
    const uint32_t mask = last_windows(alarm);
    alarm->over = ((alarm->over << 1) | (over ? 1u : 0u)) & mask;
    alarm->quiet = ((alarm->quiet << 1) | ((quiet && !over) ? 1u : 0u)) & mask;
    if (fedtiny_alarm_standing(alarm)) {
        if (alarm->quiet == mask) {
            alarm->state = FEDTINY_CLEARED;
            return true;
        }
    } else if (count_of(alarm->over) >= alarm->votes) {
        alarm->state = FEDTINY_RAISED;
        return true;
    } else {
        /* still clear */
    }
    return false;
}

bool fedtiny_alarm_standing(const fedtiny_alarm *alarm) {
    return alarm->state != FEDTINY_CLEARED;
}

bool fedtiny_alarm_acknowledge(fedtiny_alarm *alarm) {
    if (alarm->state != FEDTINY_RAISED) {
        return false;
    }
    alarm->state = FEDTINY_ACKNOWLEDGED;
    return true;
}

bool fedtiny_alarm_reset(fedtiny_alarm *alarm) {
    const bool stood = fedtiny_alarm_standing(alarm);
    alarm->state = FEDTINY_CLEARED;
    forget(alarm);
    return stood;
}
