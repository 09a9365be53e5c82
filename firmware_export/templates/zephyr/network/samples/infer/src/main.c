/* Runs the network once a second. Replace the function marked YOUR. */
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "@{name}_model.h"

@{code}

int main(void) {
    if (@{name}_model_selftest((int8_t *)arena) != FEDTINY_OK) {
        printk("this build does not compute what it should: see README.md, self-test\n");
        return 0;
    }
    for (;;) {
        const int8_t *outputs = infer();
        for (size_t i = 0u; i < @{NAME}_MODEL_OUTPUTS; i++) {
            printk("%d\n", outputs[i]);
        }
        k_msleep(1000);
    }
}
