/* An interpreter that runs the C export of the same model, linked beside it; WRONG: and gets one bit wrong. */
#include <cstring>

#include "pump_model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"

#ifndef WRONG
#define WRONG 0
#endif

namespace {
alignas(4) int8_t working[PUMP_MODEL_ARENA_BYTES];
int8_t in[PUMP_MODEL_INPUTS];
int8_t out[PUMP_MODEL_OUTPUTS];
TfLiteTensor tensors[2];
}  // namespace

namespace tflite {
uint32_t Model::version() const { return TFLITE_SCHEMA_VERSION; }
const Model *GetModel(const void *buf) { return static_cast<const Model *>(buf); }

template <>
TfLiteStatus MicroMutableOpResolver<1>::AddFullyConnected() {
  return kTfLiteOk;
}

MicroInterpreter::MicroInterpreter(const Model *, const MicroOpResolver &, uint8_t *, size_t, void *, void *, bool) {
  tensors[0].data.int8 = in;
  tensors[1].data.int8 = out;
}
MicroInterpreter::~MicroInterpreter() {}
TfLiteStatus MicroInterpreter::AllocateTensors() { return kTfLiteOk; }
TfLiteStatus MicroInterpreter::Invoke() {
  std::memcpy(working, in, sizeof in);
  std::memcpy(out, fedtiny_nn_run(&pump_model_network, nullptr, working), sizeof out);
  out[sizeof out - 1] = static_cast<int8_t>(out[sizeof out - 1] ^ WRONG);
  return kTfLiteOk;
}
TfLiteTensor *MicroInterpreter::input(size_t index) { return index == 0 ? &tensors[0] : nullptr; }
TfLiteTensor *MicroInterpreter::output(size_t index) { return index == 0 ? &tensors[1] : nullptr; }
size_t MicroInterpreter::arena_used_bytes() const { return 0; }
}  // namespace tflite
