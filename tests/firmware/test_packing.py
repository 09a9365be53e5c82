import numpy as np
import pytest
from models import all_models

from firmware_export.network import read_network
from firmware_export.packing import COLUMNS, ROWS, arena, network_source, packed_layer
from firmware_export.rounding import fold_bias

NETWORKS = {name: read_network(data, name) for name, data in all_models().items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_where_the_kernels_look_and_the_rest_is_zero(name):
    for layer in NETWORKS[name].layers:
        packed = packed_layer(layer, "tflite")
        rows, columns = (-(-count // step) * step for count, step in ((layer.outputs, ROWS), (layer.inputs, COLUMNS)))
        row, column = np.mgrid[: layer.outputs, : layer.inputs]
        at = row // ROWS * ROWS * columns + column // COLUMNS * ROWS * COLUMNS + row % ROWS * COLUMNS + column % COLUMNS
        np.testing.assert_array_equal(packed.weights[at], layer.weights)
        packed.weights[at] = 0
        assert len(packed.weights) == rows * columns
        assert not packed.weights.any()
        for part, dtype in ((packed.bias, np.int32), (packed.multiplier, np.int32), (packed.shift, np.int8)):
            assert part.dtype == dtype
            assert part.shape == (rows,)
            assert not part[layer.outputs :].any()


def test_the_folded_bias_takes_the_zero_point_out_of_the_inputs(rng):
    layer = NETWORKS["odd"].layers[1]
    inputs = rng.integers(-128, 128, (50, layer.inputs))
    np.testing.assert_array_equal(
        inputs @ layer.weights.T.astype(int) + fold_bias(layer),
        (inputs - layer.in_zero) @ layer.weights.T.astype(int) + layer.bias,
    )


def test_under_xnn_multipliers_are_float32_without_shifts():
    packed = packed_layer(NETWORKS["default"].layers[0], "xnn")
    assert packed.multiplier.dtype == np.float32
    source = network_source(NETWORKS["default"], "xnn", "pump")
    assert "static const float pump_multiplier_0[64]" in source
    assert "shift" not in source


def test_the_arena_holds_what_lives_at_one_time():
    plan = arena(NETWORKS["default"])  # 128-64-16-64-128
    assert (plan.odd_offset, plan.total) == (128, 192)
    plan = arena(NETWORKS["odd"])  # 3-7-1-127-3
    assert (plan.odd_offset, plan.total) == (16, 16 + 128)
