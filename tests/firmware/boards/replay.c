/*
 * Runs windows of many models. windows.bin: cases one after the other, each three int32 (index of the model, windows,
 * 1 where the head of head.bin stands in for its last layer) and the windows' inputs. outputs.bin: the outputs of all
 * windows. head.bin: a head image for head_base, which comes down the line in small pieces.
 */
#include <string.h>

#include "board.h"
#include "fedtiny_head.h"

#define MOST_BYTES (4u * 1024u * 1024u)
#define MOST_ARENA 2048u
#define CASE_BYTES 12u
#define PIECE 61u
#define NO_HEAD 10u
#define BEYOND_ARENA 11u
#define GUARD 16u

extern const fedtiny_network *const models[];
extern const fedtiny_head_base head_base;

static int8_t windows[MOST_BYTES];
static int8_t outputs[MOST_BYTES];
static uint8_t image[512u * 1024u];
static uint32_t storage[128u * 1024u];
static int8_t arena[MOST_ARENA] __attribute__((aligned(4)));
static fedtiny_heads heads;
static fedtiny_head_slot slot;

static const fedtiny_layer *received_head(void)
{
    const uint32_t bytes = board_read("head.bin", image, sizeof image);
    fedtiny_status status = FEDTINY_MORE;
    fedtiny_head_init(&slot, &head_base, &heads, storage, sizeof storage);
    (void)fedtiny_head_begin(&slot, false);
    for (uint32_t at = 0; (at < bytes) && (status == FEDTINY_MORE); at += PIECE) {
        size_t used;
        status = fedtiny_head_write(&slot, &image[at], ((bytes - at) < PIECE) ? (bytes - at) : PIECE, &used);
    }
    if ((status != FEDTINY_OK) || (fedtiny_head_apply(&slot) != FEDTINY_OK)) {
        board_exit(NO_HEAD);
    }
    fedtiny_head_use(&heads, fedtiny_head_look(&heads));
    return &heads.used->layer;
}

int main(void)
{
    const fedtiny_layer *const head = received_head();
    const uint32_t bytes = board_read("windows.bin", windows, sizeof windows);
    uint32_t from = 0;
    uint32_t to = 0;
    while (from < bytes) {
        int32_t what[3];
        (void)memcpy(what, &windows[from], CASE_BYTES);
        from += CASE_BYTES;
        const fedtiny_network *const model = models[what[0]];
        const uint32_t inputs_count = model->layers[0].inputs;
        const uint32_t outputs_count = model->layers[model->count - 1u].outputs;
        for (int32_t window = 0; window < what[1]; window++) {
            (void)memset(arena, window, model->arena_bytes + GUARD); /* what pads may have any value */
            (void)memcpy(arena, &windows[from], inputs_count);
            const int8_t *const result = fedtiny_nn_run(model, (what[2] != 0) ? head : NULL, arena);
            (void)memcpy(&outputs[to], result, outputs_count);
            for (uint32_t i = 0; i < GUARD; i++) {
                if (arena[model->arena_bytes + i] != (int8_t)(uint8_t)window) {
                    board_exit(BEYOND_ARENA);
                }
            }
            from += inputs_count;
            to += outputs_count;
        }
    }
    board_write("outputs.bin", outputs, to);
    return 0;
}
