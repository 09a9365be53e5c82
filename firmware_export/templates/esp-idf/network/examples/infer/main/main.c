/* Runs the network once a second. Replace the function marked YOUR. */
#include <stdio.h>

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "@{name}_model.h"

@{code}

void app_main(void) {
    if (@{name}_model_selftest((int8_t *)arena) != FEDTINY_OK) {
        printf("this build does not compute what it should: see README.md, self-test\n");
        return;
    }
    for (;;) {
        const int8_t *outputs = infer();
        for (size_t i = 0u; i < @{NAME}_MODEL_OUTPUTS; i++) {
            printf("%d\n", outputs[i]);
        }
        vTaskDelay(pdMS_TO_TICKS(1000));
    }
}
