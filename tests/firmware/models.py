"""TFLite models of dense int8 layers, made byte by byte from the schema: odd sizes, exact ties, extreme scales."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
Edit = Callable[[Any], None]


@dataclass(frozen=True)
class Dense:
    """A layer: int8 weights (outputs, inputs), float32 weight scales (1,) or (outputs,), int32 bias or None."""

    weights: NDArray[np.int8]
    scales: NDArray[np.float32]
    out_scale: float
    out_zero: int = 0
    bias: NDArray[np.int32] | None = None
    activation: int = NONE


def make_tflite(layers: list[Dense], in_scale: float, in_zero: int = 0, edit: Edit | None = None) -> bytes:
    """The model's file, for batches of any size; ``edit`` may change the schema's object tree before it is packed."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description, model.buffers = 3, b"dense", [schema.BufferT()]
    code = schema.OperatorCodeT()
    code.deprecatedBuiltinCode = code.builtinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 5
    model.operatorCodes, model.subgraphs = [code], [graph]
    graph.tensors, graph.operators, graph.inputs = [], [], [0]

    def tensor(kind: int, shape: list[int], scales: Any, zero: int = 0, data: NDArray[Any] | None = None) -> int:
        made = schema.TensorT()
        made.name, made.type, made.shape = f"tensor{len(graph.tensors)}".encode(), kind, shape
        made.quantization = quantisation = schema.QuantizationParametersT()
        quantisation.scale = np.atleast_1d(np.asarray(scales, np.float32))
        quantisation.zeroPoint = np.full(quantisation.scale.size, zero, np.int64)
        if data is None:
            made.buffer, made.shapeSignature = 0, [-1, *shape[1:]]
        else:
            made.buffer = len(model.buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    last = tensor(schema.TensorType.INT8, [1, layers[0].weights.shape[1]], in_scale, in_zero)
    scale = np.float32(in_scale)
    for layer in layers:
        op, options = schema.OperatorT(), schema.FullyConnectedOptionsT()
        weights = tensor(schema.TensorType.INT8, list(layer.weights.shape), layer.scales, 0, layer.weights)
        bias = -1
        if layer.bias is not None:
            bias = tensor(schema.TensorType.INT32, [len(layer.bias)], scale * layer.scales, 0, layer.bias)
        output = tensor(schema.TensorType.INT8, [1, len(layer.weights)], layer.out_scale, layer.out_zero)
        op.opcodeIndex, op.inputs, op.outputs = 0, [last, weights, bias], [output]
        options.fusedActivationFunction = layer.activation
        op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.FullyConnectedOptions, options
        graph.operators.append(op)
        last, scale = output, np.float32(layer.out_scale)
    graph.outputs = [last]
    if edit is not None:
        edit(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def chain(
    sizes: list[int],
    seed: int,
    *,
    per_channel: bool = True,
    bias: bool = True,
    activations: tuple[int, ...] = (),
    gain: float = 1.0,
) -> bytes:
    """Random layers whose outputs spread over int8; a ``gain`` above 1 saturates them."""
    rng = np.random.default_rng(seed)
    in_scale, in_zero = np.float32(rng.uniform(0.01, 0.1)), int(rng.integers(-128, 128))
    layers, scale, spread = [], in_scale, 74.0
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        scales = rng.uniform(0.0003, 0.0015, outputs if per_channel else 1).astype(np.float32)
        weights = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
        sums = spread * 74 * np.sqrt(inputs)
        out_scale = np.float32(scale * scales.mean() * sums / 40 / gain)
        biases = rng.normal(0, sums / 2, outputs).astype(np.int32) if bias else None
        activation = activations[i % len(activations)] if activations else NONE
        layers.append(Dense(weights, scales, float(out_scale), int(rng.integers(-60, 60)), biases, activation))
        scale, spread = out_scale, 40.0
    return make_tflite(layers, float(in_scale), in_zero)


def single(scales: NDArray[np.float32], out_scale: float, in_scale: float, *, inputs: int = 3, **more: Any) -> bytes:
    """One layer of small weights, so that its sums take every value near 0."""
    rng = np.random.default_rng(len(scales) + inputs)
    outputs = more.pop("outputs", len(scales))
    weights = rng.integers(-3, 4, (outputs, inputs)).astype(np.int8)
    weights[:, 0] = 1 + 2 * rng.integers(0, 2, outputs)
    return make_tflite([Dense(weights, scales.astype(np.float32), out_scale, **more)], in_scale)


def inexact_product(seed: int, halvings: int) -> tuple[float, np.float32, float]:
    """(in scale, weight scale, out scale): their multiplier is a power of two only when the product is a float32."""
    rng = np.random.default_rng(seed)
    while True:
        in_scale, scale = (np.float32(x) for x in rng.uniform(0.01, 0.02, 2))
        product = np.float32(in_scale * scale)
        if abs(float(in_scale) * float(scale) / float(product) - 1) > 2e-8:
            return float(in_scale), scale, float(product * np.float32(2.0**halvings))


def product_tie(seed: int, halvings: int, *, bias: bool) -> bytes:
    """Per tensor: every other sum is a tie under the float32 product, and lies beside it under the double product."""
    in_scale, scale, out_scale = inexact_product(seed, halvings)
    biases = np.arange(-4, 4, dtype=np.int32) if bias else None
    return single(np.array([scale]), out_scale, in_scale, outputs=8, bias=biases)


def half_steps() -> bytes:
    """Activations that end half a step of the output from its steps: 12.5 and -2.5, 2.5 of them."""
    eye, half = np.eye(4, dtype=np.int8), np.full(4, 0.5, np.float32)
    return make_tflite([Dense(eye, half, 0.48, 0, None, RELU6), Dense(eye, half, 0.4, 3, None, RELU_N1_TO_1)], 1.0, -20)


def extreme_shifts() -> bytes:
    """Multipliers from 2^-44 to 2^6, those about 2^-31 and 1 among them, under sums of up to 2^29."""
    exponents = np.concatenate([np.arange(-44.0, 7.0), [-31.5, -30.5, -0.01, 0.01]])
    rng = np.random.default_rng(5)
    bias = (rng.choice([-1, 1], exponents.size) * 2.0 ** np.minimum(29, 24 - exponents)).astype(np.int32)
    weights = rng.integers(-127, 128, (exponents.size, 7)).astype(np.int8)
    scales = (2.0**exponents * rng.uniform(0.9, 1, exponents.size)).astype(np.float32)
    return make_tflite([Dense(weights, scales, 1.0, 3, bias)], 1.0, -128)


def largest_sums() -> bytes:
    """Sums of up to 2^30 - 1, the most that is exported, under multipliers from 2^-32 to almost 2."""
    multipliers = 2.0 ** -np.repeat([-0.999, 0.001, 2, 24, 25, 30, 31, 31.5], 2)
    weights = np.ones((16, 5), np.int8)
    bias = np.tile(np.array([1, -1]), 8) * (2**30 - 1 - 5 * 128)
    return make_tflite([Dense(weights, multipliers.astype(np.float32), 1.0, 100, bias.astype(np.int32))], 1.0)


def all_models() -> dict[str, bytes]:
    """Every model that the tests run, by name."""
    wide = (64 * np.float32(2.0) ** -np.arange(1, 17)).astype(np.float32)
    mixed = (NONE, RELU, RELU6, RELU_N1_TO_1)
    almost_one = np.array([1 - 2.0**-17, 1.0, 1 - 2.0**-23], np.float32)
    return {
        "default": chain([128, 64, 16, 64, 128], 1, activations=(RELU, RELU, RELU, NONE)),
        "per_tensor": chain([128, 64, 16, 64, 128], 2, per_channel=False, activations=(RELU, RELU, RELU, NONE)),
        "one": chain([1, 1], 3),
        "odd": chain([3, 7, 1, 127, 3], 4),
        "odd_per_tensor": chain([7, 127, 3, 1, 7, 127], 5, per_channel=False, activations=mixed),
        "wide": chain([640, 17, 640], 6),
        "wide_per_tensor": chain([640, 8, 640], 7, per_channel=False, bias=False),
        "activations": chain([31, 33, 15, 17, 40], 8, activations=mixed),
        "no_bias": chain([20, 12, 20], 9, bias=False),
        "saturated": chain([50, 60, 70], 10, gain=40.0),
        "ties": single(wide, 64.0, 1.0, bias=np.arange(-8, 8, dtype=np.int32), out_zero=-5),
        "ties_per_tensor": single(np.array([0.25]), 2.0, 1.0, outputs=9, out_zero=7),
        "product": product_tie(11, 1, bias=True),
        "product_no_bias": product_tie(12, 4, bias=False),
        "almost_one": single(almost_one, 1.0, float(np.float32(1 + 2.0**-17))),
        "half_steps": half_steps(),
        "shifts": extreme_shifts(),
        "largest_sums": largest_sums(),
    }
