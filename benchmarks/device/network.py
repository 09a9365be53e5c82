"""The model's step alone: int8 and float32 on one interpreter, numpy beside them, and what this core could do.

Each takes turns with the others of its process on one window and on ``BATCH``: put the input in, invoke, take the
output out, without quantising. ``as deployed`` is ``fedtiny.model.interpreter``: quantising and dequantising too,
delegates off, so that both interpreters and the firmware round alike. The physical floor is LiteRT's: the best rate of
int8 multiply-accumulates that XNNPACK, its default delegate, reaches here on one layer of 1024 x 1024 in batches, one
thread. ``python -m benchmarks.device.network FOLDER RUNTIME TURNS`` prints JSON.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.device.models import WIDE
from benchmarks.device.turns import Run, Windows, percentiles, take_turns
from fedtiny.model.artifact import Release
from fedtiny.model.interpreter import Interpreter, Runtime, load_runtime

BATCH = 64
WIDE_ROWS = (16, 64, 256)


def step(model: bytes, runtime: Runtime, rows: int, *, delegates: bool = False) -> Run:
    """A function that runs float32 inputs (rows, features), or their first bytes as int8, through ``model``."""
    package = load_runtime(runtime)
    resolver = package.resolver.AUTO if delegates else package.resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = package.interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=resolver)
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], (rows, given["shape"][-1]))
    interpreter.allocate_tensors()

    def run(inputs: Windows) -> None:
        interpreter.set_tensor(given["index"], inputs)
        interpreter.invoke()
        interpreter.get_tensor(wanted["index"])

    return run


def always(run: Run, codes: NDArray[np.int8]) -> Run:
    """``run`` on ``codes``, whatever it is given."""
    return lambda _: run(codes)


def in_numpy(path: Path) -> Run:
    """The float32 network of ``path`` in numpy."""
    with np.load(path) as archive:
        count = len(archive.files) // 2
        layers = [(archive[f"w{i}"], archive[f"b{i}"]) for i in range(count)]

    def run(inputs: Windows) -> None:
        for weights, bias in layers[:-1]:
            inputs = inputs @ weights
            inputs += bias
            np.maximum(inputs, 0, out=inputs)
        _ = inputs @ layers[-1][0] + layers[-1][1]

    return run


def network_times(folder: Path, runtime: Runtime, turns: int) -> dict[str, Any]:
    """Microseconds a window of each variant, by batch."""
    release = Release.open(folder / "release.tflite")
    rng = np.random.default_rng(0)
    cases = {}
    for name, rows, count in (("one_window", 1, turns), (f"batch_of_{BATCH}", BATCH, max(10, turns // 10))):
        inputs = rng.normal(size=(rows, release.features.size)).astype(np.float32)
        codes = rng.integers(-100, 100, inputs.shape).astype(np.int8)
        fewest = max(rows, load_runtime(runtime).fewest_rows)  # as deployed: one runtime's kernel for one row is slow
        padded = np.zeros((fewest, codes.shape[1]), np.int8)
        padded[:rows] = codes
        int8 = step(release.data, runtime, fewest)
        runs: dict[str, Run] = {
            "int8": always(int8, padded),
            "int8 as deployed": Interpreter(release.data, runtime, release.hidden_tensor).reconstruct,
        }
        if runtime == "litert":
            fast = step(release.data, runtime, rows, delegates=True)
            runs["int8, XNNPACK"] = always(fast, codes)
            runs["float32, XNNPACK"] = step((folder / "float.tflite").read_bytes(), runtime, rows, delegates=True)
        runs["float32"] = step((folder / "float.tflite").read_bytes(), runtime, rows)
        runs["numpy float32"] = in_numpy(folder / "weights.npz")
        cases[name] = {key: percentiles(found) for key, found in take_turns(runs, [inputs], count).items()}
    return cases


def core_gmac_per_s(model: bytes, seconds: float) -> float:
    """The best rate over ``WIDE_ROWS``, each tried for ``seconds``; 10^9 multiply-accumulates a second."""
    best = 0.0
    for rows in WIDE_ROWS:
        codes = np.random.default_rng(0).integers(-100, 100, (rows, WIDE)).astype(np.int8)
        run, until = step(model, "litert", rows, delegates=True), time.monotonic() + seconds
        while time.monotonic() < until:
            begin = time.perf_counter()
            run(codes)
            best = max(best, rows * WIDE * WIDE / (time.perf_counter() - begin) / 1e9)
    return best


def measure(folder: Path, runtime: Runtime, turns: int) -> dict[str, Any]:
    """Everything of one interpreter."""
    found: dict[str, Any] = network_times(folder, runtime, turns)
    if runtime == "litert":
        layers = Release.open(folder / "release.tflite").layers
        found["macs"] = sum(int(np.prod(layer.weights.shape)) for layer in layers)
        found["core_int8_gmac_per_s"] = core_gmac_per_s((folder / "wide.tflite").read_bytes(), 0.5)
    return found


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))  # type: ignore[arg-type]
