"""Keras model -> full-int8 TFLite file with the manifest and the float head inside."""

import contextlib
import io
import warnings
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from fedtiny.model.artifact import CHECKSUM, HEAD, MANIFEST, UNSEALED, sealed

Array = NDArray[np.float32]


def to_int8(model: Any, representative: Array) -> bytes:
    """Convert a dense Keras model to full int8, per channel, batch size 1.

    representative: (n, features) standardised features; they set the ranges of all activations.
    """
    features = representative.shape[1]
    fixed = tf.keras.Sequential([tf.keras.Input((features,), batch_size=1), *model.layers])
    for layer in model.layers:
        kernel, bias = layer.get_weights()
        if not bias.any():  # the converter would leave a bias of zeros out, and with it the place to patch one in
            layer.set_weights([kernel, np.full_like(bias, 1e-6)])
    converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in representative)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # Keras prints its export
        warnings.simplefilter("ignore")
        return bytes(converter.convert())


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose data starts at a multiple of 16 bytes, as TFLite's own writer aligns them."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802
        if self.data is not None:
            raw = bytes(bytearray(self.data))
            builder.StartVector(1, len(raw), 16)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            data = builder.EndVector()
        schema.BufferStart(builder)
        if self.data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def embed(tflite: bytes, manifest: str, head: Array) -> bytes:
    """The same model with the manifest (JSON), the float32 head and a checksum in its metadata buffers."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))
    for name, content in ((MANIFEST, manifest.encode()), (HEAD, head.astype("<f4").tobytes()), (CHECKSUM, UNSEALED)):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata = [*(model.metadata or []), entry]
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(len(tflite) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return sealed(bytes(builder.Output()))
