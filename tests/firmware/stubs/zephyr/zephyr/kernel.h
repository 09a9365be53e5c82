#ifndef ZEPHYR_KERNEL_H
#define ZEPHYR_KERNEL_H
#include <stdint.h>

#define ARG_UNUSED(x) (void)(x)
int32_t k_msleep(int32_t ms);

#endif
