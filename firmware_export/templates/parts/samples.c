#define CHANNELS @{channel_count}u
#define FRAMES @{frames}u /* taken from the sensor at a time */

/* All memory of one machine. */
@{NAME}_MODEL_WATCH(machine);

/*
 * YOUR SENSOR HERE. Puts up to most frames into to and returns how many, 0 where none has come yet. A frame is one
 * sample of each channel, in this order:
 * @{comment_order}.
 * @{rate} frames a second.
 * Samples are @{unit}.
 * Where samples were lost, call fedtiny_gap(&machine). Until you put your sensor in, this is noise.
 */
static size_t read_frames(fedtiny_sample *to, size_t most) {
    static uint32_t noise = 1u;
    for (size_t i = 0u; i < (most * CHANNELS); i++) {
        noise = (noise * 1664525u) + 1013904223u;
        to[i] = @{noise};
    }
    return most;
}

/* Takes what the sensor has. True: a window was full, and this is what was found. */
static bool watch_machine(fedtiny_finding *finding) {
    static fedtiny_sample frames[FRAMES * CHANNELS];
    static size_t count = 0u;
    static size_t taken = 0u;
    if (taken == count) {
        count = read_frames(frames, FRAMES);
        taken = 0u;
    }
    taken += fedtiny_push(&machine, &frames[taken * CHANNELS], count - taken);
    return fedtiny_run(&machine, finding) == FEDTINY_OK;
}
