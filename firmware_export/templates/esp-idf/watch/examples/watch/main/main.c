/*
 * Watches one machine: what a sensor gives goes in, an alarm comes out on a pin. Replace the function marked YOUR, and
 * the pins; the rest can stay. A new head comes over UART 1: see README.md.
 */
#include <stdio.h>

#include "driver/gpio.h"
#include "driver/uart.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "@{name}_model.h"

#define LAMP GPIO_NUM_2
#define LINE UART_NUM_1
#define LINE_TX GPIO_NUM_4
#define LINE_RX GPIO_NUM_5
#define LINE_BYTES @{kept} /* that the driver keeps while a window is computed */

@{code}

@{heads}

@{show}

static void show(const fedtiny_finding *finding) {
    if (finding->verdict == FEDTINY_LEARNING) {
        printf("learning, %u %%\n", (unsigned)finding->learned);
    } else if (finding->verdict == FEDTINY_STILL) {
        printf("standing still\n");
    } else if (finding->verdict == FEDTINY_SENSOR) {
        printf("the sensor gives nothing that can be judged\n");
    } else {
        printf("score is %u %% of the threshold\n", percent(finding));
    }
    if (finding->changed) {
        ESP_ERROR_CHECK(gpio_set_level(LAMP, (finding->alarm == FEDTINY_RAISED) ? 1u : 0u));
    }
}

static void start_board(void) {
    const uart_config_t config = {
        .baud_rate = 115200,
        .data_bits = UART_DATA_8_BITS,
        .parity = UART_PARITY_DISABLE,
        .stop_bits = UART_STOP_BITS_1,
        .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
    };
    ESP_ERROR_CHECK(uart_driver_install(LINE, LINE_BYTES, 0, 0, NULL, 0));
    ESP_ERROR_CHECK(uart_param_config(LINE, &config));
    ESP_ERROR_CHECK(uart_set_pin(LINE, LINE_TX, LINE_RX, UART_PIN_NO_CHANGE, UART_PIN_NO_CHANGE));
    ESP_ERROR_CHECK(gpio_set_direction(LAMP, GPIO_MODE_OUTPUT));
}

void app_main(void) {
    start_board();
    if ((@{name}_model_selftest(&machine) != FEDTINY_OK) || (fedtiny_start(&machine) != FEDTINY_OK)) {
        printf("this build does not compute what it should: see README.md, self-test\n");
        return;
    }
    start_heads();
    for (;;) {
        fedtiny_finding finding;
        uint8_t bytes[128];
        int count = uart_read_bytes(LINE, bytes, sizeof bytes, 0);
        while (count > 0) {
            const fedtiny_status head = receive_head(bytes, (size_t)count);
            if (head != FEDTINY_MORE) {
                printf("%s\n", head_news(head));
            }
            count = uart_read_bytes(LINE, bytes, sizeof bytes, 0);
        }
        if (watch_machine(&finding)) {
            show(&finding);
        }
        vTaskDelay(1); /* lets other tasks run: the driver of the sensor keeps what comes meanwhile */
    }
}
