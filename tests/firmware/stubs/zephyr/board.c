/* A board whose UART receives standard input, 32 bytes in a sleep of the program, and whose console is standard output. */
#include <stdarg.h>
#include <stdio.h>
#include <zephyr/device.h>
#include <zephyr/drivers/gpio.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>
#include <zephyr/sys/ring_buffer.h>

const struct device stub_device = {0};
static uart_irq_callback_user_data_t interrupt;
static void *data_of_interrupt;
static int enabled, waiting;

bool device_is_ready(const struct device *dev) { return dev == &stub_device; }
bool gpio_is_ready_dt(const struct gpio_dt_spec *spec) { return spec->port == &stub_device; }
int gpio_pin_configure_dt(const struct gpio_dt_spec *spec, gpio_flags_t extra_flags) {
    return (spec->port == &stub_device && extra_flags != 0u) ? 0 : -1;
}
int gpio_pin_set_dt(const struct gpio_dt_spec *spec, int value) {
    return (spec->port == &stub_device && (value == 0 || value == 1)) ? 0 : -1;
}

void printk(const char *fmt, ...) {
    va_list arguments;
    va_start(arguments, fmt);
    vprintf(fmt, arguments);
    va_end(arguments);
}

int uart_irq_callback_user_data_set(const struct device *dev, uart_irq_callback_user_data_t cb, void *user_data) {
    interrupt = cb;
    data_of_interrupt = user_data;
    return dev == &stub_device ? 0 : -1;
}
void uart_irq_rx_enable(const struct device *dev) { enabled = dev == &stub_device; }
int uart_irq_update(const struct device *dev) { return dev == &stub_device; }
int uart_irq_rx_ready(const struct device *dev) { return dev == &stub_device && waiting > 0; }
int uart_fifo_read(const struct device *dev, uint8_t *rx_data, const int size) {
    const size_t count = fread(rx_data, 1, (size_t)(size < waiting ? size : waiting), stdin);
    waiting = (dev == &stub_device && count != 0u) ? waiting - (int)count : 0;
    return (int)count;
}

int32_t k_msleep(int32_t ms) {
    if (enabled && ms > 0) {
        waiting = 32;
        interrupt(&stub_device, data_of_interrupt);
    }
    return 0;
}

uint32_t ring_buf_put(struct ring_buf *buf, const uint8_t *data, uint32_t size) {
    uint32_t count = 0u;
    while (count < size && buf->put - buf->got < buf->size) {
        buf->buffer[buf->put++ % buf->size] = data[count++];
    }
    return count;
}
uint32_t ring_buf_get(struct ring_buf *buf, uint8_t *data, uint32_t size) {
    uint32_t count = 0u;
    while (count < size && buf->got != buf->put) {
        data[count++] = buf->buffer[buf->got++ % buf->size];
    }
    return count;
}
