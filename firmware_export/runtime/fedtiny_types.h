/* What all parts share: choices made at export, number types, status codes. C99, little-endian. */
#ifndef FEDTINY_TYPES_H
#define FEDTINY_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FEDTINY_ROUNDING_TFLITE 0
#define FEDTINY_ROUNDING_TFLM 1
#define FEDTINY_ROUNDING_XNN 2

/* Made at export: FEDTINY_ROUNDING, FEDTINY_FIXED_POINT (0 or 1), FEDTINY_SAMPLE_INT16 (0 or 1). */
#include "fedtiny_config.h"

#if defined(__BYTE_ORDER__) && defined(__ORDER_LITTLE_ENDIAN__) && (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
#error "fedtiny needs a little-endian target"
#endif

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && (__FINITE_MATH_ONLY__ > 0))
#error "fedtiny needs IEEE arithmetic: leave -ffast-math, -Ofast and -ffinite-math-only out"
#endif

/*
 * fedtiny_build_<rounding>_<fixed point>_<int16>: the runtime defines it, every generated model refers to it. A model
 * that was exported with other options than the runtime at hand does not link.
 */
#define FEDTINY_BUILD_JOINED(rounding, fixed, counts) fedtiny_build_##rounding##_##fixed##_##counts
#define FEDTINY_BUILD_NAMED(rounding, fixed, counts) FEDTINY_BUILD_JOINED(rounding, fixed, counts)
#define FEDTINY_BUILD FEDTINY_BUILD_NAMED(FEDTINY_ROUNDING, FEDTINY_FIXED_POINT, FEDTINY_SAMPLE_INT16)

/* A feature, a standardised feature, a residual, a score. Fixed point: Q16.16, saturated at its ends. */
#if FEDTINY_FIXED_POINT
typedef int32_t fedtiny_value;
#else
typedef float fedtiny_value;
#endif

/* A sample: counts of the converter, or the unit that the model was trained in. */
#if FEDTINY_SAMPLE_INT16
typedef int16_t fedtiny_sample;
#else
typedef float fedtiny_sample;
#endif

/* Negative: refused, and nothing has changed. */
typedef enum {
    FEDTINY_OK = 0,
    FEDTINY_MORE = 1,              /* not complete yet: more bytes or samples are needed */
    FEDTINY_ERROR_ARGUMENT = -1,   /* a null pointer or a size that cannot be */
    FEDTINY_ERROR_NOT_READY = -2,  /* another call comes first: fedtiny_start, or a whole image */
    FEDTINY_ERROR_FORMAT = -3,     /* not a head image, or of another format */
    FEDTINY_ERROR_SIZE = -4,       /* a head of other sizes than the model's, or larger than its slot */
    FEDTINY_ERROR_RELEASE = -5,    /* a head of another release, or for another rounding */
    FEDTINY_ERROR_CHECKSUM = -6,   /* a head that was damaged on its way */
    FEDTINY_ERROR_SIGNATURE = -7,  /* a head that the verifier refuses, or none was given a verifier asks for */
    FEDTINY_ERROR_IN_USE = -8,     /* a slot whose head is in use */
    FEDTINY_ERROR_OLD = -9,        /* a head that is not newer than the one in use */
    FEDTINY_ERROR_SELFTEST = -10   /* this build does not compute what it should */
} fedtiny_status;

#endif
