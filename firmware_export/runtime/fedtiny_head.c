/*
 * Nothing in an image is trusted before it is checked: no length before the header's CRC, no content before the
 * image's. A CRC is no signature: even with good ones an image must not make the network's arithmetic overflow.
 */
#include "fedtiny_head.h"

#include <string.h>

#include "fedtiny_crc.h"

#define MAGIC "fedtiny/v1 head image" /* the zero at its end belongs to it; its first character does not come again */
#define FORMAT 1u
#define HEADER_COVERED (FEDTINY_HEAD_HEADER - FEDTINY_HEAD_CRC)
#define LARGEST_SHIFT 30
#define LEAST_SHIFT (-31)
#define MOST_SUM 0x3FFFFFFF /* what the exporter allows, too: rounding then stays within int32 */
#define LARGEST_FLOAT 3.0e38f /* neither a NaN nor infinity is this or less */

typedef struct {
    char magic[sizeof(MAGIC)];
    uint16_t format;
    uint32_t total;
    uint32_t revision;
    uint8_t release[32];
    uint16_t inputs;
    uint16_t outputs;
    uint8_t rounding;
    uint8_t fixed_point;
    uint8_t is_signed;
    int8_t zero_point;
    int8_t low;
    int8_t high;
    uint16_t reserved_too;
    fedtiny_value step;
    uint32_t machine_bytes;
    uint32_t reserved[2];
    uint32_t crc;
} header;

typedef char header_has_no_gaps[(sizeof(header) == FEDTINY_HEAD_HEADER) ? 1 : -1];

/* --- checks --- */

/* Bytes of the image whose header this is; 0 where that is more than limit. */
static size_t image_bytes(const header *h, size_t limit)
{
    size_t rest = FEDTINY_HEAD_BYTES((size_t)h->inputs, (size_t)h->outputs, 0u) - FEDTINY_HEAD_SIGNATURE;
    rest += (h->is_signed != 0u) ? FEDTINY_HEAD_SIGNATURE : 0u;
    if ((rest > limit) || (h->machine_bytes > (limit - rest))) {
        return 0u;
    }
    size_t total = rest + FEDTINY_HEAD_PADDED((size_t)h->machine_bytes, 16u);
    return (total <= limit) ? total : 0u;
}

static bool positive(fedtiny_value step)
{
#if FEDTINY_FIXED_POINT
    return step > 0;
#else
    return (step > 0.0f) && (step <= LARGEST_FLOAT);
#endif
}

/*
 * Whether a head is not newer than the one in use, and that matters. The one in use may come again with what an agent
 * has learned; without it would only be learned under anew.
 */
static bool too_old(const fedtiny_head_slot *slot, uint32_t revision, bool with_machine)
{
    const fedtiny_head *next = slot->heads->next;
    const uint32_t newest = (next != NULL) ? next->revision : slot->base->revision;
    return !slot->older && ((revision < newest) || ((revision == newest) && !with_machine));
}

static fedtiny_status check_header(const fedtiny_head_slot *slot, const uint8_t *bytes, size_t limit, header *h)
{
    const fedtiny_layer *own = slot->base->layer;
    (void)memcpy(h, bytes, sizeof(*h));
    if (memcmp(h->magic, MAGIC, sizeof(MAGIC)) != 0) {
        return FEDTINY_ERROR_FORMAT;
    }
    if (fedtiny_crc32(0u, bytes, HEADER_COVERED) != h->crc) {
        return FEDTINY_ERROR_CHECKSUM;
    }
    if ((h->format != FORMAT) || ((h->reserved[0] | h->reserved[1] | h->reserved_too) != 0u) || (h->is_signed > 1u)
        || (h->low > h->high) || !positive(h->step)) {
        return FEDTINY_ERROR_FORMAT;
    }
    if ((memcmp(h->release, slot->base->release, sizeof(h->release)) != 0) || (h->rounding != FEDTINY_ROUNDING)
        || (h->fixed_point != FEDTINY_FIXED_POINT)) {
        return FEDTINY_ERROR_RELEASE;
    }
    if ((h->inputs != own->inputs) || (h->outputs != own->outputs)) {
        return FEDTINY_ERROR_SIZE;
    }
    size_t total = image_bytes(h, limit);
    if ((total == 0u) || (h->total != total)) {
        return FEDTINY_ERROR_SIZE;
    }
    if ((slot->verify != NULL) && (h->is_signed == 0u)) {
        return FEDTINY_ERROR_SIGNATURE;
    }
    return too_old(slot, h->revision, h->machine_bytes != 0u) ? FEDTINY_ERROR_OLD : FEDTINY_OK;
}

/* Whether the requantisation may be given this multiplier and sums of -bound to bound. */
static bool usable(fedtiny_multiplier multiplier, int8_t shift, int64_t bound)
{
#if FEDTINY_ROUNDING == FEDTINY_ROUNDING_XNN
    (void)shift;
    return (bound <= MOST_SUM) && (multiplier >= 0.0f) && (multiplier <= LARGEST_FLOAT);
#else
    const int32_t left = (shift > 0) ? shift : 0;
    return (bound <= MOST_SUM) && (multiplier >= 0) && (shift >= LEAST_SHIFT) && (shift <= LARGEST_SHIFT)
        && (bound <= (INT32_MAX >> left));
#endif
}

