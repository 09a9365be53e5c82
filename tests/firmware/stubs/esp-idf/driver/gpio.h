#ifndef DRIVER_GPIO_H
#define DRIVER_GPIO_H
#include <stdint.h>

typedef int esp_err_t;
void stub_abort(esp_err_t error);
#define ESP_ERROR_CHECK(x) \
    do { \
        const esp_err_t error_of_x = (x); \
        if (error_of_x != 0) { \
            stub_abort(error_of_x); \
        } \
    } while (0)
typedef enum { GPIO_NUM_2 = 2, GPIO_NUM_4 = 4, GPIO_NUM_5 = 5 } gpio_num_t;
typedef enum { GPIO_MODE_INPUT = 1, GPIO_MODE_OUTPUT = 2 } gpio_mode_t;
esp_err_t gpio_set_direction(gpio_num_t gpio_num, gpio_mode_t mode);
esp_err_t gpio_set_level(gpio_num_t gpio_num, uint32_t level);

#endif
