/*
 * Real Fourier transform in place, for the number type of the build; a part of fedtiny_features_*.c.
 *
 * The window's even and odd samples are real and imaginary parts of window / 2 complex points, loaded in digit-reversed
 * order; stages of radix 2, 3, 4 and 5 transform them (decimation in time), a last step makes the real signal's bins
 * out of that. (Cooley and Tukey 1965; Sorensen et al., Real-valued FFT algorithms, IEEE Trans. ASSP 35, 1987.)
 *
 * Fixed point: a stage scales its inputs down by 2^shift before it adds them up, and the product of radices is at most
 * 2 to the sum of shifts at every stage (2 and 4 always shift by 1 and 2). So each sum is at most the largest magnitude
 * of the points loaded: see fedtiny_features_fixed.c for their bound.
 */
#ifndef FEDTINY_FFT_H
#define FEDTINY_FFT_H

#include "fedtiny_features.h"

typedef struct {
    fedtiny_wave re;
    fedtiny_wave im;
} point;

#if FEDTINY_FIXED_POINT

#define HALF 536870912   /* Q30, as all constants here */
#define SIN_60 929887697
#define COS_72 331804471
#define SIN_72 1021189158
#define COS_36 868675383
#define SIN_36 631129613

/* x / 2^shift, to the nearest; ties upward. */
static inline int32_t rounded(int64_t x, uint32_t shift)
{
    return (int32_t)((x + ((int64_t)1 << shift >> 1)) >> shift);
}

static inline int32_t times(int32_t x, int32_t factor)
{
    return rounded((int64_t)x * factor, 30u);
}

/* x / 2^shift; shift: 1 to 3 */
static inline point lowered(point x, uint32_t shift)
{
    const int32_t nudge = (int32_t)(1u << (shift - 1u));
    const point y = {(x.re + nudge) >> shift, (x.im + nudge) >> shift};
    return y;
}

/* x * (cosine - i sine) / 2^shift; turn: (cosine, sine) */
static inline point turned(point x, point turn, uint32_t shift)
{
    const point y = {rounded((int64_t)x.re * turn.re + (int64_t)x.im * turn.im, 30u + shift),
                     rounded((int64_t)x.im * turn.re - (int64_t)x.re * turn.im, 30u + shift)};
    return y;
}

#else

#define HALF 0.5f
#define SIN_60 0.866025403784f
#define COS_72 0.309016994375f
#define SIN_72 0.951056516295f
#define COS_36 0.809016994375f
#define SIN_36 0.587785252292f

static inline float times(float x, float factor)
{
    return x * factor;
}

static inline point lowered(point x, uint32_t shift)
{
    (void)shift;
    return x;
}

static inline point turned(point x, point turn, uint32_t shift)
{
    const point y = {x.re * turn.re + x.im * turn.im, x.im * turn.re - x.re * turn.im};
    (void)shift;
    return y;
}

#endif

static inline point load(const fedtiny_wave *data, uint32_t at)
{
    const point x = {data[2u * at], data[2u * at + 1u]};
    return x;
}

static inline void store(fedtiny_wave *data, uint32_t at, fedtiny_wave re, fedtiny_wave im)
{
    data[2u * at] = re;
    data[2u * at + 1u] = im;
}

static inline point sum(point a, point b)
{
    const point y = {a.re + b.re, a.im + b.im};
    return y;
}

static inline point difference(point a, point b)
{
    const point y = {a.re - b.re, a.im - b.im};
    return y;
}

/* cos(2 pi i / window), i up to window; the table has a quarter of a turn. */
static inline fedtiny_wave cosine(const fedtiny_front *front, uint32_t i)
{
    const uint32_t half = front->window / 2u;
    const uint32_t folded = i > half ? front->window - i : i;
    return folded > half / 2u ? -front->cosine[half - folded] : front->cosine[folded];
}