/* Whether no input can make the layer overflow: a row's sums go up to |bias| + 128 x (sum of |weights|). */
static bool cannot_overflow(const fedtiny_layer *layer)
{
    uint32_t blocks = FEDTINY_HEAD_PADDED((uint32_t)layer->inputs, FEDTINY_COLUMNS) / FEDTINY_COLUMNS;
    uint32_t rows = FEDTINY_HEAD_PADDED((uint32_t)layer->outputs, FEDTINY_ROWS);
    for (uint32_t row = 0u; row < rows; row++) {
        uint32_t group = row / FEDTINY_ROWS;
        uint32_t within = row % FEDTINY_ROWS;
        const int8_t *weights = layer->weights + (size_t)(group * blocks * FEDTINY_ROWS + within) * FEDTINY_COLUMNS;
        int64_t bound = layer->bias[row];
        bound = (bound < 0) ? -bound : bound;
        for (uint32_t block = 0u; block < blocks; block++) {
            int32_t sum = 0;
            for (uint32_t column = 0u; column < FEDTINY_COLUMNS; column++) {
                int32_t weight = weights[(size_t)block * FEDTINY_ROWS * FEDTINY_COLUMNS + column];
                sum += (weight < 0) ? -weight : weight;
            }
            bound += 128 * sum;
        }
        if (!usable(layer->multiplier[row], layer->shift[row], bound)) {
            return false;
        }
    }
    return true;
}

/* The head of an image whose header was found good. */
static fedtiny_head opened(const header *h, const uint8_t *bytes)
{
    size_t rows = FEDTINY_HEAD_PADDED((size_t)h->outputs, FEDTINY_ROWS);
    const uint8_t *bias = bytes + FEDTINY_HEAD_HEADER;
    const uint8_t *multiplier = bias + 4u * rows;
    const uint8_t *shift = multiplier + 4u * rows;
    const uint8_t *weights = shift + FEDTINY_HEAD_PADDED(rows, 16u);
    const uint8_t *machine = weights + rows * FEDTINY_HEAD_PADDED((size_t)h->inputs, FEDTINY_COLUMNS);
    fedtiny_head head = {
        .layer = {
            .inputs = h->inputs,
            .outputs = h->outputs,
            .zero_point = h->zero_point,
            .low = h->low,
            .high = h->high,
            .weights = (const int8_t *)weights,
            .bias = (const int32_t *)(const void *)bias,
            .multiplier = (const fedtiny_multiplier *)(const void *)multiplier,
            .shift = (const int8_t *)shift,
        },
        .codes = {.step = h->step, .zero_point = h->zero_point},
        .revision = h->revision,
        .machine = (h->machine_bytes != 0u) ? machine : NULL,
        .machine_bytes = h->machine_bytes,
    };
    return head;
}

/* Checks a whole image, aligned to 4, whose header was found good; then the slot is ready. */
static fedtiny_status check_image(fedtiny_head_slot *slot, const uint8_t *bytes, const header *h)
{
    size_t covered = h->total - ((h->is_signed != 0u) ? FEDTINY_HEAD_SIGNATURE : 0u);
    uint32_t crc;
    (void)memcpy(&crc, bytes + covered - FEDTINY_HEAD_CRC, sizeof(crc));
    if (fedtiny_crc32(0u, bytes, covered - FEDTINY_HEAD_CRC) != crc) {
        return FEDTINY_ERROR_CHECKSUM;
    }
    if ((slot->verify != NULL) && !slot->verify(bytes, covered, bytes + covered, slot->context)) {
        return FEDTINY_ERROR_SIGNATURE;
    }
    fedtiny_head head = opened(h, bytes);
    if (!cannot_overflow(&head.layer)) {
        return FEDTINY_ERROR_FORMAT;
    }
    if (head.machine != NULL) { /* an autoencoder has an output a feature */
        fedtiny_machine machine;
        fedtiny_status status = fedtiny_machine_open(&machine, head.machine, head.machine_bytes, h->outputs);
        if (status != FEDTINY_OK) {
            return status;
        }
    }
    slot->head = head;
    slot->state = FEDTINY_HEAD_READY;
    return FEDTINY_OK;
}

/* --- the slot --- */

/* Empties a slot whose head is not in use. */
static fedtiny_status empty(fedtiny_head_slot *slot, bool older)
{
    const fedtiny_heads *heads = slot->heads;
    if ((heads->next == &slot->head) || (heads->looked_at == &slot->head) || (heads->used == &slot->head)) {
        return FEDTINY_ERROR_IN_USE;
    }
    slot->state = FEDTINY_HEAD_NONE;
    slot->older = older;
    slot->filled = 0u;
    slot->wanted = FEDTINY_HEAD_HEADER;
    return FEDTINY_OK;
}

