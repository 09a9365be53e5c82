/* A textbook radix-2 transform behind CMSIS-DSP's interface, in double, and what tests want to know of its calls. */
#include "dsp/transform_functions.h"

#include <math.h>

#define MOST_POINTS 4096u
#define TURN 6.283185307179586

extern uint32_t transforms; /* that were asked for */
extern uint32_t refusing;   /* not 0: every initialisation fails */
uint32_t transforms = 0u;
uint32_t refusing = 0u;

static arm_status init(arm_cfft_instance_f32 *S, uint16_t points)
{
    S->fftLen = points;
    return (refusing != 0u) ? ARM_MATH_ARGUMENT_ERROR : ARM_MATH_SUCCESS;
}

#define INIT(points) \
    arm_status arm_cfft_init_##points##_f32(arm_cfft_instance_f32 *S) \
    { \
        return init(S, points##u); \
    }

INIT(16)
INIT(32)
INIT(64)
INIT(128)
INIT(256)
INIT(512)
INIT(1024)
INIT(2048)
INIT(4096)

static uint32_t reversed(uint32_t index, uint32_t points)
{
    uint32_t result = 0u;
    for (uint32_t bit = 1u; bit < points; bit <<= 1u) {
        result = (result << 1u) | (((index & bit) != 0u) ? 1u : 0u);
    }
    return result;
}

void arm_cfft_f32(const arm_cfft_instance_f32 *S, float32_t *p1, uint8_t ifftFlag, uint8_t bitReverseFlag)
{
    static double re[MOST_POINTS];
    static double im[MOST_POINTS];
    const uint32_t points = S->fftLen;
    const double sign = (ifftFlag != 0u) ? 1.0 : -1.0;
    transforms++;
    for (uint32_t i = 0u; i < points; i++) {
        const uint32_t from = reversed(i, points);
        re[i] = (double)p1[2u * from];
        im[i] = (double)p1[2u * from + 1u];
    }
    for (uint32_t half = 1u; half < points; half *= 2u) {
        for (uint32_t j = 0u; j < half; j++) {
            const double angle = TURN * (double)j / (2.0 * (double)half);
            const double c = cos(angle);
            const double s = sign * sin(angle);
            for (uint32_t a = j; a < points; a += 2u * half) {
                const uint32_t b = a + half;
                const double x = re[b] * c - im[b] * s;
                const double y = re[b] * s + im[b] * c;
                re[b] = re[a] - x;
                im[b] = im[a] - y;
                re[a] += x;
                im[a] += y;
            }
        }
    }
    for (uint32_t i = 0u; i < points; i++) {
        const uint32_t to = (bitReverseFlag != 0u) ? i : reversed(i, points);
        p1[2u * to] = (float)re[i];
        p1[2u * to + 1u] = (float)im[i];
    }
}