/* (cosine, sine) of 2 pi i / window; sin(x) = cos(x - pi / 2) */
static inline point turn(const fedtiny_front *front, uint32_t i)
{
    const uint32_t quarter = front->window / 4u;
    const point y = {cosine(front, i), cosine(front, i > quarter ? i - quarter : quarter - i)};
    return y;
}

/* Always the first stage, of points that lie side by side: nothing is turned. */
static inline void join_2(const fedtiny_front *front, fedtiny_wave *data)
{
    for (uint32_t i = 0u; i < front->window / 2u; i += 2u) {
        const point a = lowered(load(data, i), 1u);
        const point b = lowered(load(data, i + 1u), 1u);
        store(data, i, a.re + b.re, a.im + b.im);
        store(data, i + 1u, a.re - b.re, a.im - b.im);
    }
}

static inline void join_3(const fedtiny_front *front, fedtiny_wave *data, uint32_t length, uint32_t shift)
{
    const uint32_t points = front->window / 2u;
    const uint32_t step = front->window / (3u * length);
    for (uint32_t j = 0u; j < length; j++) {
        const point w1 = turn(front, j * step);
        const point w2 = turn(front, 2u * j * step);
        for (uint32_t i = j; i < points; i += 3u * length) {
            const point a = lowered(load(data, i), shift);
            const point b = turned(load(data, i + length), w1, shift);
            const point c = turned(load(data, i + 2u * length), w2, shift);
            const point s = sum(b, c);
            const point d = difference(b, c);
            const point m = {a.re - times(s.re, HALF), a.im - times(s.im, HALF)};
            const point u = {times(d.re, SIN_60), times(d.im, SIN_60)};
            store(data, i, a.re + s.re, a.im + s.im);
            store(data, i + length, m.re + u.im, m.im - u.re);
            store(data, i + 2u * length, m.re - u.im, m.im + u.re);
        }
    }
}

static inline void butterfly_4(fedtiny_wave *data, uint32_t i, uint32_t length, const point x[4])
{
    const point s = sum(x[0], x[2]);
    const point d = difference(x[0], x[2]);
    const point t = sum(x[1], x[3]);
    const point u = difference(x[1], x[3]);
    store(data, i, s.re + t.re, s.im + t.im);
    store(data, i + length, d.re + u.im, d.im - u.re);
    store(data, i + 2u * length, s.re - t.re, s.im - t.im);
    store(data, i + 3u * length, d.re - u.im, d.im + u.re);
}

/* The same as a first stage. */
static inline void join_4_first(const fedtiny_front *front, fedtiny_wave *data)
{
    for (uint32_t i = 0u; i < front->window / 2u; i += 4u) {
        const point x[4] = {lowered(load(data, i), 2u), lowered(load(data, i + 1u), 2u),
                            lowered(load(data, i + 2u), 2u), lowered(load(data, i + 3u), 2u)};
        butterfly_4(data, i, 1u, x);
    }
}

static inline void join_4(const fedtiny_front *front, fedtiny_wave *data, uint32_t length)
{
    const uint32_t points = front->window / 2u;
    const uint32_t step = front->window / (4u * length);
    for (uint32_t j = 0u; j < length; j++) {
        const point w1 = turn(front, j * step);
        const point w2 = turn(front, 2u * j * step);
        const point w3 = turn(front, 3u * j * step);
        for (uint32_t i = j; i < points; i += 4u * length) {
            const point x[4] = {lowered(load(data, i), 2u), turned(load(data, i + length), w1, 2u),
                                turned(load(data, i + 2u * length), w2, 2u),
                                turned(load(data, i + 3u * length), w3, 2u)};
            butterfly_4(data, i, length, x);
        }
    }
}

