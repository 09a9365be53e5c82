/*
 * Watches one machine: what a sensor gives goes in, an alarm comes out on led0. Replace the function marked YOUR; the
 * rest can stay. A new head comes over the console's UART: see README.md.
 */
#include <zephyr/device.h>
#include <zephyr/drivers/gpio.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>
#include <zephyr/sys/ring_buffer.h>

#include "@{name}_model.h"

static const struct gpio_dt_spec lamp = GPIO_DT_SPEC_GET(DT_ALIAS(led0), gpios);
static const struct device *const line = DEVICE_DT_GET(DT_CHOSEN(zephyr_console));

/* What has come over the line: the interrupt puts it in, the main loop takes it out. */
RING_BUF_DECLARE(received, @{kept});

@{code}

@{heads}

@{show}

static void show(const fedtiny_finding *finding) {
    if (finding->verdict == FEDTINY_LEARNING) {
        printk("learning, %u %%\n", (unsigned)finding->learned);
    } else if (finding->verdict == FEDTINY_STILL) {
        printk("standing still\n");
    } else if (finding->verdict == FEDTINY_SENSOR) {
        printk("the sensor gives nothing that can be judged\n");
    } else {
        printk("score is %u %% of the threshold\n", percent(finding));
    }
    if (finding->changed) {
        (void)gpio_pin_set_dt(&lamp, (finding->alarm == FEDTINY_RAISED) ? 1 : 0);
    }
}

/* In the UART's interrupt. What does not fit is lost, and the image refused as damaged. */
static void keep_received(const struct device *dev, void *user_data) {
    uint8_t bytes[16];
    ARG_UNUSED(user_data);
    (void)uart_irq_update(dev);
    while (uart_irq_rx_ready(dev) > 0) {
        const int count = uart_fifo_read(dev, bytes, sizeof bytes);
        if (count <= 0) {
            break;
        }
        (void)ring_buf_put(&received, bytes, (uint32_t)count);
    }
}

static void take_received(void) {
    uint8_t bytes[64];
    uint32_t count = ring_buf_get(&received, bytes, sizeof bytes);
    while (count > 0u) {
        const fedtiny_status head = receive_head(bytes, count);
        if (head != FEDTINY_MORE) {
            printk("%s\n", head_news(head));
        }
        count = ring_buf_get(&received, bytes, sizeof bytes);
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
    if (uart_irq_callback_user_data_set(line, keep_received, NULL) != 0) {
        printk("the console's UART has no interrupts\n");
        return 0;
    }
    uart_irq_rx_enable(line);
    for (;;) {
        fedtiny_finding finding;
        take_received();
        if (watch_machine(&finding)) {
            show(&finding);
        }
        k_msleep(1); /* lets other threads run: the driver of the sensor keeps what comes meanwhile */
    }
}
