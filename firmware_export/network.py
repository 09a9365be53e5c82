"""The dense int8 layers of a .tflite file, fedtiny's own or foreign, ready to be exported.

What cannot be exported is refused by name and place, before anything is computed from it: the file may be damaged.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ReleaseError
from fedtiny.model import flatbuffer as fb
from firmware_export.operators import ACTIVATIONS, DEQUANTIZE, FULLY_CONNECTED, OPERATORS, QUANTIZE, TYPES, named

TENSOR_SPARSITY, QUANT_DIMENSION, OPTION_ACTIVATION, OPTION_WEIGHTS_FORMAT = 6, 6, 0, 1
TYPE_INT32 = 2
MOST_UNITS = 65535  # inputs or outputs of a layer: uint16 in the C runtime
MOST_SUM = 2**30 - 1  # of a row, as the head loader in C demands it, too: interpreters may round within int32
MOST_MULTIPLIER = 2**16
SMALLEST, LARGEST = np.float32(2.0**-126), np.float32(2.0**60)  # scales: products of two stay finite
CLAMPS = {"NONE": (None, None), "RELU": (0, None), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}


@dataclass(frozen=True)
class Layer:
    """One dense layer: real output = out_scale * (q - out_zero), q in [low, high], an int8."""

    weights: NDArray[np.int8]  # (outputs, inputs)
    bias: NDArray[np.int32]  # (outputs,), in steps of in_scale * weight_scales; zeros where the model has none
    weight_scales: NDArray[np.float32]  # (1,): per tensor, or (outputs,)
    in_scale: np.float32
    in_zero: int
    out_scale: np.float32
    out_zero: int
    activation: str  # a key of CLAMPS
    low: int  # the activation's clamp in TFLite and TFLM; XNNPACK's may differ by one, see rounding.clamps
    high: int

    @property
    def outputs(self) -> int:
        """Number of rows."""
        return self.weights.shape[0]

    @property
    def inputs(self) -> int:
        """Number of columns."""
        return self.weights.shape[1]

    def largest_sums(self) -> NDArray[np.int64]:
        """No sum of a row's products and bias, whole or in parts, has a larger magnitude: (outputs,)."""
        weights, bias = self.weights.astype(np.int64), self.bias.astype(np.int64)
        folded = bias - self.in_zero * weights.sum(axis=1)
        return np.maximum(np.abs(bias), np.abs(folded)) + 128 * np.abs(weights).sum(axis=1)


