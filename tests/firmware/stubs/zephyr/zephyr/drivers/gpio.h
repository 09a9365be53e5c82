#ifndef ZEPHYR_DRIVERS_GPIO_H
#define ZEPHYR_DRIVERS_GPIO_H
#include <zephyr/device.h>

typedef uint32_t gpio_flags_t;
struct gpio_dt_spec {
    const struct device *port;
    uint8_t pin;
    uint16_t dt_flags;
};
#define GPIO_OUTPUT_INACTIVE (1u << 18)
#define GPIO_DT_SPEC_GET(node, property) {&stub_device, 0u, 0u}
bool gpio_is_ready_dt(const struct gpio_dt_spec *spec);
int gpio_pin_configure_dt(const struct gpio_dt_spec *spec, gpio_flags_t extra_flags);
int gpio_pin_set_dt(const struct gpio_dt_spec *spec, int value);

#endif