void fedtiny_head_init(
    fedtiny_head_slot *slot, const fedtiny_head_base *base, fedtiny_heads *heads, uint32_t *storage, size_t size
)
{
    (void)memset(slot, 0, sizeof(*slot));
    slot->base = base;
    slot->heads = heads;
    slot->storage = (uint8_t *)storage;
    slot->size = size;
}

void fedtiny_head_demand(fedtiny_head_slot *slot, fedtiny_head_verify verify, void *context)
{
    slot->verify = verify;
    slot->context = context;
}

fedtiny_status fedtiny_head_begin(fedtiny_head_slot *slot, bool older)
{
    if ((slot->storage == NULL) || (slot->size < FEDTINY_HEAD_HEADER)) {
        return FEDTINY_ERROR_ARGUMENT;
    }
    fedtiny_status status = empty(slot, older);
    if (status == FEDTINY_OK) {
        slot->state = FEDTINY_HEAD_COMING;
    }
    return status;
}

/* Drops what is stored before the next place, from on, where an image may begin. */
static void seek(fedtiny_head_slot *slot, size_t from)
{
    while (from < slot->filled) {
        size_t left = slot->filled - from;
        if (memcmp(slot->storage + from, MAGIC, (left < sizeof(MAGIC)) ? left : sizeof(MAGIC)) == 0) {
            break;
        }
        from++;
    }
    slot->filled -= from;
    (void)memmove(slot->storage, slot->storage + from, slot->filled);
    slot->wanted = FEDTINY_HEAD_HEADER;
}

/* What is stored suffices for a decision: on its header, and where that is good, on the whole of it. */
static fedtiny_status decide(fedtiny_head_slot *slot)
{
    header h;
    fedtiny_status status = check_header(slot, slot->storage, slot->size, &h);
    if ((status == FEDTINY_OK) && (slot->filled < h.total)) {
        slot->wanted = h.total;
        return FEDTINY_MORE;
    }
    if (status == FEDTINY_OK) {
        status = check_image(slot, slot->storage, &h);
    }
    if (status != FEDTINY_OK) {
        seek(slot, 1u);
    }
    return status;
}

fedtiny_status fedtiny_head_write(fedtiny_head_slot *slot, const uint8_t *bytes, size_t count, size_t *used)
{
    fedtiny_status said = FEDTINY_MORE;
    *used = 0u;
    if (slot->state != FEDTINY_HEAD_COMING) {
        return FEDTINY_ERROR_IN_USE;
    }
    while (*used < count) {
        size_t missing = slot->wanted - slot->filled;
        size_t taken = (missing < count - *used) ? missing : count - *used;
        (void)memcpy(slot->storage + slot->filled, bytes + *used, taken);
        slot->filled += taken;
        *used += taken;
        if (slot->wanted == FEDTINY_HEAD_HEADER) {
            seek(slot, 0u);
        }
        while (slot->filled >= slot->wanted) {
            fedtiny_status status = decide(slot);
            if (status == FEDTINY_OK) {
                return FEDTINY_OK;
            }
            said = (status == FEDTINY_MORE) ? said : status;
        }
    }
    return said;
}

fedtiny_status fedtiny_head_map(fedtiny_head_slot *slot, const uint8_t *page, size_t size, bool older)
{
    if ((page == NULL) || (((uintptr_t)page & 3u) != 0u)) {
        return FEDTINY_ERROR_ARGUMENT;
    }
    fedtiny_status status = empty(slot, older);
    if ((status == FEDTINY_OK) && (size < FEDTINY_HEAD_HEADER)) {
        status = FEDTINY_ERROR_FORMAT;
    }
    header h;
    if (status == FEDTINY_OK) {
        status = check_header(slot, page, size, &h);
    }
    return (status == FEDTINY_OK) ? check_image(slot, page, &h) : status;
}

/* --- the switch ---
 *
 * Hazard pointers (M. Michael, IEEE TPDS 15(6), 2004): who runs windows says which head it looks at, then looks again
 * whether that is still the next one; so a slot that is neither next nor looked at nor used is in nobody's hands.
 */

fedtiny_status fedtiny_head_apply(fedtiny_head_slot *slot)
{
    if (slot->state != FEDTINY_HEAD_READY) {
        return FEDTINY_ERROR_NOT_READY;
    }
    if (slot->heads->next == &slot->head) {
        return FEDTINY_OK;
    }
    if (too_old(slot, slot->head.revision, slot->head.machine != NULL)) { /* another was applied since */
        return FEDTINY_ERROR_OLD;
    }
    __sync_synchronize(); /* the head is written before it is shown */
    slot->heads->next = &slot->head;
    __sync_synchronize(); /* and shown before a slot is looked at for whether it is in use */
    return FEDTINY_OK;
}

void fedtiny_head_revert(fedtiny_heads *heads)
{
    heads->next = NULL;
    __sync_synchronize();
}

const fedtiny_head *fedtiny_head_look(fedtiny_heads *heads)
{
    const fedtiny_head *head;
    do {
        head = heads->next;
        heads->looked_at = head;
        __sync_synchronize();
    } while (heads->next != head);
    return head;
}

void fedtiny_head_use(fedtiny_heads *heads, const fedtiny_head *head)
{
    heads->used = head;
    __sync_synchronize();
}
