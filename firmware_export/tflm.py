"""The target tflm: a model's file as C arrays, and the memory that TensorFlow Lite Micro needs for it.

The wheel ``tflite-micro`` measures it, each try in a process of its own: an arena that is too small is refused with
much text on stderr, or crashes. The wheel is for Linux alone, so is the fork.
"""

import subprocess
import sys
from functools import lru_cache

import numpy as np

from firmware_export.check import golden_inputs
from firmware_export.csource import array, number
from firmware_export.network import read_network
from firmware_export.rounding import run

STEP = 16  # bytes: TFLM aligns its arena so
VECTORS = 4  # of the self-test
MEASURE = """
import os, sys
from tflite_micro import runtime

def fits(size):
    if os.fork() == 0:
        try:
            runtime.Interpreter.from_bytes(data, arena_size=size)
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    return os.wait()[1] == 0

data = sys.stdin.buffer.read()
low, high = 0, int(sys.argv[1]) // 16
while high - low > 1:
    middle = (low + high) // 2
    low, high = (low, middle) if fits(16 * middle) else (middle, high)
print(16 * high)
"""


def arena_bound(tflite: bytes) -> int:
    """Bytes of arena that surely do for a chain of dense layers, without measuring.

    More than twice what was measured on 18 models of 1 to 5 layers and up to 640 outputs, per tensor and per channel.
    """
    layers = read_network(tflite, "model").layers
    outputs = [layer.weights.shape[0] for layer in layers]
    widest = max(*outputs, layers[0].weights.shape[1])
    return STEP * -(-(2048 + sum(1024 + 16 * count for count in outputs) + 40 * widest) // STEP)


@lru_cache(maxsize=1)
def arena_bytes(tflite: bytes) -> tuple[int, bool]:
    """(bytes of arena, whether they were measured): the fewest that do, in steps of 16, on a 64-bit host."""
    bound = arena_bound(tflite)
    command = [sys.executable, "-c", MEASURE, str(bound)]
    done = subprocess.run(command, input=tflite, capture_output=True)
    return (int(done.stdout), True) if done.returncode == 0 else (bound, False)


def data_sources(name: str, tflite: bytes) -> dict[str, str]:
    """``<name>_tflite.h`` and ``.c``: the file's bytes, aligned to 16 as TFLM reads them in place; golden values."""
    guard = f"{name.upper()}_TFLITE_H"
    size = len(tflite)
    header = (
        f"/* The model's file, as TensorFlow Lite Micro reads it: in place, in flash. */\n#ifndef {guard}\n"
        f'#define {guard}\n\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern "C" {{\n#endif\n\n'
        f"#define {name.upper()}_TFLITE_BYTES {size}u\n\nextern const uint8_t {name}_tflite[{size}];\n\n"
        "#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
    )
    data = array("uint8_t", f"{name}_tflite", np.frombuffer(tflite, np.uint8), align=STEP)
    source = f'#include "{name}_tflite.h"\n\n' + data.removeprefix("static ")
    return {
        f"{name}_tflite.h": header,
        f"{name}_tflite.c": source,
        f"{name}_tflm_golden.h": golden_header(name, tflite),
    }


def golden_header(name: str, tflite: bytes) -> str:
    """``<name>_tflm_golden.h``: int8 inputs (VECTORS, inputs) of the self-test and their outputs (VECTORS, outputs)."""
    network = read_network(tflite, "model")
    inputs = golden_inputs(network, VECTORS, seed=1)
    guard = f"{name.upper()}_TFLM_GOLDEN_H"
    return (
        "/* Inputs of the self-test, and what TensorFlow Lite Micro must make of them. */\n"
        f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n"
        f"#define {name.upper()}_TFLM_VECTORS {VECTORS}u\n\n"
        f"{array('int8_t', f'{name}_tflm_golden_inputs', inputs)}\n"
        f"{array('int8_t', f'{name}_tflm_golden_outputs', run(network, 'tflm', inputs))}\n#endif\n"
    )


def fields(tflite: bytes) -> dict[str, str]:
    """What the templates of this target say besides."""
    arena, measured = arena_bytes(tflite)
    network = read_network(tflite, "model")
    first, last = network.layers[0], network.layers[-1]
    how = (
        "measured with the wheel tflite-micro on a 64-bit host: an upper bound on 32 bits"
        if measured
        else "a bound, not measured: the wheel tflite-micro was not installed at the export"
    )
    return {
        "arena": str(arena),
        "arena_how": how,
        "vectors": str(VECTORS),
        "inputs": str(network.inputs),
        "outputs": str(network.outputs),
        "in_scale": number("float", float(first.in_scale)),
        "in_zero": str(first.in_zero),
        "out_scale": number("float", float(last.out_scale)),
        "out_zero": str(last.out_zero),
    }
