#define FEATURES @{channel_count}u

/* All memory of one machine. */
@{NAME}_MODEL_WATCH(machine);

/*
 * YOUR FEATURES HERE. Fills in one row and returns true, or false where none has come yet. The order is that of the
 * training data:
 * @{comment_order}.
 * Numbers are @{numbers}, in the units of the training data. Until you put yours in, this is noise.
 */
static bool read_features(fedtiny_value *row) {
    static uint32_t noise = 1u;
    for (size_t i = 0u; i < FEATURES; i++) {
        noise = (noise * 1664525u) + 1013904223u;
        row[i] = (fedtiny_value)(noise >> 16);
    }
    return true;
}

/* Takes the next row of features. True: there was one, and this is what was found. */
static bool watch_machine(fedtiny_finding *finding) {
    static fedtiny_value row[FEATURES];
    bool found = false;
    if (read_features(row)) {
        found = fedtiny_run_features(&machine, row, finding) == FEDTINY_OK;
    }
    return found;
}
