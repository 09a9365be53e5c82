"""How interpreters get from a layer's int32 sums to int8, to the bit; and the network in numpy under those rules.

There is no single TFLite result. ``tflite``: tflite-runtime, and LiteRT or TensorFlow without delegates. ``tflm``:
TensorFlow Lite for Microcontrollers, its reference kernels and CMSIS-NN. ``xnn``: LiteRT or TensorFlow as they come,
with XNNPACK. The integer rules start from QuantizeMultiplier (Jacob et al., CVPR 2018, section 2.2) and gemmlowp's
rounding doubling high multiply.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ReleaseError
from firmware_export.network import Layer, Network, clamp

Profile = Literal["tflite", "tflm", "xnn"]
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]


def fold_bias(layer: Layer) -> Int32:
    """Biases (outputs,) with the input's zero point in them: sums may then be taken over the plain int8 inputs."""
    folded = layer.bias.astype(np.int64) - layer.in_zero * layer.weights.sum(axis=1, dtype=np.int64)
    return folded.astype(np.int32)


def clamps(layer: Layer, profile: Profile) -> tuple[int, int]:
    """Least and most int8 of a layer's outputs.

    XNNPACK rounds an activation's ends half to even, after it has added the zero point.
    """
    if profile != "xnn":
        return layer.low, layer.high
    zero = np.float32(layer.out_zero)
    return clamp(
        layer.activation, layer.out_scale, layer.out_zero, lambda steps: int(np.rint(steps + zero)) - layer.out_zero
    )


def real_multipliers(layer: Layer, profile: Profile) -> NDArray[np.float64]:
    """From a sum to the output's steps, for every row (outputs,), under TFLite's two integer profiles.

    Per tensor TFLite multiplies the scales of inputs and weights in float32, TFLM in double; per channel both in
    double.
    """
    if len(layer.weight_scales) == 1 and profile == "tflite":
        product = (layer.in_scale * layer.weight_scales).astype(np.float64)
    else:
        product = np.float64(layer.in_scale) * layer.weight_scales.astype(np.float64)
    return np.broadcast_to(product / np.float64(layer.out_scale), layer.outputs)


def float_multipliers(layer: Layer) -> NDArray[np.float32]:
    """XNNPACK's float32 multipliers (outputs,)."""
    return np.broadcast_to(layer.in_scale * layer.weight_scales / layer.out_scale, layer.outputs)


def quantise_multipliers(real: NDArray[np.float64]) -> tuple[Int32, Int8]:
    """(q, shift): real = q * 2^(shift - 31), q in [2^30, 2^31) or 0 (TFLite's QuantizeMultiplier)."""
    fraction, exponent = np.frexp(real)
    q = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
    exponent = np.where(q == 2**31, exponent + 1, exponent)
    q = np.where(q == 2**31, 2**30, q)
    vanishing = exponent < -31
    return np.where(vanishing, 0, q).astype(np.int32), np.where(vanishing, 0, exponent).astype(np.int8)


def integer_multipliers(layer: Layer, profile: Profile) -> tuple[Int32, Int8]:
    """(q, shift), each (outputs,), of a layer under ``tflite`` or ``tflm``.

    Raises:
        ReleaseError: a sum shifted to the left may overflow int32, and interpreters differ in what comes then.
    """
    q, shift = quantise_multipliers(real_multipliers(layer, profile))
    largest = layer.largest_sums()
    over = largest * 2.0 ** np.maximum(shift, 0) >= 2.0**31
    if over.any():
        row = int(over.argmax())
        raise ReleaseError(
            f"output {row} of a layer of {layer.outputs}: sums of up to {largest[row]}, shifted to the left by "
            f"{shift[row]} bits, do not fit int32; expected a larger output scale"
        )
    return q, shift


def requantise(sums: NDArray[np.int64], layer: Layer, profile: Profile) -> Int8:
    """Outputs (n, outputs) from sums (n, outputs), bias and zero point of the input in them."""
    low, high = clamps(layer, profile)
    if profile == "xnn":
        ends = np.array([low, high], np.float32) - np.float32(layer.out_zero)
        scaled = sums.astype(np.float32) * float_multipliers(layer)
        return (np.rint(scaled.clip(*ends)).astype(np.int32) + layer.out_zero).astype(np.int8)
    q, shift = (part.astype(np.int64) for part in integer_multipliers(layer, profile))
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    value = ((sums << left) * q + (1 << 30)) >> 31
    if profile == "tflm":  # ties away from zero, not upward
        value -= (value < 0) & (right > 0)
    value = (value + (1 << right >> 1)) >> right
    return (value + layer.out_zero).clip(low, high).astype(np.int8)


def run_layer(layer: Layer, profile: Profile, inputs: Int8) -> Int8:
    """Outputs (n, outputs) of one layer for inputs (n, inputs)."""
    products = inputs.astype(np.float64) @ layer.weights.T.astype(np.float64)  # exact: far below 2^53
    return requantise(products.astype(np.int64) + fold_bias(layer), layer, profile)


def run(network: Network, profile: Profile, inputs: Int8) -> Int8:
    """Outputs (n, outputs) of the network for inputs (n, inputs), as the profile's interpreter computes them."""
    for layer in network.layers:
        inputs = run_layer(layer, profile, inputs)
    return inputs
