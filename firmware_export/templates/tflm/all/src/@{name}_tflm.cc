#include "@{name}_tflm.h"

#include "@{name}_tflite.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

// Bytes; @{arena_how}.
constexpr int kArenaBytes = @{arena};
alignas(16) uint8_t arena[kArenaBytes];
tflite::MicroInterpreter *interpreter = nullptr;

}  // namespace

bool @{name}_begin(void) {
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

uint32_t @{name}_arena_used(void) { return static_cast<uint32_t>(interpreter->arena_used_bytes()); }

int8_t *@{name}_inputs(void) { return interpreter->input(0)->data.int8; }

const int8_t *@{name}_run(void) {
  return interpreter->Invoke() == kTfLiteOk ? interpreter->output(0)->data.int8 : nullptr;
}
