/* Runs the network once. Replace the function marked YOUR; call infer whenever there are new inputs. */
#include <stdio.h>

#include "@{name}_model.h"

@{code}

int main(void) {
    if (@{name}_model_selftest((int8_t *)arena) != FEDTINY_OK) {
        (void)puts("this build does not compute what it should: see README.md, self-test");
        return 1;
    }
    const int8_t *outputs = infer();
    for (size_t i = 0u; i < @{NAME}_MODEL_OUTPUTS; i++) {
        (void)printf("%d\n", outputs[i]);
    }
    return 0;
}
