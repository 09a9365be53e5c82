#include "fedtiny_score.h"

#include <string.h>

#define DRIFT_WINDOWS 20 /* the newest window's weight in the drift is 1 / 20: fedtiny/model/drift.py */

/* Arithmetic of both number types. Fixed point: a product of two values is Q32.32, and nothing wraps around. */
#if FEDTINY_FIXED_POINT

#define LEAST_VALUE INT32_MIN
#define BEYOND INT32_MAX /* what is told of a score that is larger, or none */
#define ONE 65536

/* The first question is a single comparison of two registers. */
static int32_t saturated(int64_t value) {
    if (value == (int32_t)value) {
        return (int32_t)value;
    }
    return (value < 0) ? INT32_MIN : INT32_MAX;
}

static fedtiny_value difference(fedtiny_value a, fedtiny_value b) {
    return saturated((int64_t)a - b);
}

static fedtiny_value product(fedtiny_value a, fedtiny_value b) {
    return saturated(((int64_t)a * b + 32768) >> 16);
}

/* To the nearest code, half to even. */
static int8_t code_of(fedtiny_value z, const fedtiny_input_codes *codes) {
    const int64_t exact = (int64_t)z * codes->per_unit + codes->zero_point * INT64_C(0x100000000);
    const bool half = (exact & INT64_C(0xFFFFFFFF)) == INT64_C(0x80000000);
    const int64_t above = (exact + INT64_C(0x80000000)) >> 32;
    const int64_t code = half ? (above & ~INT64_C(1)) : above;
    if (code > INT8_MAX) {
        return INT8_MAX;
    }
    return (code < INT8_MIN) ? INT8_MIN : (int8_t)code;
}

/* The step counts 2^-24, so 8 bits are left over. */
static fedtiny_value decoded(int8_t code, const fedtiny_output_codes *codes) {
    return saturated(((int64_t)(code - codes->zero_point) * codes->step + 128) >> 8);
}

/* Directions lie within 1, so that a sum of 65,535 products of 2^31 and 2^16 still fits. */
static fedtiny_value inner(const fedtiny_value *a, const fedtiny_value *direction, uint16_t count) {
    int64_t sum = 0;
    for (uint16_t i = 0u; i < count; i++) {
        sum += (int64_t)a[i] * direction[i];
    }
    return saturated((sum >> 16) + ((sum >> 15) & 1));
}

/* A sum of squares is below 2^62. Its division is two of 32 bits: cores have no longer one. */
fedtiny_value fedtiny_mean_square(const fedtiny_value *values, uint16_t features) {
    uint64_t sum = 0u;
    for (uint16_t i = 0u; i < features; i++) {
        sum += (uint64_t)((int64_t)values[i] * values[i]) >> 16;
    }
    if (sum >= ((uint64_t)features << 31)) {
        return BEYOND;
    }
    const uint32_t high = (uint32_t)(sum >> 16);
    const uint32_t low = ((high % features) << 16) | (uint32_t)(sum & 0xFFFFu);
    return (fedtiny_value)(((high / features) << 16) + low / features);
}

/* Largest share, in 2^-16, whose square times used is at most limit. used is above limit. */
static fedtiny_value root_share(fedtiny_value limit, fedtiny_value used) {
    uint32_t share = 0u;
    for (uint32_t bit = 32768u; bit != 0u; bit >>= 1) {
        const uint64_t trial = share | bit;
        if (trial * trial * (uint64_t)used <= (uint64_t)limit << 32) {
            share |= bit;
        }
    }
    return (fedtiny_value)share;
}

/* Any int32 is a value. */
static bool is_value(fedtiny_value value) {
    (void)value;
    return true;
}

#else

#define LEAST_VALUE (-3.4e38f)
#define BEYOND 1e12f
#define ONE 1.0f

static fedtiny_value difference(fedtiny_value a, fedtiny_value b) {
    return a - b;
}

static fedtiny_value product(fedtiny_value a, fedtiny_value b) {
    return a * b;
}

