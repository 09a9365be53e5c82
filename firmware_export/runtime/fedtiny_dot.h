/*
 * The inner product of a dense layer: 4 outputs at a time, over blocks of 4 rows x 16 columns of int8 weights. All
 * variants give the same sums, whatever the order they add in: a sum that fits int32 at its end is exact.
 */
#ifndef FEDTINY_DOT_H
#define FEDTINY_DOT_H

#include <stdint.h>

#if defined(__ARM_FEATURE_MVE) && ((__ARM_FEATURE_MVE & 1) != 0)
#define FEDTINY_DOT_MVE
#include <arm_mve.h>
#elif defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__)
#define FEDTINY_DOT_DSP
#endif

#define FEDTINY_DOT_COLUMNS 16u /* of a block: bytes from a row of weights to the next */
#define FEDTINY_DOT_BLOCK 64u   /* bytes of a block */

#if defined(FEDTINY_DOT_MVE)

/* Helium, Armv8.1-M: 16 products an instruction. */
static inline void fedtiny_dot4(const int8_t *weights, const int8_t *inputs, uint32_t inputs_count, int32_t sums[4])
{
    const uint32_t blocks = (inputs_count + (FEDTINY_DOT_COLUMNS - 1u)) / FEDTINY_DOT_COLUMNS;
    int32_t sum0 = sums[0];
    int32_t sum1 = sums[1];
    int32_t sum2 = sums[2];
    int32_t sum3 = sums[3];
    for (uint32_t block = 0; block < blocks; block++) {
        const int8x16_t x = vldrbq_s8(inputs);
        sum0 = vmladavaq_s8(sum0, x, vldrbq_s8(weights));
        sum1 = vmladavaq_s8(sum1, x, vldrbq_s8(&weights[FEDTINY_DOT_COLUMNS]));
        sum2 = vmladavaq_s8(sum2, x, vldrbq_s8(&weights[2u * FEDTINY_DOT_COLUMNS]));
        sum3 = vmladavaq_s8(sum3, x, vldrbq_s8(&weights[3u * FEDTINY_DOT_COLUMNS]));
        inputs += FEDTINY_DOT_COLUMNS;
        weights += FEDTINY_DOT_BLOCK;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

#elif defined(FEDTINY_DOT_DSP)

/*
 * 8 columns of one row. SXTB16 widens bytes 0 and 2 of a word to two int16, with ROR #8 bytes 1 and 3; SMLAD adds two
 * products. In assembly because compilers move the loads apart until the sums no longer fit the registers.
 */
#define FEDTINY_DOT_ROW(offset, sum)                                                                                   \
    "ldrd %[w], %[v], [%[weights], #" offset "]\n"                                                                     \
    "sxtb16 %[t], %[w]\n"                                                                                              \
    "smlad %[" sum "], %[t], %[x0], %[" sum "]\n"                                                                      \
    "sxtb16 %[w], %[w], ror #8\n"                                                                                      \
    "smlad %[" sum "], %[w], %[x1], %[" sum "]\n"                                                                      \
    "sxtb16 %[t], %[v]\n"                                                                                              \
    "smlad %[" sum "], %[t], %[x2], %[" sum "]\n"                                                                      \
    "sxtb16 %[v], %[v], ror #8\n"                                                                                      \
    "smlad %[" sum "], %[v], %[x3], %[" sum "]\n"
#define FEDTINY_DOT_INPUTS(offset)                                                                                     \
    "ldrd %[x0], %[x2], [%[inputs], #" offset "]\n"                                                                    \
    "sxtb16 %[x1], %[x0], ror #8\n"                                                                                    \
    "sxtb16 %[x0], %[x0]\n"                                                                                            \
    "sxtb16 %[x3], %[x2], ror #8\n"                                                                                    \
    "sxtb16 %[x2], %[x2]\n"

/* The DSP extension of Armv7E-M and Armv8-M: 2 products an instruction. */
static inline void fedtiny_dot4(const int8_t *weights, const int8_t *inputs, uint32_t inputs_count, int32_t sums[4])
{
    int32_t sum0 = sums[0];
    int32_t sum1 = sums[1];
    int32_t sum2 = sums[2];
    int32_t sum3 = sums[3];
    const int8_t *const end = &inputs[inputs_count];
    while (inputs < end) {
        uint32_t x0, x1, x2, x3, w, v, t;
        __asm__ volatile(
            FEDTINY_DOT_INPUTS("0")
            FEDTINY_DOT_ROW("0", "sum0") FEDTINY_DOT_ROW("16", "sum1")
            FEDTINY_DOT_ROW("32", "sum2") FEDTINY_DOT_ROW("48", "sum3")
            FEDTINY_DOT_INPUTS("8")
            FEDTINY_DOT_ROW("8", "sum0") FEDTINY_DOT_ROW("24", "sum1")
            FEDTINY_DOT_ROW("40", "sum2") FEDTINY_DOT_ROW("56", "sum3")
            : [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2), [sum3] "+r"(sum3),
              [x0] "=&r"(x0), [x1] "=&r"(x1), [x2] "=&r"(x2), [x3] "=&r"(x3), [w] "=&r"(w), [v] "=&r"(v), [t] "=&r"(t)
            : [weights] "r"(weights), [inputs] "r"(inputs)
            : "memory");
        inputs += FEDTINY_DOT_COLUMNS;
        weights += FEDTINY_DOT_BLOCK;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

#else

/* Plain C: an input that was loaded serves 4 rows. Spelled out, for compilers that keep a call or a loop for size. */
#define FEDTINY_DOT_COLUMN(i)                                                                                          \
    {                                                                                                                  \
        const int32_t x = inputs[i];                                                                                   \
        sum0 += x * weights[i];                                                                                        \
        sum1 += x * weights[FEDTINY_DOT_COLUMNS + (i)];                                                                \
        sum2 += x * weights[(2u * FEDTINY_DOT_COLUMNS) + (i)];                                                         \
        sum3 += x * weights[(3u * FEDTINY_DOT_COLUMNS) + (i)];                                                         \
    }

static inline void fedtiny_dot4(const int8_t *weights, const int8_t *inputs, uint32_t inputs_count, int32_t sums[4])
{
    int32_t sum0 = sums[0];
    int32_t sum1 = sums[1];
    int32_t sum2 = sums[2];
    int32_t sum3 = sums[3];
    for (uint32_t column = 0; column < inputs_count; column += FEDTINY_DOT_COLUMNS) {
        for (uint32_t i = 0; i < FEDTINY_DOT_COLUMNS; i += 8u) {
            FEDTINY_DOT_COLUMN(0u)
            FEDTINY_DOT_COLUMN(1u)
            FEDTINY_DOT_COLUMN(2u)
            FEDTINY_DOT_COLUMN(3u)
            FEDTINY_DOT_COLUMN(4u)
            FEDTINY_DOT_COLUMN(5u)
            FEDTINY_DOT_COLUMN(6u)
            FEDTINY_DOT_COLUMN(7u)
            inputs += 8;
            weights += 8;
        }
        weights += FEDTINY_DOT_BLOCK - FEDTINY_DOT_COLUMNS;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
}

#endif

#endif
