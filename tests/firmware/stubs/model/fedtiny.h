/* Stands in for the runtime: the functions that examples call, and next to nothing behind them. */
#ifndef FEDTINY_H
#define FEDTINY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef float fedtiny_value;
typedef float fedtiny_sample;
typedef enum { FEDTINY_OK = 0, FEDTINY_MORE = 1, FEDTINY_ERROR_IN_USE = -8 } fedtiny_status;
typedef enum { FEDTINY_LEARNING, FEDTINY_STILL, FEDTINY_NORMAL, FEDTINY_ANOMALOUS } fedtiny_verdict;
typedef enum { FEDTINY_CLEARED, FEDTINY_RAISED, FEDTINY_ACKNOWLEDGED } fedtiny_alarm_state;

typedef struct {
    fedtiny_verdict verdict;
    fedtiny_value score;
    fedtiny_value threshold;
    fedtiny_alarm_state alarm;
    bool changed;
    uint8_t learned;
    uint32_t revision;
} fedtiny_finding;

typedef struct {
    int base;
} fedtiny_release;

typedef struct {
    int next;
} fedtiny_heads;

typedef struct {
    int state;
} fedtiny_head_slot;

typedef struct {
    int layers;
} fedtiny_network;

typedef struct {
    fedtiny_heads heads;
    size_t filled;
} fedtiny_state;

typedef struct {
    const fedtiny_release *release;
    fedtiny_state *state;
} fedtiny_watch;

fedtiny_status fedtiny_start(const fedtiny_watch *watch);
size_t fedtiny_push(const fedtiny_watch *watch, const fedtiny_sample *frames, size_t count);
fedtiny_status fedtiny_run(const fedtiny_watch *watch, fedtiny_finding *finding);
void fedtiny_gap(const fedtiny_watch *watch);
fedtiny_status fedtiny_run_features(
    const fedtiny_watch *watch, const fedtiny_value *features, fedtiny_finding *finding);
void fedtiny_head_init(
    fedtiny_head_slot *slot, const int *base, fedtiny_heads *heads, uint32_t *storage, size_t size);
fedtiny_status fedtiny_head_begin(fedtiny_head_slot *slot, bool older);
fedtiny_status fedtiny_head_write(fedtiny_head_slot *slot, const uint8_t *bytes, size_t count, size_t *used);
fedtiny_status fedtiny_head_apply(fedtiny_head_slot *slot);
const int8_t *fedtiny_nn_run(const fedtiny_network *network, const void *head, int8_t *arena);

#ifdef __cplusplus
}
#endif

#endif
