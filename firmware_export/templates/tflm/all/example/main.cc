// Runs the network once. Replace what is marked YOUR.
#include <cstdio>

#include "@{name}_tflm.h"

int main() {
  if (!@{name}_tflm_begin()) {
    std::puts("no interpreter: see README.md");
    return 1;
  }
  if (!@{name}_tflm_selftest()) {
    std::puts("this build does not compute what it should: see README.md, self-test");
    return 1;
  }
  int8_t *inputs = @{name}_tflm_inputs();
  for (unsigned i = 0; i < @{NAME}_TFLM_INPUTS; i++) {
    inputs[i] = static_cast<int8_t>(i % 64);  // YOUR INPUTS HERE
  }
  const int8_t *outputs = @{name}_tflm_run();
  if (outputs == nullptr) {
    return 1;
  }
  for (unsigned i = 0; i < @{NAME}_TFLM_OUTPUTS; i++) {
    std::printf("%d\n", outputs[i]);
  }
  return 0;
}
