/* Of CMSIS-DSP what the front end calls, under the same names; arm_cfft_f32.c here does the work. */
#ifndef TRANSFORM_FUNCTIONS_H
#define TRANSFORM_FUNCTIONS_H

#include <stdint.h>

typedef float float32_t;

typedef enum {
    ARM_MATH_SUCCESS = 0,
    ARM_MATH_ARGUMENT_ERROR = -1
} arm_status;

typedef struct {
    uint16_t fftLen;
} arm_cfft_instance_f32;

arm_status arm_cfft_init_16_f32(arm_cfft_instance_f32 *S);
arm_status arm_cfft_init_32_f32(arm_cfft_instance_f32 *S);
arm_status arm_cfft_init_64_f32(arm_cfft_instance_f32 *S);
arm_status arm_cfft_init_128_f32(arm_cfft_instance_f32 *S);
arm_status arm_cfft_init_256_f32(arm_cfft_instance_f32 *S);
arm_status arm_cfft_init_512_f32(arm_cfft_instance_f32 *S);
arm_status arm_cfft_init_1024_f32(arm_cfft_instance_f32 *S);
arm_status arm_cfft_init_2048_f32(arm_cfft_instance_f32 *S);
arm_status arm_cfft_init_4096_f32(arm_cfft_instance_f32 *S);

/* Complex transform of fftLen points (re, im) in place, forward where ifftFlag is 0, in the order of the bins. */
void arm_cfft_f32(const arm_cfft_instance_f32 *S, float32_t *p1, uint8_t ifftFlag, uint8_t bitReverseFlag);

#endif
