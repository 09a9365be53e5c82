#ifndef FLATBUFFERS_GENERATED_SCHEMA_TFLITE_H_
#define FLATBUFFERS_GENERATED_SCHEMA_TFLITE_H_
#include <cstdint>

namespace tflite {
struct Model {
  uint32_t version() const;
};
const Model *GetModel(const void *buf);
}  // namespace tflite

#endif
