/*
 * libFuzzer target: any stream, in pieces of any size, at the head loader, and the network's arithmetic on every head
 * that it lets through. A mutator of our own puts images into streams and mends their checksums, or nothing would ever
 * come past them.
 */
#include <stdlib.h>
#include <string.h>

#include "fedtiny_crc.h"
#include "fedtiny_head.h"

#define INPUTS 20u
#define OUTPUTS 6u
#define MACHINE 144u /* of 6 features, rank 0 */
#define UNIT (FEDTINY_FIXED_POINT ? 65536 : 1)
#define BYTES FEDTINY_HEAD_BYTES(INPUTS, OUTPUTS, MACHINE)
#define WORDS FEDTINY_HEAD_WORDS(INPUTS, OUTPUTS, MACHINE)
#define REVISION 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static const char magic[] = "fedtiny/v1 head image";
static const uint8_t release[32] = {1u, 2u, 3u};
static const fedtiny_layer own = {.inputs = INPUTS, .outputs = OUTPUTS};
static const fedtiny_network network = {.layers = &own, .count = 1u, .odd_offset = 32u, .arena_bytes = 48u};
static const fedtiny_head_base base = {.layer = &own, .release = release, .revision = REVISION};

static void demand(bool holds)
{
    if (!holds) {
        abort();
    }
}

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* --- a signature that is easily mended: the bytes' CRC --- */

static bool verify(const uint8_t *bytes, size_t count, const uint8_t *signature, void *context)
{
    uint32_t crc = fedtiny_crc32(0u, bytes, count);
    demand(context == (const void *)release);
    return memcmp(signature, &crc, sizeof(crc)) == 0;
}

static void mend(uint8_t *bytes, size_t count)
{
    uint32_t crc = fedtiny_crc32(0u, bytes, count);
    (void)memcpy(bytes + count, &crc, sizeof(crc));
}

/* --- the mutator --- */

/* A header that fits, but for what comes by chance. */
static void write_header(uint8_t *bytes, uint32_t *state)
{
    bool strange = draw(state) % 4u == 0u;
    uint16_t sizes[2] = {
        (uint16_t)(strange ? draw(state) % 40u : INPUTS), (uint16_t)(strange ? draw(state) % 9u : OUTPUTS)
    };
    uint16_t format = 1u;
    uint32_t machine = strange ? draw(state) % (2u * MACHINE) : MACHINE * (draw(state) % 2u);
    uint32_t is_signed = draw(state) % 2u;
    uint32_t total = FEDTINY_HEAD_BYTES((uint32_t)sizes[0], (uint32_t)sizes[1], machine);
    total -= (1u - is_signed) * FEDTINY_HEAD_SIGNATURE;
    uint32_t revision = draw(state) % 8u;
    fedtiny_value step = 1;
    (void)memset(bytes, 0, FEDTINY_HEAD_HEADER);
    (void)memcpy(bytes, magic, sizeof(magic));
    (void)memcpy(bytes + 22, &format, 2u);
    (void)memcpy(bytes + 24, &total, 4u);
    (void)memcpy(bytes + 28, &revision, 4u);
    (void)memcpy(bytes + 32, release, 32u);
    (void)memcpy(bytes + 64, sizes, 4u);
    bytes[68] = FEDTINY_ROUNDING;
    bytes[69] = FEDTINY_FIXED_POINT;
    bytes[70] = (uint8_t)is_signed;
    bytes[73] = 127u;
    (void)memcpy(bytes + 76, &step, 4u);
    (void)memcpy(bytes + 80, &machine, 4u);
}

/* A machine section that fits, all ones, but for what comes by chance. */
static void write_machine(uint8_t *bytes, uint32_t *state)
{
    const uint32_t sizes[2] = {OUTPUTS, 0u};
    const fedtiny_value one = (fedtiny_value)UNIT;
    (void)memcpy(bytes, sizes, sizeof(sizes));
    for (uint32_t at = sizeof(sizes); at < MACHINE; at += 4u) {
        const uint32_t noise = draw(state);
        (void)memcpy(bytes + at, &one, 4u);
        if (noise % 256u == 0u) {
            (void)memcpy(bytes + at, &noise, 4u);
        }
    }
}