/* Half to even, without libm; what is no number gives the least code. */
static int8_t code_of(fedtiny_value z, const fedtiny_input_codes *codes) {
    const float code = z * codes->per_unit + (float)codes->zero_point;
    if (!(code > -128.0f)) {
        return INT8_MIN;
    }
    if (code >= 127.0f) {
        return INT8_MAX;
    }
    const int32_t shifted = (int32_t)(code + 128.0f); /* not below 0: what is cut off is below 1 */
    const float rest = code - (float)(shifted - 128);
    const bool up = (rest > 0.5f) || ((rest == 0.5f) && ((shifted & 1) != 0));
    return (int8_t)(shifted - 128 + (up ? 1 : 0));
}

static fedtiny_value decoded(int8_t code, const fedtiny_output_codes *codes) {
    return (float)(code - codes->zero_point) * codes->step;
}

static fedtiny_value inner(const fedtiny_value *a, const fedtiny_value *direction, uint16_t count) {
    float sum = 0.0f;
    for (uint16_t i = 0u; i < count; i++) {
        sum += a[i] * direction[i];
    }
    return sum;
}

fedtiny_value fedtiny_mean_square(const fedtiny_value *values, uint16_t features) {
    const float mean = inner(values, values, features) / (float)features;
    return (mean < BEYOND) ? mean : BEYOND;
}

/* Square root of limit / used, which is below 1, by Newton's method: from above it falls until it is there. */
static fedtiny_value root_share(fedtiny_value limit, fedtiny_value used) {
    const float square = limit / used;
    float root = 1.0f;
    float next = 0.5f * (1.0f + square);
    while (next < root) {
        root = next;
        next = 0.5f * (root + square / root);
    }
    return root;
}

/* Neither infinite nor no number. */
static bool is_value(fedtiny_value value) {
    return (value >= LEAST_VALUE) && (value <= -LEAST_VALUE);
}

#endif

static bool within(const fedtiny_value *values, size_t count, fedtiny_value least, fedtiny_value most) {
    for (size_t i = 0u; i < count; i++) {
        if (!((values[i] >= least) && (values[i] <= most))) {
            return false;
        }
    }
    return true;
}

static bool is_sound(const fedtiny_machine *machine) {
    const size_t directions = (size_t)machine->rank * machine->features;
    return (machine->threshold > 0) && (machine->threshold < BEYOND) && (machine->clear <= machine->threshold)
        && (machine->drift_limit > 0) && within(machine->directions, directions, -ONE, ONE)
        && within(machine->shrink, machine->rank, 0, ONE);
}

fedtiny_status fedtiny_machine_open(fedtiny_machine *machine, const uint8_t *section, size_t size, uint16_t features) {
    uint32_t sizes[2];
    if ((machine == NULL) || (section == NULL) || (((uintptr_t)section & 3u) != 0u)) {
        return FEDTINY_ERROR_ARGUMENT;
    }
    if (size < FEDTINY_MACHINE_BYTES(0u, 0u)) {
        return FEDTINY_ERROR_SIZE;
    }
    (void)memcpy(sizes, section, sizeof sizes);
    if ((sizes[0] != features) || (sizes[1] > features)) {
        return FEDTINY_ERROR_SIZE;
    }
    const size_t n = sizes[0];
    const size_t rank = sizes[1];
    if ((uint64_t)size != UINT64_C(4) * (6u + 5u * (uint64_t)n + (uint64_t)rank * (n + 1u))) {
        return FEDTINY_ERROR_SIZE;
    }
    const fedtiny_value *values = (const fedtiny_value *)(const void *)section + 2;
    for (size_t i = 0u; i < size / 4u - 2u; i++) {
        if (!is_value(values[i])) {
            return FEDTINY_ERROR_FORMAT;
        }
    }
    const fedtiny_value *vectors = values + 4;
    const fedtiny_machine found = {
        .features = features,
        .rank = (uint16_t)rank,
        .mean = vectors,
        .factor = vectors + n,
        .residual_mean = vectors + 2u * n,
        .gain = vectors + 3u * n,
        .centre = vectors + 4u * n,
        .directions = vectors + 5u * n,
        .shrink = vectors + (5u + rank) * n,
        .threshold = values[0],
        .clear = values[1],
        .drift_limit = values[2],
        .still_below = values[3],
    };
    if (!is_sound(&found)) {
        return FEDTINY_ERROR_FORMAT;
    }
    *machine = found;
    return FEDTINY_OK;
}

