import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import Dense, all_models, inexact_product, make_tflite

from fedtiny.errors import ConfigError, ReleaseError
from fedtiny.model import interpreter
from firmware_export import rounding
from firmware_export.check import check_profile, golden_inputs, interpreter_outputs
from firmware_export.network import read_network
from firmware_export.rounding import quantise_multipliers, run

MODELS = all_models()
WINDOWS = 1000


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("profile", ["tflite", "tflm", "xnn"])
def test_the_twin_computes_what_the_profiles_interpreter_computes(name, profile):
    network = read_network(MODELS[name], name)
    check_profile(MODELS[name], network, profile, golden_inputs(network, WINDOWS, seed=1))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime ends at Python 3.11")
def test_tflite_runtime_computes_by_the_profile_tflite(monkeypatch):
    monkeypatch.setattr("firmware_export.check.load_runtime", lambda _: interpreter.load_runtime("tflite"))
    for name, data in MODELS.items():
        network = read_network(data, name)
        said = check_profile(data, network, "tflite", golden_inputs(network, WINDOWS, seed=2))
        assert said.startswith("tflite-runtime ")


def test_a_release_and_its_patched_head(release, rng):
    head = release.head
    other = type(head)(head.weights * rng.uniform(0.5, 2, (len(head.weights), 1)).astype(np.float32), -3, 4)
    for data in (release.data, release.patched(other)):
        network = read_network(data, "release")
        for profile in ("tflite", "tflm", "xnn"):
            check_profile(data, network, profile, golden_inputs(network, WINDOWS, seed=3))


@pytest.mark.parametrize("profile", ["tflite", "tflm", "xnn"])
def test_the_models_tell_the_profiles_apart(profile):
    others = {"tflite", "tflm", "xnn"} - {profile}
    caught = dict.fromkeys(others, 0)
    for name, data in MODELS.items():
        network = read_network(data, name)
        inputs = golden_inputs(network, WINDOWS, seed=1)
        outputs = run(network, profile, inputs)
        for other in others:
            caught[other] += not np.array_equal(outputs, run(network, other, inputs))
    assert min(caught.values()) >= 4


def double_product(layer, profile):
    per_row = np.float64(layer.in_scale) * layer.weight_scales.astype(np.float64) / np.float64(layer.out_scale)
    return np.broadcast_to(per_row, layer.outputs)


def float_product(layer, profile):
    per_row = (layer.in_scale * layer.weight_scales).astype(np.float64) / np.float64(layer.out_scale)
    return np.broadcast_to(per_row, layer.outputs)


@pytest.mark.parametrize(("profile", "wrong"), [("tflite", double_product), ("tflm", float_product)])
def test_the_wrong_product_of_scales_is_caught(profile, wrong, monkeypatch):
    monkeypatch.setattr(rounding, "real_multipliers", wrong)
    for name in ("product", "product_no_bias"):
        network = read_network(MODELS[name], name)
        with pytest.raises(ReleaseError, match=rf"under rounding '{profile}'; \d+ of 8000 outputs differ"):
            check_profile(MODELS[name], network, profile, golden_inputs(network, WINDOWS, seed=1))


def test_the_models_hit_ties():
    layer = read_network(MODELS["ties"], "ties").layers[0]
    inputs = golden_inputs(read_network(MODELS["ties"], "ties"), WINDOWS, seed=1)
    sums = inputs.astype(np.int64) @ layer.weights.T + layer.bias
    exact = sums * rounding.real_multipliers(layer, "tflite")
    assert (np.abs(exact % 1 - 0.5) < 1e-12).mean() > 0.05


def test_a_difference_is_reported_by_its_place():
    data = MODELS["odd"]
    network = read_network(MODELS["odd"], "odd")
    other = read_network(make_tflite([Dense(np.ones((3, 3), np.int8), np.ones(1, np.float32), 50.0)], 1.0), "other")
    with pytest.raises(
        ReleaseError, match=r"litert .* computes -?\d+ for output \d of window \d+, the export -?\d+ un"
    ):
        check_profile(data, other, "tflite", golden_inputs(network, 10, seed=1))


def test_an_interpreter_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(ConfigError, match="pip install --pre tflite-micro"):
        interpreter_outputs(MODELS["one"], "tflm", np.zeros((1, 1), np.int8))


def test_an_interpreters_refusal_is_one_line():
    def other_bias_scale(model):
        model.subgraphs[0].tensors[2].quantization.scale = np.full(1, 9, np.float32)

    layer = Dense(np.ones((3, 3), np.int8), np.ones(1, np.float32), 1.0, bias=np.zeros(3, np.int32))
    data = make_tflite([layer], 1.0, edit=other_bias_scale)
    with pytest.raises(ReleaseError, match=r"^litert .* refuses the model: .*$"):
        interpreter_outputs(data, "tflite", np.zeros((4, 3), np.int8))


@given(st.floats(2.0**-70, 2.0**15))
def test_multipliers_are_exact_to_half_a_step(real):
    q, shift = (int(part.item()) for part in quantise_multipliers(np.array([real])))
    if q == 0:
        assert real < 2.0**-32
        assert shift == 0
    else:
        assert 2**30 <= q < 2**31
        assert -31 <= shift <= 16
        assert abs(real * 2.0**31 - q * 2.0**shift) <= 2.0 ** (shift - 1)


def test_multipliers_at_the_corners():
    q, shift = quantise_multipliers(np.array([1 - 2.0**-34, 1.0, 0.5, 2.0**-32, 2.0**-33, 2.0**-32 * (1 - 2.0**-40)]))
    np.testing.assert_array_equal(q, [2**30, 2**30, 2**30, 2**30, 0, 2**30])
    np.testing.assert_array_equal(shift, [1, 1, 0, -31, 0, -31])


def test_a_sum_that_overflows_when_shifted_is_refused():
    wide = Dense(np.full((1, 640), 127, np.int8), np.ones(1, np.float32), 2.0**-9)
    network = read_network(make_tflite([wide], 1.0), "wide")
    with pytest.raises(
        ReleaseError, match=r"output 0 of a layer of 1: sums of up to \d+, shifted to the left by 10 bits"
    ):
        run(network, "tflite", golden_inputs(network, 4, seed=1))


def test_the_scales_of_the_product_model():
    in_scale, scale, out_scale = inexact_product(11, 1)
    assert np.float32(in_scale) * scale / np.float32(out_scale) == 0.5
    assert in_scale * float(scale) / out_scale != 0.5
