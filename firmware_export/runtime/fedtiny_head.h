/*
 * Heads that come at run time. A head image is received in pieces into a slot in RAM, or lies in a page of flash; it is
 * checked whole, and takes effect between two windows.
 *
 *     static uint32_t storage[2][FEDTINY_HEAD_WORDS(64, 128, 0)];          two slots: one in use, one to receive into
 *     fedtiny_head_init(&slot[i], &base, &heads, storage[i], sizeof storage[i]);
 *
 *     whoever receives, a task or an interrupt:
 *         fedtiny_head_begin(&slot[i], false);                               FEDTINY_ERROR_IN_USE: take the other one
 *         if (fedtiny_head_write(&slot[i], bytes, count, &used) == FEDTINY_OK) { fedtiny_head_apply(&slot[i]); }
 *     whoever runs windows, at the start of each:
 *         head = fedtiny_head_look(&heads);                                  NULL: the network's own
 *         fedtiny_head_use(&heads, head);                                    or not yet: the one in use stays
 *
 * The head that is in use is never written: a bad image leaves everything as it was. With one slot alone, the network's
 * own head stands in from fedtiny_head_revert until the new one is complete. All functions on slots of one machine are
 * called from one task or interrupt; fedtiny_head_look and _use from another one if you like, on any core: nothing
 * blocks. The
 * piece that completes an image costs about 20 instructions a byte of it (190,000 for 64 inputs and 128 outputs on a
 * Cortex-M3), and what the verifier takes.
 *
 * What is an older head is judged against the one in use. That is the network's own after a restart: whoever must keep
 * an old signed image out then keeps the newest one in flash, and maps and applies it at start.
 *
 * The image, little-endian:
 *     at  type        what
 *      0  char[22]    "fedtiny/v1 head image" and a zero: what a signature covers begins with what it is for
 *     22  uint16      format: 1
 *     24  uint32      bytes of the whole image
 *     28  uint32      revision
 *     32  uint8[32]   release id: SHA-256 of the release's file
 *     64  uint16      inputs
 *     66  uint16      outputs
 *     68  uint8       rounding: FEDTINY_ROUNDING
 *     69  uint8       1 where features and scores are fixed point: FEDTINY_FIXED_POINT
 *     70  uint8       1 where a signature follows
 *     71  int8        zero point of the output
 *     72  int8[2]     least and most of the output
 *     74  uint16      0
 *     76  float32     scale of the output; fixed point: int32 in 2^-24
 *     80  uint32      bytes of the machine section, without its padding; 0: there is none
 *     84  uint32[2]   0
 *     92  uint32      CRC-32 of the 92 bytes before
 *     96              bias, multiplier, shift, weights as in fedtiny_nn.h, then what an agent has learned of its
 *                     machine under this head (fedtiny_machine_open); each padded with zeros to a multiple of 16
 *         uint32      CRC-32 of all before
 *         uint8[64]   Ed25519 signature of all before, where there is one
 */
#ifndef FEDTINY_HEAD_H
#define FEDTINY_HEAD_H

#include "fedtiny_nn.h"
#include "fedtiny_score.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FEDTINY_HEAD_HEADER 96u
#define FEDTINY_HEAD_CRC 4u
#define FEDTINY_HEAD_SIGNATURE 64u

#define FEDTINY_HEAD_PADDED(count, unit) (((count) + (unit) - 1u) / (unit) * (unit))

/* Bytes and uint32 words of the largest image of a head; machine: bytes of its machine section. */
#define FEDTINY_HEAD_BYTES(inputs, outputs, machine) \
    (FEDTINY_HEAD_HEADER + 8u * FEDTINY_HEAD_PADDED(outputs, FEDTINY_ROWS) + FEDTINY_HEAD_PADDED(outputs, 16u) \
     + FEDTINY_HEAD_PADDED(outputs, FEDTINY_ROWS) * FEDTINY_HEAD_PADDED(inputs, FEDTINY_COLUMNS) \
     + FEDTINY_HEAD_PADDED(machine, 16u) + FEDTINY_HEAD_CRC + FEDTINY_HEAD_SIGNATURE)
