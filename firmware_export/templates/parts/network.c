/* The network's working memory: its inputs are at the start. */
static uint32_t arena[(@{NAME}_MODEL_ARENA_BYTES + 3u) / 4u];

/* YOUR INPUTS HERE: the quantised numbers of one inference. */
static void read_inputs(int8_t *inputs) {
    for (size_t i = 0u; i < @{NAME}_MODEL_INPUTS; i++) {
        inputs[i] = (int8_t)(i % 64u);
    }
}

/* Returns @{NAME}_MODEL_OUTPUTS quantised numbers; they stay in the arena until the next call. */
static const int8_t *infer(void) {
    read_inputs((int8_t *)arena);
    return fedtiny_nn_run(&@{name}_model_network, NULL, (int8_t *)arena);
}
