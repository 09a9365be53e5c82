/*
 * Watches one machine: what a sensor gives goes in, an alarm comes out on led0. Replace the function marked YOUR; the
 * rest can stay. A new head comes over the console's UART: see README.md.
 */
#include <zephyr/device.h>
#include <zephyr/drivers/gpio.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "@{name}_model.h"

static const struct gpio_dt_spec lamp = GPIO_DT_SPEC_GET(DT_ALIAS(led0), gpios);
static const struct device *const line = DEVICE_DT_GET(DT_CHOSEN(zephyr_console));

@{code}

@{heads}

@{show}

static void show(const fedtiny_finding *finding) {
    if (finding->verdict == FEDTINY_LEARNING) {
        printk("learning, %u %%\n", (unsigned)finding->learned);
    } else if (finding->verdict == FEDTINY_STILL) {
        printk("standing still\n");
    } else {
        printk("score is %u %% of the threshold\n", percent(finding));
    }
    if (finding->changed) {
        (void)gpio_pin_set_dt(&lamp, (finding->alarm == FEDTINY_RAISED) ? 1 : 0);
    }
}

int main(void) {
    if (!device_is_ready(line) || !gpio_is_ready_dt(&lamp)
        || (gpio_pin_configure_dt(&lamp, GPIO_OUTPUT_INACTIVE) != 0)) {
        printk("the console's UART or led0 is not ready\n");
        return 0;
    }
    if ((@{name}_model_selftest(&machine) != FEDTINY_OK) || (fedtiny_start(&machine) != FEDTINY_OK)) {
        printk("this build does not compute what it should: see README.md, self-test\n");
        return 0;
    }
    start_heads();
    for (;;) {
        fedtiny_finding finding;
        unsigned char byte_in;
        while (uart_poll_in(line, &byte_in) == 0) {
            if (receive_head(&byte_in, 1)) {
                printk("a new head\n");
            }
        }
        if (watch_machine(&finding)) {
            show(&finding);
        }
        k_msleep(1); /* a faster line, or a higher rate of samples: receive in an interrupt into a ring buffer */
    }
}
