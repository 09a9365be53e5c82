/*
 * Heads that come over the line: one slot is in use while the other receives. @{NAME}_MODEL_HEAD_MACHINE_WORDS
 * instead for images that bring along what an agent has learned of the machine.
 */
static uint32_t storage[2][@{NAME}_MODEL_HEAD_WORDS];
static fedtiny_head_slot slots[2];
static unsigned receiving = 0u;
static bool ready = false;

static void start_heads(void) {
    for (unsigned i = 0u; i < 2u; i++) {
        fedtiny_head_init(&slots[i], &machine.release->base, &machine.state->heads, storage[i], sizeof storage[i]);
    }
}

/* Takes bytes of a head image as they come. True: a new head takes effect with the next window. */
static bool receive_head(const uint8_t *bytes, size_t count) {
    bool applied = false;
    size_t at = 0u;
    if (!ready) { /* a slot is free again as soon as the window after a change has begun */
        ready = fedtiny_head_begin(&slots[receiving], false) == FEDTINY_OK;
    }
    while (ready && (at < count)) {
        size_t used = 0u;
        const fedtiny_status status = fedtiny_head_write(&slots[receiving], &bytes[at], count - at, &used);
        at += used;
        if (status == FEDTINY_OK) {
            applied = fedtiny_head_apply(&slots[receiving]) == FEDTINY_OK;
            receiving = 1u - receiving;
            ready = false;
        }
    }
    return applied;
}
