from contextlib import suppress

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from models import RELU6, Dense, all_models, chain, make_tflite

from fedtiny.errors import ReleaseError
from firmware_export.network import read_network
from firmware_export.operators import ACTIVATIONS, OPERATORS, TYPES

T = schema.TensorType


def layer(outputs=5, inputs=4, **more):
    weights = np.arange(outputs * inputs).reshape(outputs, inputs).astype(np.int8) - 9
    given = {"scales": np.full(1, 0.01, np.float32), "out_scale": 0.1, "bias": np.arange(outputs, dtype=np.int32)}
    return Dense(weights, **(given | more))


def refused(edit, *layers):
    with pytest.raises(ReleaseError) as caught:
        read_network(make_tflite(list(layers) or [layer(), layer(3, 5)], 0.05, 4, edit), "pump.tflite")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("pump.tflite: ")


def test_what_was_written_is_read():
    scales = np.array([0.01, 0.02, 0.03], np.float32)
    second = layer(3, 5, scales=scales, bias=None, out_zero=-7, activation=RELU6)
    network = read_network(make_tflite([layer(out_zero=9), second], 0.05, 4), "pump.tflite")
    first, last = network.layers
    assert (network.inputs, network.outputs) == (4, 3)
    assert (first.in_zero, first.out_zero, last.in_zero, last.out_zero) == (4, 9, 9, -7)
    assert (first.in_scale, first.out_scale, last.in_scale) == (np.float32(0.05), np.float32(0.1), np.float32(0.1))
    assert (first.low, first.high, last.low, last.high) == (-128, 127, -7, 53)
    np.testing.assert_array_equal(first.weights, layer().weights)
    np.testing.assert_array_equal(first.bias, layer().bias)
    np.testing.assert_array_equal(last.bias, np.zeros(3))
    np.testing.assert_array_equal(last.weight_scales, scales)


def test_a_release_is_read(release):
    network = read_network(release.data, "release")
    assert [layer.outputs for layer in network.layers] == list(release.manifest.layers)
    assert network.inputs == len(release.manifest.mean)


def test_the_names_are_those_of_the_schema():
    for kind, names in (
        (schema.BuiltinOperator, OPERATORS),
        (schema.ActivationFunctionType, ACTIVATIONS),
        (schema.TensorType, TYPES),
    ):
        codes = {code: name for name, code in vars(kind).items() if isinstance(code, int)}
        for code, name in enumerate(names.split()):
            assert codes[code] == name


def tensors(change):
    """An edit of the model's tensors: 0 input, 1 to 3 weights, bias and output, 4 to 6 those of the second layer."""
    return lambda model: change(model.subgraphs[0].tensors)


def operator_code(code):
    def edit(model):
        kind = schema.OperatorCodeT()
        kind.builtinCode, kind.deprecatedBuiltinCode = code, min(code, 127)
        model.operatorCodes.append(kind)
        model.subgraphs[0].operators[1].opcodeIndex = 1

    return edit


def test_other_operators_are_named_with_their_place():
    kinds = schema.BuiltinOperator
    assert refused(operator_code(kinds.CONV_2D)) == "operator 1 is CONV_2D, expected FULLY_CONNECTED"
    assert "operator 1 is STABLEHLO_CASE" in refused(operator_code(kinds.STABLEHLO_CASE))
    assert "operator 1 is code 999" in refused(operator_code(999))
    said = refused(operator_code(kinds.DEQUANTIZE))
    assert said.startswith("operator 1 is DEQUANTIZE: not all")
    assert "inference_input_type" in said


def scale(at, value):
    return tensors(lambda t: setattr(t[at].quantization, "scale", np.array(value, np.float32)))


def graph(**fields):
    return lambda model: [setattr(model.subgraphs[0], name, value) for name, value in fields.items()]


def op(number, **fields):
    return lambda model: [setattr(model.subgraphs[0].operators[number], name, value) for name, value in fields.items()]


