#include "@{name}_tflm.h"

#include <cstring>

#include "@{name}_tflite.h"
#include "@{name}_tflm_golden.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

// Bytes; @{arena_how}.
constexpr int kArenaBytes = @{arena};
alignas(16) uint8_t arena[kArenaBytes];
tflite::MicroInterpreter *interpreter = nullptr;

}  // namespace

bool @{name}_tflm_begin(void) {
  if (interpreter != nullptr) {
    return true;
  }
  const tflite::Model *model = tflite::GetModel(@{name}_tflite);
  if (model->version() != TFLITE_SCHEMA_VERSION) {
    return false;
  }
  static tflite::MicroMutableOpResolver<1> resolver;
  if (resolver.AddFullyConnected() != kTfLiteOk) {
    return false;
  }
  static tflite::MicroInterpreter only(model, resolver, arena, kArenaBytes);
  if (only.AllocateTensors() != kTfLiteOk) {
    return false;
  }
  interpreter = &only;
  return true;
}

uint32_t @{name}_tflm_arena_used(void) { return static_cast<uint32_t>(interpreter->arena_used_bytes()); }

int8_t *@{name}_tflm_inputs(void) { return interpreter->input(0)->data.int8; }

const int8_t *@{name}_tflm_run(void) {
  return interpreter->Invoke() == kTfLiteOk ? interpreter->output(0)->data.int8 : nullptr;
}

bool @{name}_tflm_selftest(void) {
  for (unsigned vector = 0; vector < @{NAME}_TFLM_VECTORS; vector++) {
    std::memcpy(@{name}_tflm_inputs(), &@{name}_tflm_golden_inputs[vector * @{NAME}_TFLM_INPUTS], @{NAME}_TFLM_INPUTS);
    const int8_t *outputs = @{name}_tflm_run();
    const int8_t *golden = &@{name}_tflm_golden_outputs[vector * @{NAME}_TFLM_OUTPUTS];
    if (outputs == nullptr || std::memcmp(outputs, golden, @{NAME}_TFLM_OUTPUTS) != 0) {
      return false;
    }
  }
  return true;
}
