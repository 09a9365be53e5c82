#ifndef ZEPHYR_DRIVERS_UART_H
#define ZEPHYR_DRIVERS_UART_H
#include <zephyr/device.h>

int uart_poll_in(const struct device *dev, unsigned char *p_char);

#endif
