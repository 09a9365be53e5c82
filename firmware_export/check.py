"""Does this machine's interpreter compute what the export says? The only import of interpreters here.

The numpy twin in ``rounding`` states a profile's rules; what they are worth is that the interpreter of that profile
agrees to the bit, on this model, on inputs that look for ties and saturation.
"""

from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError, ReleaseError
from fedtiny.model.interpreter import BATCH, load_runtime
from firmware_export.network import Network
from firmware_export.rounding import Profile, run

Int8 = NDArray[np.int8]


def check_profile(tflite: bytes, network: Network, profile: Profile, inputs: Int8) -> str:
    """Name and version of the interpreter that computes by ``profile``, once it has given what ``run`` gives.

    Args:
        tflite: the model that ``network`` was read from.
        network: that network.
        profile: the rounding that the export declares.
        inputs: int8 (windows, inputs).

    Raises:
        ReleaseError: they differ, or the interpreter refuses the model.
        ConfigError: the interpreter is not installed.
    """
    name, outputs = interpreter_outputs(tflite, profile, inputs)
    expected = run(network, profile, inputs)
    differing = np.argwhere(outputs != expected)
    if len(differing):
        window, output = differing[0]
        raise ReleaseError(
            f"{name} computes {outputs[window, output]} for output {output} of window {window}, the export "
            f"{expected[window, output]} under rounding {profile!r}; {len(differing)} of {outputs.size} outputs differ"
        )
    return name


def interpreter_outputs(tflite: bytes, profile: Profile, inputs: Int8) -> tuple[str, Int8]:
    """(name and version, outputs (windows, outputs)) of the interpreter that computes by ``profile``."""
    name, load = _tflm() if profile == "tflm" else _tflite(profile)
    try:
        return name, load(tflite)(inputs)
    except (ValueError, RuntimeError, LookupError, MemoryError) as error:
        said = str(error).splitlines()[:1] or [type(error).__name__]
        raise ReleaseError(f"{name} refuses the model: {said[0]}") from None


def golden_inputs(network: Network, count: int, seed: int) -> Int8:
    """int8 (count, inputs), in turn: noise, corners, what drives an output to its end, and a few steps beside zero.

    The last give small sums, of which many are ties where the multiplier is a power of two.
    """
    rng, first, size = np.random.default_rng(seed), network.layers[0], network.inputs
    inputs = rng.integers(-128, 128, (count, size)).astype(np.int8)
    inputs[1::4] = rng.choice(np.array([-128, 127], np.int8), (len(inputs[1::4]), size))
    rows = rng.integers(0, first.outputs, len(inputs[2::4]))
    inputs[2::4] = np.where(first.weights[rows] > 0, 127, -128)
    steps = rng.integers(-3, 4, (len(inputs[3::4]), size)) * (rng.random((len(inputs[3::4]), size)) < 4 / size)
    inputs[3::4] = (first.in_zero + steps).clip(-128, 127)
    return inputs


Load = Callable[[bytes], Callable[[Int8], Int8]]


def _tflite(profile: Profile) -> tuple[str, Load]:
    """LiteRT or tflite-runtime, delegates off as fedtiny runs them; under ``xnn`` LiteRT as it comes."""
    package = load_runtime("litert" if profile == "xnn" else "auto")
    options = {}
    if profile != "xnn":
        options["experimental_op_resolver_type"] = package.resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def load(tflite: bytes) -> Callable[[Int8], Int8]:
        interpreter = package.interpreter(model_content=bytes(tflite), num_threads=1, **options)
        source, sink = (d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details()))

        def outputs(inputs: Int8) -> Int8:
            rows = max(BATCH, package.fewest_rows)
            interpreter.resize_tensor_input(source, (rows, inputs.shape[1]))
            interpreter.allocate_tensors()
            return _in_batches(inputs, rows, lambda batch: _invoke(interpreter, source, sink, batch))

        return outputs

    return package.name, load


def _invoke(interpreter: Any, source: int, sink: int, batch: Int8) -> Int8:
    interpreter.set_tensor(source, batch)
    interpreter.invoke()
    result: Int8 = interpreter.get_tensor(sink)
    return result


def _tflm() -> tuple[str, Load]:
    try:
        from tflite_micro import runtime
    except ImportError:
        raise ConfigError(
            "rounding 'tflm' is checked by TensorFlow Lite for Microcontrollers: on x86-64 Linux, pip install --pre "
            "tflite-micro; there is none for other machines"
        ) from None

    def load(tflite: bytes) -> Callable[[Int8], Int8]:
        interpreter = runtime.Interpreter.from_bytes(bytes(tflite))

        def one(batch: Int8) -> Int8:
            interpreter.set_input(batch, 0)
            interpreter.invoke()
            result: Int8 = interpreter.get_output(0)
            return result

        rows = int(interpreter.get_input_details(0)["shape"][0])
        return lambda inputs: _in_batches(inputs, rows, one)

    return f"tflite-micro {metadata.version('tflite-micro')}", load


def _in_batches(inputs: Int8, rows: int, one: Callable[[Int8], Int8]) -> Int8:
    """``one`` batch of exactly ``rows`` windows at a time; the last is filled up with zeros."""
    short = -len(inputs) % rows
    filled = np.pad(inputs, ((0, short), (0, 0)))
    return np.concatenate([one(filled[at : at + rows]) for at in range(0, len(filled), rows)])[: len(inputs)]