@dataclass(frozen=True)
class Network:
    """Layers in order, each fed by the one before it."""

    layers: tuple[Layer, ...]

    @property
    def inputs(self) -> int:
        """Inputs of the first layer."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].outputs


def read_network(tflite: bytes, source: str) -> Network:
    """The network in the file's bytes; ``source`` names the file in errors.

    Raises:
        ReleaseError: not a chain of int8 FULLY_CONNECTED operators, or damaged; says which operator, and why.
    """
    try:
        return _File(fb.Reader(tflite)).network()
    except ReleaseError as error:
        raise ReleaseError(f"{source}: {error}") from None


class _File:
    """One model's tables."""

    def __init__(self, reader: fb.Reader) -> None:
        self.reader = r = reader
        graphs = list(r.tables(r.root, fb.MODEL_SUBGRAPHS))
        if len(graphs) != 1:
            raise ReleaseError(f"{len(graphs)} subgraphs, expected 1")
        self.graph = graphs[0]
        self.buffers = list(r.tables(r.root, fb.MODEL_BUFFERS))
        self.tensors = list(r.tables(self.graph, fb.GRAPH_TENSORS))
        self.codes = [
            max(r.scalar(c, fb.CODE_DEPRECATED, "b"), r.scalar(c, fb.CODE_BUILTIN, "i"))
            for c in r.tables(r.root, fb.MODEL_CODES)
        ]

    def network(self) -> Network:
        r = self.reader
        ends = (r.ints(self.graph, fb.GRAPH_INPUTS), r.ints(self.graph, fb.GRAPH_OUTPUTS))
        if [len(end) for end in ends] != [1, 1]:
            raise ReleaseError(f"{len(ends[0])} inputs and {len(ends[1])} outputs, expected one of each")
        layers, at = [], ends[0][0]
        for number, table in enumerate(r.tables(self.graph, fb.GRAPH_OPERATORS)):
            try:
                layer, at = self._layer(table, at)
            except ReleaseError as error:
                raise ReleaseError(f"operator {number} {error}") from None
            layers.append(layer)
        if not layers:
            raise ReleaseError("the model has no operators")
        if at != ends[1][0]:
            raise ReleaseError(f"the last operator gives tensor {at}, but the model's output is tensor {ends[1][0]}")
        return Network(tuple(layers))

    def _layer(self, table: int, expected: int) -> tuple[Layer, int]:
        """The layer of an operator that must take tensor ``expected``, and the tensor that it gives."""
        r = self.reader
        self._check_code(r.scalar(table, fb.OP_CODE, "I"))
        inputs, outputs = r.ints(table, fb.OP_INPUTS), r.ints(table, fb.OP_OUTPUTS)
        if len(inputs) not in (2, 3) or len(outputs) != 1:
            raise ReleaseError(f"has {len(inputs)} inputs and {len(outputs)} outputs, expected 2 or 3 and 1")
        if inputs[0] != expected:
            raise ReleaseError(f"takes tensor {inputs[0]}, expected tensor {expected}: the layers must form a chain")
        weights = self._weights(inputs[1])
        in_scale, in_zero = self._activations(inputs[0], weights.shape[1])
        out_scale, out_zero = self._activations(outputs[0], weights.shape[0])
        activation = self._activation(table)
        low, high = clamp(activation, out_scale, out_zero, half_away)
        bias = self._bias(inputs[2] if len(inputs) == 3 else -1, len(weights))
        scales = self._weight_scales(inputs[1], len(weights))
        layer = Layer(weights, bias, scales, in_scale, in_zero, out_scale, out_zero, activation, low, high)
        _check_sums(layer)
        return layer, outputs[0]

    def _check_code(self, index: int) -> None:
        if index >= len(self.codes):
            raise ReleaseError(f"is of kind {index} of {len(self.codes)}: no such kind")
        code = self.codes[index]
        if code in (QUANTIZE, DEQUANTIZE):
            raise ReleaseError(
                f"is {named(OPERATORS, code)}: not all inputs, outputs and activations are int8; convert the model to "
                "full int8 with inference_input_type and inference_output_type int8"
            )
        if code != FULLY_CONNECTED:
            raise ReleaseError(f"is {named(OPERATORS, code)}, expected FULLY_CONNECTED")

    def _activation(self, table: int) -> str:
        r, options = self.reader, self.reader.table(table, fb.OP_OPTIONS)
        if options is None:
            return "NONE"
        if r.scalar(options, OPTION_WEIGHTS_FORMAT, "b"):
            raise ReleaseError("has shuffled weights, expected them row by row")
        code = r.scalar(options, OPTION_ACTIVATION, "b")
        name = named(ACTIVATIONS, code)
        if name not in CLAMPS:
            raise ReleaseError(f"ends in {name}, expected {', '.join(CLAMPS)}")
        return name

    def _tensor(self, index: int, kind: int, what: str) -> int:
        """The table of tensor ``index``, which must be of type ``kind``."""
        if not 0 <= index < len(self.tensors):
            raise ReleaseError(f"names tensor {index} of {len(self.tensors)} as its {what}")
        found = self.reader.scalar(self.tensors[index], fb.TENSOR_TYPE, "b")
        if found != kind:
            raise ReleaseError(f"has {what} of {named(TYPES, found)}, expected {named(TYPES, kind)}")
        return self.tensors[index]

    def _content(self, table: int, dtype: str, size: int, what: str) -> NDArray[Any]:
        """A constant tensor's ``size`` numbers."""
        index = self.reader.scalar(table, fb.TENSOR_BUFFER, "I")
        if index >= len(self.buffers):
            raise ReleaseError(f"has {what} in buffer {index} of {len(self.buffers)}")
        start, count = self.reader.vector(self.buffers[index], 0, 1)
        expected = size * np.dtype(dtype).itemsize
        if count != expected or self.reader.table(table, TENSOR_SPARSITY):
            raise ReleaseError(f"has {what} of {count} bytes in the file, expected {expected}, constant and dense")
        return np.frombuffer(self.reader.data, dtype, size, start)

    def _quantisation(self, table: int, what: str) -> tuple[NDArray[np.float32], tuple[int, ...], int]:
        """A tensor's scales, all positive and finite, its zero points, and the axis along which they differ."""
        r, place = self.reader, self.reader.table(table, fb.TENSOR_QUANTIZATION)
        start, count = r.vector(place, fb.QUANT_SCALE, 4) if place else (0, 0)
        zeros, zero_count = r.vector(place, fb.QUANT_ZERO_POINT, 8) if place else (0, 0)
        if place is None or count == 0 or zero_count not in (1, count) or count > MOST_UNITS:
            raise ReleaseError(f"has {what} with {count} scales and {zero_count} zero points: not full int8")
        scales = np.frombuffer(r.data, "<f4", count, start)
        if not ((scales >= SMALLEST) & (scales <= LARGEST)).all():
            raise ReleaseError(f"has {what} with a scale that is not positive, finite and of a usual size")
        return scales, struct.unpack_from(f"<{zero_count}q", r.data, zeros), r.scalar(place, QUANT_DIMENSION, "i")

    def _activations(self, index: int, units: int) -> tuple[np.float32, int]:
        """Scale and zero point of an input or output (windows, units)."""
        table = self._tensor(index, fb.TYPE_INT8, "an input or output")
        shape = self.reader.ints(table, fb.TENSOR_SHAPE)
        if len(shape) != 2 or shape[1] != units:
            raise ReleaseError(f"has an input or output of shape {shape}, expected (windows, {units})")
        scales, zeros, _ = self._quantisation(table, "an input or output")
        if len(scales) != 1 or not -128 <= zeros[0] <= 127:
            raise ReleaseError(f"has {len(scales)} scales and zero point {zeros[0]} for an activation: not int8")
        return scales[0], zeros[0]

    def _weights(self, index: int) -> NDArray[np.int8]:
        table = self._tensor(index, fb.TYPE_INT8, "weights")
        shape = self.reader.ints(table, fb.TENSOR_SHAPE)
        if len(shape) != 2 or not all(1 <= size <= MOST_UNITS for size in shape):
            raise ReleaseError(f"has weights of shape {shape}, expected (outputs, inputs), each 1 to {MOST_UNITS}")
        return self._content(table, "i1", math.prod(shape), "weights").reshape(shape)

    def _weight_scales(self, index: int, outputs: int) -> NDArray[np.float32]:
        scales, zeros, axis = self._quantisation(self.tensors[index], "weights")
        if any(zeros):
            raise ReleaseError("has weights with a zero point other than 0")
        if len(scales) not in (1, outputs) or (len(scales) > 1 and axis != 0):
            raise ReleaseError(f"has {len(scales)} weight scales along axis {axis}, expected 1, or {outputs} along 0")
        return scales

    def _bias(self, index: int, outputs: int) -> NDArray[np.int32]:
        if index == -1:
            return np.zeros(outputs, np.int32)
        table = self._tensor(index, TYPE_INT32, "a bias")
        return self._content(table, "<i4", outputs, "a bias")


def half_away(steps: np.float32) -> int:
    """The nearest integer, ties away from zero."""
    return int(math.copysign(math.floor(abs(float(steps)) + 0.5), steps))


def clamp(activation: str, scale: np.float32, zero: int, nearest: Callable[[np.float32], int]) -> tuple[int, int]:
    """Least and most int8 of a fused activation; ``nearest`` rounds steps of ``scale``."""
    low, high = CLAMPS[activation]
    return (
        -128 if low is None else max(-128, zero + nearest(np.float32(low) / scale)),
        127 if high is None else min(127, zero + nearest(np.float32(high) / scale)),
    )


def _check_sums(layer: Layer) -> None:
    largest = layer.largest_sums()
    row = int(largest.argmax())
    if largest[row] > MOST_SUM:
        raise ReleaseError(f"can sum up to {largest[row]} in output {row}, expected at most {MOST_SUM}")
    multiplier = float(layer.in_scale) * float(layer.weight_scales.max()) / float(layer.out_scale)
    if multiplier >= MOST_MULTIPLIER:
        raise ReleaseError(f"multiplies its sums by {multiplier:g}, expected less than {MOST_MULTIPLIER}")