def option(**fields):
    return lambda model: [
        setattr(model.subgraphs[0].operators[0].builtinOptions, name, value) for name, value in fields.items()
    ]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (tensors(lambda t: setattr(t[0], "type", T.FLOAT32)), "operator 0 has an input or output of FLOAT32"),
        (tensors(lambda t: setattr(t[3], "type", T.INT16)), "operator 0 has an input or output of INT16"),
        (tensors(lambda t: setattr(t[4], "type", T.INT4)), "operator 1 has weights of INT4, expected INT8"),
        (tensors(lambda t: setattr(t[2], "type", T.INT64)), "operator 0 has a bias of INT64, expected INT32"),
        (tensors(lambda t: setattr(t[1], "shape", [4, 4])), "operator 0 has weights of 20 bytes in the file, expected"),
        (tensors(lambda t: setattr(t[1], "shape", [70000, 4])), r"shape \(70000, 4\), expected .* 1 to 65535"),
        (tensors(lambda t: setattr(t[1], "buffer", 0)), "operator 0 has weights of 0 bytes"),
        (tensors(lambda t: setattr(t[1], "buffer", 99)), "operator 0 has weights in buffer 99 of 5"),
        (tensors(lambda t: setattr(t[1], "sparsity", schema.SparsityParametersT())), "constant and dense"),
        (tensors(lambda t: setattr(t[0], "shape", [1, 2, 4])), r"of shape \(1, 2, 4\), expected \(windows, 4\)"),
        (tensors(lambda t: setattr(t[3], "quantization", None)), "0 scales and 0 zero points: not full int8"),
        (tensors(lambda t: setattr(t[4].quantization, "zeroPoint", [1])), "operator 1 has weights with a zero point"),
        (tensors(lambda t: setattr(t[3].quantization, "zeroPoint", [300])), "zero point 300"),
        (scale(0, [float("nan")]), "operator 0 has an input or output with a scale that is not positive"),
        (scale(4, [0.0]), "operator 1 has weights with a scale that is not positive"),
        (scale(6, [float("inf")]), "operator 1 has an input or output with a scale"),
        (scale(6, [1e-12]), "operator 1 multiplies its sums by"),
        (
            tensors(lambda t: setattr(t[4].quantization, "scale", np.ones(2, np.float32))),
            "2 scales and 1 zero points|2 w",
        ),
        (option(fusedActivationFunction=4), "operator 0 ends in TANH, expected NONE, RELU, RELU6, RELU_N1_TO_1"),
        (option(fusedActivationFunction=77), "operator 0 ends in code 77"),
        (option(weightsFormat=1), "operator 0 has shuffled weights"),
        (op(1, inputs=[0, 4, 5]), "operator 1 takes tensor 0, expected tensor 3: the layers must form a chain"),
        (op(1, inputs=[3, 99, 5]), "operator 1 names tensor 99 of 7 as its weights"),
        (op(1, inputs=[3, 4]), None),
        (op(1, outputs=[6, 3]), "operator 1 has 3 inputs and 2 outputs, expected 2 or 3 and 1"),
        (op(0, opcodeIndex=5), "operator 0 is of kind 5 of 1"),
        (graph(outputs=[3]), "the last operator gives tensor 6, but the model's output is tensor 3"),
        (graph(outputs=[3, 6]), "1 inputs and 2 outputs, expected one of each"),
        (graph(operators=[]), "the model has no operators"),
        (lambda model: model.subgraphs.append(model.subgraphs[0]), "2 subgraphs, expected 1"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_its_place(edit, said):
    if said is None:
        read_network(make_tflite([layer(), layer(3, 5)], 0.05, 4, edit), "without a bias")
    else:
        with pytest.raises(ReleaseError, match=said):
            raise ReleaseError(refused(edit))


def test_sums_that_could_overflow_are_refused():
    fits = layer(1, 2, bias=np.array([2**30 - 1 - 128 * 17 - 4 * 17], np.int32))  # weights -9 and -8, zero point 4
    read_network(make_tflite([fits], 0.05, 4), "fits")
    over = layer(1, 2, bias=fits.bias + 1)
    assert refused(None, over) == "operator 0 can sum up to 1073741824 in output 0, expected at most 1073741823"
    assert "can sum up to" in refused(None, layer(1, 2, bias=np.array([-(2**31)], np.int32)))


def test_no_truncated_or_damaged_file_gets_further_than_a_refusal():
    whole = chain([7, 5, 7], 1)
    for size in range(len(whole)):
        with pytest.raises(ReleaseError):
            read_network(whole[:size], "cut")
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(whole)
        for at in rng.integers(8, len(damaged), 3):
            damaged[at] = rng.integers(256)
        with suppress(ReleaseError):
            read_network(bytes(damaged), "damaged")


def test_every_model_of_the_tests_is_read():
    assert all(read_network(data, name).layers for name, data in all_models().items())
