/* Runs the network once a second. Replace the function marked YOUR. */
#include <@{name}_model.h>

@{code}

void setup() {
    Serial.begin(115200);
    if (@{name}_model_selftest((int8_t *)arena) != FEDTINY_OK) {
        for (;;) {
            Serial.println("this build does not compute what it should: see README.md, self-test");
            delay(1000);
        }
    }
}

void loop() {
    const int8_t *outputs = infer();
    for (size_t i = 0u; i < @{NAME}_MODEL_OUTPUTS; i++) {
        Serial.println((int)outputs[i]);
    }
    delay(1000);
}
