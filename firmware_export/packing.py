"""Layers in the order of the C kernels, and the C text of a network: see ``runtime/fedtiny_nn.h``."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.csource import array
from firmware_export.network import Layer, Network
from firmware_export.rounding import Profile, clamps, float_multipliers, fold_bias, integer_multipliers

ROWS, COLUMNS = 4, 16  # of a block of weights


@dataclass(frozen=True)
class PackedLayer:
    """What the runtime's ``fedtiny_layer`` points to. Padding is zero."""

    weights: NDArray[np.int8]  # (padded rows * padded columns,): blocks of 4 rows x 16 columns, group of rows by group
    bias: NDArray[np.int32]  # (padded rows,), the input's zero point folded in
    multiplier: NDArray[Any]  # (padded rows,): int32 Q31, or float32 under ``xnn``
    shift: NDArray[np.int8]  # (padded rows,): positive to the left; zeros under ``xnn``
    low: int  # least and most of the outputs
    high: int


@dataclass(frozen=True)
class Arena:
    """The runtime's working memory, in bytes: inputs of even layers at 0, of odd layers at ``odd_offset``."""

    odd_offset: int
    total: int


def padded(count: int, step: int) -> int:
    """``count`` rounded up to a multiple of ``step``."""
    return -(-count // step) * step


def packed_layer(layer: Layer, profile: Profile) -> PackedLayer:
    """One layer as the runtime wants it; ReleaseError when its multipliers do not suit the profile."""
    multiplier: NDArray[Any]
    if profile == "xnn":
        multiplier, shift = float_multipliers(layer), np.zeros(layer.outputs, np.int8)
    else:
        multiplier, shift = integer_multipliers(layer, profile)
    rows, columns = padded(layer.outputs, ROWS), padded(layer.inputs, COLUMNS)
    weights = np.zeros((rows, columns), np.int8)
    weights[: layer.outputs, : layer.inputs] = layer.weights
    blocks = weights.reshape(rows // ROWS, ROWS, columns // COLUMNS, COLUMNS).swapaxes(1, 2).ravel()
    below = (0, rows - layer.outputs)
    by_row = np.pad(fold_bias(layer), below), np.pad(multiplier, below), np.pad(shift, below)
    return PackedLayer(blocks, *by_row, *clamps(layer, profile))


def arena(network: Network) -> Arena:
    """The memory that the network works in; its outputs lie in it as well."""
    sizes = [padded(count, COLUMNS) for count in (network.inputs, *(layer.outputs for layer in network.layers))]
    return Arena(max(sizes[::2]), max(sizes[::2]) + max(sizes[1::2]))


def network_source(network: Network, profile: Profile, name: str) -> str:
    """C99: the constants, and ``const fedtiny_network <name>_network``; needs ``fedtiny_nn.h``."""
    parts, layers = [], []
    kind = "float" if profile == "xnn" else "int32_t"
    for i, layer in enumerate(network.layers):
        packed = packed_layer(layer, profile)
        parts.append(array("int8_t", f"{name}_weights_{i}", packed.weights, align=4))
        parts.append(array("int32_t", f"{name}_bias_{i}", packed.bias))
        parts.append(array(kind, f"{name}_multiplier_{i}", packed.multiplier))
        if profile != "xnn":
            parts.append(array("int8_t", f"{name}_shift_{i}", packed.shift))
        shift = "NULL" if profile == "xnn" else f"{name}_shift_{i}"
        layers.append(
            f"    {{{layer.inputs}, {layer.outputs}, {layer.out_zero}, {packed.low}, {packed.high},\n"
            f"     {name}_weights_{i}, {name}_bias_{i}, {name}_multiplier_{i}, {shift}}},\n"
        )
    plan, count = arena(network), len(layers)
    parts.append(f"static const fedtiny_layer {name}_layers[{count}] = {{\n{''.join(layers)}}};\n")
    members = f"{name}_layers, {count}, {plan.odd_offset}, {plan.total}, &FEDTINY_BUILD"
    parts.append(f"const fedtiny_network {name}_network = {{{members}}};\n")
    return "\n".join(parts)
