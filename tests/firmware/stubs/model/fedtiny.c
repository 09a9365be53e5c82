#include "fedtiny.h"

#include <string.h>

#define WINDOW 64u

fedtiny_status fedtiny_start(const fedtiny_watch *watch) {
    watch->state->filled = 0u;
    return FEDTINY_OK;
}

size_t fedtiny_push(const fedtiny_watch *watch, const fedtiny_sample *frames, size_t count) {
    const size_t room = WINDOW - watch->state->filled;
    const size_t taken = (count < room) ? count : room;
    (void)frames;
    watch->state->filled += taken;
    return taken;
}

fedtiny_status fedtiny_run(const fedtiny_watch *watch, fedtiny_finding *finding) {
    if (watch->state->filled < WINDOW) {
        return FEDTINY_MORE;
    }
    watch->state->filled = 0u;
    return fedtiny_run_features(watch, NULL, finding);
}

void fedtiny_gap(const fedtiny_watch *watch) {
    watch->state->filled = 0u;
}

fedtiny_status fedtiny_run_features(
    const fedtiny_watch *watch, const fedtiny_value *features, fedtiny_finding *finding) {
    (void)watch;
    (void)features;
    (void)memset(finding, 0, sizeof *finding);
    return FEDTINY_OK;
}

void fedtiny_head_init(fedtiny_head_slot *slot, const int *base, fedtiny_heads *heads, uint32_t *storage, size_t size) {
    (void)base;
    (void)heads;
    (void)storage;
    (void)size;
    slot->state = 0;
}

fedtiny_status fedtiny_head_begin(fedtiny_head_slot *slot, bool older) {
    slot->state = older ? 2 : 1;
    return FEDTINY_OK;
}

fedtiny_status fedtiny_head_write(fedtiny_head_slot *slot, const uint8_t *bytes, size_t count, size_t *used) {
    (void)slot;
    (void)bytes;
    *used = count;
    return FEDTINY_MORE;
}

fedtiny_status fedtiny_head_apply(fedtiny_head_slot *slot) {
    (void)slot;
    return FEDTINY_OK;
}

const int8_t *fedtiny_nn_run(const fedtiny_network *network, const void *head, int8_t *arena) {
    (void)network;
    (void)head;
    return arena;
}