void fedtiny_scorer_use(fedtiny_scorer *scorer, const fedtiny_machine *machine) {
    scorer->machine = machine;
    for (uint16_t i = 0u; i < machine->features; i++) {
        scorer->centre[i] = (machine->centre != NULL) ? machine->centre[i] : 0;
    }
}

bool fedtiny_still(const fedtiny_machine *machine, const fedtiny_value *features) {
    for (uint16_t i = 0u; i < machine->features; i++) {
        if (!(features[i] < machine->still_below)) {
            return false;
        }
    }
    return true;
}

void fedtiny_standardise(
    const fedtiny_machine *machine, const fedtiny_input_codes *codes, fedtiny_value *values, int8_t *inputs
) {
    for (uint16_t i = 0u; i < machine->features; i++) {
        values[i] = product(difference(values[i], machine->mean[i]), machine->factor[i]);
        inputs[i] = code_of(values[i], codes);
    }
}

void fedtiny_residual(
    const fedtiny_output_codes *codes, const int8_t *outputs, fedtiny_value *values, uint16_t features
) {
    for (uint16_t i = 0u; i < features; i++) {
        values[i] = difference(values[i], decoded(outputs[i], codes));
    }
}

/* One direction after the other: as they are orthogonal, none sees what another has taken away. */
void fedtiny_whiten(const fedtiny_machine *machine, fedtiny_value *values) {
    const uint16_t n = machine->features;
    for (uint16_t i = 0u; i < n; i++) {
        values[i] = product(difference(values[i], machine->residual_mean[i]), machine->gain[i]);
    }
    const fedtiny_value *direction = machine->directions;
    for (uint16_t k = 0u; k < machine->rank; k++) {
        const fedtiny_value shorter = product(inner(values, direction, n), machine->shrink[k]);
        for (uint16_t i = 0u; i < n; i++) {
            values[i] = difference(values[i], product(shorter, direction[i]));
        }
        direction += n;
    }
}

/* Moves the centre towards a window, and back to where it alone scores the limit: fedtiny/model/drift.py. */
static void follow(const fedtiny_machine *machine, fedtiny_value *centre, const fedtiny_value *away) {
    for (uint16_t i = 0u; i < machine->features; i++) {
        centre[i] = difference(centre[i], -(away[i] / DRIFT_WINDOWS));
    }
    const fedtiny_value used = fedtiny_mean_square(centre, machine->features);
    if (used > machine->drift_limit) {
        const fedtiny_value share = root_share(machine->drift_limit, used);
        for (uint16_t i = 0u; i < machine->features; i++) {
            centre[i] = product(centre[i], share);
        }
    }
}

void fedtiny_judge(fedtiny_scorer *scorer, fedtiny_value *values, fedtiny_finding *finding) {
    const fedtiny_machine *machine = scorer->machine;
    fedtiny_whiten(machine, values);
    finding->level = fedtiny_mean_square(values, machine->features);
    for (uint16_t i = 0u; i < machine->features; i++) {
        values[i] = difference(values[i], scorer->centre[i]);
    }
    finding->score = fedtiny_mean_square(values, machine->features);
    finding->threshold = machine->threshold;
    finding->learned = 100u;
    const bool over = finding->score >= machine->threshold;
    finding->verdict = over ? FEDTINY_ANOMALOUS : FEDTINY_NORMAL;
    finding->changed = fedtiny_alarm_add(&scorer->alarm, over, finding->score < machine->clear);
    finding->alarm = scorer->alarm.state;
    if (!over && !fedtiny_alarm_standing(&scorer->alarm)) {
        follow(machine, scorer->centre, values);
    }
}