/* An image that fits, but for what comes by chance: the sums of its rows as large as can be, or small. */
static void write_image(uint8_t *bytes, uint32_t *state)
{
    static const int patterns[] = {0x00, 0x7F, 0x80, 0xFF};
    const uint32_t rows = FEDTINY_HEAD_PADDED(OUTPUTS, FEDTINY_ROWS);
    (void)memset(bytes, 0, BYTES);
    write_header(bytes, state);
    (void)memset(bytes + FEDTINY_HEAD_HEADER, patterns[draw(state) % 4u], 4u * rows);
    (void)memset(bytes + FEDTINY_HEAD_HEADER + 8u * rows + 16u, patterns[draw(state) % 4u], rows * 32u);
    write_machine(bytes + FEDTINY_HEAD_HEADER + 8u * rows + 16u + rows * 32u, state);
}

/* Gives the image at the start of size bytes good checksums, as far as it is there. */
static void mend_image(uint8_t *bytes, size_t size)
{
    uint32_t total;
    mend(bytes, FEDTINY_HEAD_HEADER - FEDTINY_HEAD_CRC);
    (void)memcpy(&total, bytes + 24, sizeof(total));
    size_t tail = FEDTINY_HEAD_CRC + ((bytes[70] == 1u) ? FEDTINY_HEAD_SIGNATURE : 0u);
    if (total <= size && total >= FEDTINY_HEAD_HEADER + tail) {
        mend(bytes, total - tail);
        if (bytes[70] == 1u) {
            mend(bytes, total - FEDTINY_HEAD_SIGNATURE);
        }
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    uint32_t state = seed;
    if (draw(&state) % 4u == 0u && size + BYTES <= max_size) { /* an image, somewhere in the stream */
        size_t at = draw(&state) % (size + 1u);
        (void)memmove(data + at + BYTES, data + at, size - at);
        write_image(data + at, &state);
        size += BYTES;
    } else {
        size = LLVMFuzzerMutate(data, size, max_size);
    }
    if (draw(&state) % 8u == 0u) {
        return size;
    }
    for (size_t at = size; at >= FEDTINY_HEAD_HEADER; at--) { /* inner images first */
        uint8_t *bytes = data + at - FEDTINY_HEAD_HEADER;
        if (memcmp(bytes, magic, sizeof(magic)) == 0) {
            mend_image(bytes, size - (at - FEDTINY_HEAD_HEADER));
        }
    }
    return size;
}

/* --- what must hold --- */

static void demand_within(const fedtiny_head *head, const uint32_t *storage)
{
    const uint8_t *first = (const uint8_t *)storage;
    const uint8_t *weights = (const uint8_t *)head->layer.weights;
    demand((const uint8_t *)head->layer.bias == first + FEDTINY_HEAD_HEADER);
    demand(head->machine == NULL || head->machine == weights + 8u * 32u);
    demand(weights + 8u * 32u + head->machine_bytes < first + BYTES);
    demand(head->layer.low <= head->layer.high);
    if (head->machine != NULL) {
        fedtiny_machine machine;
        demand(fedtiny_machine_open(&machine, head->machine, head->machine_bytes, OUTPUTS) == FEDTINY_OK);
        demand(machine.threshold > 0);
    }
}

/* Checksum of the image in storage. */
static uint32_t content(const uint32_t *storage)
{
    return fedtiny_crc32(0u, (const uint8_t *)storage, (storage[6] <= BYTES) ? storage[6] : BYTES);
}

/* Runs the head on inputs that drive its sums to their ends. */
static void run(const fedtiny_head *head)
{
    static const int8_t extremes[] = {-128, 127, 0, 1};
    int8_t arena[48];
    for (size_t which = 0u; which < sizeof(extremes); which++) {
        (void)memset(arena, extremes[which], sizeof(arena));
        const int8_t *outputs = fedtiny_nn_run(&network, &head->layer, arena);
        for (uint32_t i = 0u; i < OUTPUTS; i++) {
            demand(outputs[i] >= head->layer.low && outputs[i] <= head->layer.high);
        }
    }
}

/* Receives the stream in pieces of at most largest bytes; returns what was received, as a checksum over all heads. */
static uint32_t receive(const uint8_t *data, size_t size, uint8_t choices, uint32_t largest, uint32_t state)
{
    static uint32_t storage[2][WORDS];
    static uint32_t page[WORDS];
    fedtiny_heads heads = {NULL, NULL, NULL};
    fedtiny_head_slot slots[2];
    fedtiny_head_slot mapped;
    uint32_t sum = 0u, in_use = 0u;
    for (size_t i = 0u; i < 2u; i++) {
        fedtiny_head_init(&slots[i], &base, &heads, storage[i], sizeof(storage[i]));
        if ((choices & 1u) != 0u) {
            fedtiny_head_demand(&slots[i], verify, (void *)(uintptr_t)release);
        }
    }
    fedtiny_head_init(&mapped, &base, &heads, NULL, 0u);
    size_t coming = 0u;
    demand(fedtiny_head_begin(&slots[coming], (choices & 2u) != 0u) == FEDTINY_OK);
    for (size_t at = 0u; at < size;) {
        size_t piece = 1u + draw(&state) % largest;
        piece = (piece < size - at) ? piece : size - at;
        size_t used;
        fedtiny_status status = fedtiny_head_write(&slots[coming], data + at, piece, &used);
        demand(used <= piece && (status == FEDTINY_OK || used == piece) && status != FEDTINY_ERROR_IN_USE);
        at += used;
        if (status != FEDTINY_OK) {
            continue;
        }
        const fedtiny_head *head = &slots[coming].head;
        demand_within(head, storage[coming]);
        run(head);
        (void)memcpy(page, storage[coming], sizeof(page)); /* what was received is good in flash, too */
        demand(fedtiny_head_map(&mapped, (const uint8_t *)page, sizeof(page), true) == FEDTINY_OK);
        demand(mapped.head.revision == head->revision);
        demand(fedtiny_head_apply(&slots[coming]) == FEDTINY_OK);
        demand(heads.used == NULL || content(storage[1u - coming]) == in_use);
        demand(heads.used == NULL || fedtiny_head_begin(&slots[1u - coming], true) == FEDTINY_ERROR_IN_USE);
        demand(fedtiny_head_look(&heads) == head);
        fedtiny_head_use(&heads, head);
        demand(fedtiny_head_begin(&slots[coming], true) == FEDTINY_ERROR_IN_USE);
        demand(head->revision >= REVISION || (choices & 2u) != 0u);
        in_use = content(storage[coming]);
        sum = fedtiny_crc32(sum ^ in_use, (const uint8_t *)&at, sizeof(at));
        coming = 1u - coming;
        demand(fedtiny_head_begin(&slots[coming], (choices & 2u) != 0u) == FEDTINY_OK);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint32_t page[WORDS];
    if (size < 2u) {
        return 0;
    }
    uint8_t choices = data[0];
    uint32_t largest = 1u + data[1];
    data += 2u;
    size -= 2u;
    demand(receive(data, size, choices, largest, choices) == receive(data, size, choices, 1u << 16, 0u));

    fedtiny_heads heads = {NULL, NULL, NULL};
    fedtiny_head_slot slot;
    (void)memcpy(page, data, (size < sizeof(page)) ? size : sizeof(page));
    fedtiny_head_init(&slot, &base, &heads, NULL, 0u);
    if (fedtiny_head_map(&slot, (const uint8_t *)page, sizeof(page), false) == FEDTINY_OK) {
        run(&slot.head);
    }
    return 0;
}

#ifdef FUZZ_ALONE
/* --- without libFuzzer: streams by chance, for other compilers' sanitizers --- */

#define ROUNDS 8000u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    static uint32_t state = 1u;
    for (uint32_t i = draw(&state) % 4u; size != 0u && i != 0u; i--) {
        data[draw(&state) % size] ^= (uint8_t)(1u << (draw(&state) % 8u));
    }
    if (draw(&state) % 8u == 0u) {
        size -= draw(&state) % (size + 1u);
    }
    while (draw(&state) % 4u != 0u && size < max_size) {
        data[size] = (uint8_t)draw(&state);
        size++;
    }
    return size;
}

int main(void)
{
    static uint8_t data[4096];
    size_t size = 2u;
    for (uint32_t seed = 0u; seed < ROUNDS; seed++) {
        size = LLVMFuzzerCustomMutator(data, size, sizeof(data), seed * 2654435761u);
        (void)LLVMFuzzerTestOneInput(data, size);
    }
    return 0;
}
#endif
