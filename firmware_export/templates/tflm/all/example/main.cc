// Runs the network once. Replace what is marked YOUR.
#include <cstdio>

#include "@{name}_tflm.h"

int main() {
  if (!@{name}_begin()) {
    std::puts("no interpreter: see README.md");
    return 1;
  }
  int8_t *inputs = @{name}_inputs();
  for (unsigned i = 0; i < @{NAME}_INPUTS; i++) {
    inputs[i] = static_cast<int8_t>(i % 64);  // YOUR INPUTS HERE
  }
  const int8_t *outputs = @{name}_run();
  if (outputs == nullptr) {
    return 1;
  }
  for (unsigned i = 0; i < @{NAME}_OUTPUTS; i++) {
    std::printf("%d\n", outputs[i]);
  }
  return 0;
}