#define FEDTINY_HEAD_WORDS(inputs, outputs, machine) (FEDTINY_HEAD_BYTES(inputs, outputs, machine) / 4u)

/* A head that is complete and checked. Its pointers lead into the slot's storage or the flash page. */
typedef struct {
    fedtiny_layer layer; /* stands in for the network's last */
    fedtiny_output_codes codes;
    uint32_t revision;
    const uint8_t *machine; /* NULL: no machine section; aligned to 4 */
    uint32_t machine_bytes;
} fedtiny_head;

/* What the firmware was built with: an image must fit it. */
typedef struct {
    const fedtiny_layer *layer; /* the network's last */
    const uint8_t *release;     /* 32 bytes */
    uint32_t revision;          /* of the network's own head */
} fedtiny_head_base;

/* The head of one machine. Zeros: the network's own. next is written by who applies, the others by who runs windows. */
typedef struct {
    const fedtiny_head *volatile next;
    const fedtiny_head *volatile looked_at;
    const fedtiny_head *volatile used;
} fedtiny_heads;

/* Whether the 64 bytes of signature are the Ed25519 signature of count bytes under the key that you trust. */
typedef bool (*fedtiny_head_verify)(const uint8_t *bytes, size_t count, const uint8_t *signature, void *context);

/* Where an image is received. For the functions below alone. */
typedef struct {
    const fedtiny_head_base *base;
    fedtiny_heads *heads;
    fedtiny_head_verify verify;
    void *context;
    uint8_t *storage;
    size_t size;   /* of the storage */
    size_t filled; /* bytes of the storage that are */
    size_t wanted; /* bytes until the next decision: those of a header, or of the whole image */
    bool older; /* images that are not newer than the head in use are taken too */
    enum { FEDTINY_HEAD_NONE, FEDTINY_HEAD_COMING, FEDTINY_HEAD_READY } state;
    fedtiny_head head;
} fedtiny_head_slot;

/* storage: size bytes, FEDTINY_HEAD_BYTES at most are used; NULL for a slot that is only mapped to flash. */
void fedtiny_head_init(
    fedtiny_head_slot *slot, const fedtiny_head_base *base, fedtiny_heads *heads, uint32_t *storage, size_t size
);

/* From now on takes only images that verify says are signed; context is handed to it. Without: a CRC is all. */
void fedtiny_head_demand(fedtiny_head_slot *slot, fedtiny_head_verify verify, void *context);

/*
 * Makes a slot ready to receive, whatever was in it. Only images that are newer than the head in use are welcome, or as
 * new with a machine section; older: any.
 * Call it again where a sender falls silent for good; a sender that begins anew is understood without.
 */
fedtiny_status fedtiny_head_begin(fedtiny_head_slot *slot, bool older);

/*
 * Takes count bytes of a stream, as they come. An image may begin anywhere in them and behind any noise; one that is
 * cut off or damaged does not take the one behind it along. used: how many bytes were taken; all, but for FEDTINY_OK.
 * FEDTINY_OK: an image is complete and checked. FEDTINY_MORE: go on. FEDTINY_ERROR_IN_USE: not begun, or complete.
 * Other errors: what looked like an image was refused; go on all the same.
 */
fedtiny_status fedtiny_head_write(fedtiny_head_slot *slot, const uint8_t *bytes, size_t count, size_t *used);

/* The same checks on an image in flash, which stays there. page: aligned to 4; size: what may be read. */
fedtiny_status fedtiny_head_map(fedtiny_head_slot *slot, const uint8_t *page, size_t size, bool older);

/* Lets the slot's head take effect at the next window. The storage must stay as it is from here on. */
fedtiny_status fedtiny_head_apply(fedtiny_head_slot *slot);

/* Lets the network's own head take effect at the next window. */
void fedtiny_head_revert(fedtiny_heads *heads);

/* For who runs windows: the head that is to be used; NULL: the network's own. It stays as it is until the next call. */
const fedtiny_head *fedtiny_head_look(fedtiny_heads *heads);

/* For the same: uses what fedtiny_head_look gave. It stays as it is until another one is used. */
void fedtiny_head_use(fedtiny_heads *heads, const fedtiny_head *head);

#ifdef __cplusplus
}
#endif

#endif