static inline void join_5(const fedtiny_front *front, fedtiny_wave *data, uint32_t length, uint32_t shift)
{
    const uint32_t points = front->window / 2u;
    const uint32_t step = front->window / (5u * length);
    for (uint32_t j = 0u; j < length; j++) {
        const point w1 = turn(front, j * step);
        const point w2 = turn(front, 2u * j * step);
        const point w3 = turn(front, 3u * j * step);
        const point w4 = turn(front, 4u * j * step);
        for (uint32_t i = j; i < points; i += 5u * length) {
            const point a = lowered(load(data, i), shift);
            const point b = turned(load(data, i + length), w1, shift);
            const point c = turned(load(data, i + 2u * length), w2, shift);
            const point d = turned(load(data, i + 3u * length), w3, shift);
            const point e = turned(load(data, i + 4u * length), w4, shift);
            const point s = sum(b, e);
            const point t = sum(c, d);
            const point u = difference(b, e);
            const point v = difference(c, d);
            const point m = {a.re + times(s.re, COS_72) - times(t.re, COS_36),
                             a.im + times(s.im, COS_72) - times(t.im, COS_36)};
            const point n = {a.re - times(s.re, COS_36) + times(t.re, COS_72),
                             a.im - times(s.im, COS_36) + times(t.im, COS_72)};
            const point p = {times(u.re, SIN_72) + times(v.re, SIN_36), times(u.im, SIN_72) + times(v.im, SIN_36)};
            const point q = {times(u.re, SIN_36) - times(v.re, SIN_72), times(u.im, SIN_36) - times(v.im, SIN_72)};
            store(data, i, a.re + s.re + t.re, a.im + s.im + t.im);
            store(data, i + length, m.re + p.im, m.im - p.re);
            store(data, i + 2u * length, n.re + q.im, n.im - q.re);
            store(data, i + 3u * length, n.re - q.im, n.im + q.re);
            store(data, i + 4u * length, m.re - p.im, m.im + p.re);
        }
    }
}

/* Which point is loaded behind point i: its digits count up from the highest one, of stride `stages[0].stride`. */
static inline uint32_t next_point(const fedtiny_front *front, uint32_t i)
{
    const fedtiny_stage *stage = front->stages;
    const fedtiny_stage *const last = stage + front->stage_count - 1;
    uint32_t limit = front->window / 2u;
    i += stage->stride;
    while ((i >= limit) && (stage != last)) {
        i -= limit;
        limit = stage->stride;
        stage++;
        i += stage->stride;
    }
    return i;
}

/* Complex transform of the window / 2 points in data, which lie in digit-reversed order. */
static inline void transform(const fedtiny_front *front, fedtiny_wave *data)
{
    uint32_t length = 1u; /* of the transforms that are joined */
    for (uint32_t s = 0u; s < front->stage_count; s++) {
        const uint32_t radix = front->stages[s].radix;
        const uint32_t shift = front->stages[s].shift;
        if (radix == 5u) {
            join_5(front, data, length, shift);
        } else if (radix == 3u) {
            join_3(front, data, length, shift);
        } else if (radix == 2u) {
            join_2(front, data);
        } else if (length == 1u) {
            join_4_first(front, data);
        } else {
            join_4(front, data, length);
        }
        length *= radix;
    }
}

/*
 * The real signal's bins 1 to window / 2 - 1, (re, im) each at its own place, out of the complex transform; bin
 * window / 2, which is real, at data[1]. Float: twice the bins.
 */
static inline void split(const fedtiny_front *front, fedtiny_wave *data)
{
    const uint32_t points = front->window / 2u;
    const point twice = {data[0] + data[0], data[1] + data[1]};
    const point first = lowered(twice, 1u);
    data[1] = first.re - first.im;
    for (uint32_t k = 1u; k <= points / 2u; k++) {
        const point w = {front->cosine[k], front->cosine[points / 2u - k]};
        const point a = load(data, k);
        const point b = load(data, points - k);
        const point even = {a.re + b.re, a.im - b.im};
        const point odd = {a.im + b.im, b.re - a.re};
        const point e = lowered(even, 1u);
        const point o = turned(odd, w, 1u);
        store(data, k, e.re + o.re, e.im + o.im);
        store(data, points - k, e.re - o.re, o.im - e.im);
    }
}

#endif
