/*
 * Heads that come over the line: one slot is in use while the other receives. They have room for an image that brings
 * along what an agent has learned of the machine; @{NAME}_MODEL_HEAD_WORDS does for others, and is less.
 */
static uint32_t storage[2][@{NAME}_MODEL_HEAD_MACHINE_WORDS];
static fedtiny_head_slot slots[2];
static unsigned receiving = 0u;
static fedtiny_status begun = FEDTINY_MORE; /* FEDTINY_OK: the slot receives; else it waits, or why it cannot */

static void start_heads(void) {
    for (unsigned i = 0u; i < 2u; i++) {
        fedtiny_head_init(&slots[i], &machine.release->base, &machine.state->heads, storage[i], sizeof storage[i]);
    }
}

/*
 * Takes bytes of a head image as they come. FEDTINY_OK: a new head takes effect between two windows. FEDTINY_MORE: go
 * on. Else what was refused; the head in use stays as it is.
 */
static fedtiny_status receive_head(const uint8_t *bytes, size_t count) {
    fedtiny_status said = FEDTINY_MORE;
    size_t at = 0u;
    if ((begun != FEDTINY_OK) && (count > 0u)) { /* both slots are in use until the last head has taken effect */
        const fedtiny_status before = begun;
        begun = fedtiny_head_begin(&slots[receiving], false);
        said = ((begun == FEDTINY_OK) || (begun == before)) ? FEDTINY_MORE : begun; /* it is said once */
    }
    while ((begun == FEDTINY_OK) && (at < count)) {
        size_t used = 0u;
        fedtiny_status status = fedtiny_head_write(&slots[receiving], &bytes[at], count - at, &used);
        at += used;
        if (status == FEDTINY_OK) {
            status = fedtiny_head_apply(&slots[receiving]);
            receiving = (status == FEDTINY_OK) ? (1u - receiving) : receiving;
            begun = FEDTINY_MORE;
        }
        said = (status == FEDTINY_MORE) ? said : status;
    }
    return said;
}

/* What to say of it. */
static const char *head_news(fedtiny_status status) {
    switch (status) {
    case FEDTINY_OK:
        return "a new head";
    case FEDTINY_ERROR_SIZE:
        return "head refused: of other sizes than the model's";
    case FEDTINY_ERROR_RELEASE:
        return "head refused: of another release, or for another --profile or --number";
    case FEDTINY_ERROR_CHECKSUM:
        return "head refused: damaged on its way";
    case FEDTINY_ERROR_SIGNATURE:
        return "head refused: its signature";
    case FEDTINY_ERROR_OLD:
        return "head refused: no newer than the one in use";
    case FEDTINY_ERROR_IN_USE:
        return "head refused: the one before it has not taken effect yet";
    default:
        return "head refused: not an image that this firmware knows";
    }
}
