"""The C runtime's network, on this machine, under the sanitizers of two compilers."""

import subprocess

import numpy as np
import pytest
from building import RUNTIME, compile_program, write_config
from models import all_models

from firmware_export.check import golden_inputs, interpreter_outputs
from firmware_export.network import read_network
from firmware_export.packing import arena, network_source
from firmware_export.rounding import run

WINDOWS = 200
DRIVER = """
/* Windows from stdin through every case in turn: outputs to stdout. Arenas have no byte to spare. */
int main(void)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const fedtiny_network *const network = cases[i].network;
        const size_t inputs = network->layers[0].inputs;
        const size_t outputs = network->layers[network->count - 1u].outputs;
        for (int window = 0; window < WINDOWS; window++) {
            (void)memset(cases[i].arena, -1, network->arena_bytes);
            if (fread(cases[i].arena, 1, inputs, stdin) != inputs) {
                return 1;
            }
            const int8_t *const result = fedtiny_nn_run(network, cases[i].head, cases[i].arena);
            if (fwrite(result, 1, outputs, stdout) != outputs) {
                return 1;
            }
        }
    }
    return 0;
}
"""


def program_source(networks, heads, profile):
    """A program of the networks; ``heads``: name of a network to that whose last layer stands in for its own."""
    parts = ['#include <stdio.h>\n#include <string.h>\n\n#include "fedtiny_nn.h"\n', f"#define WINDOWS {WINDOWS}\n"]
    cases = []
    for name, network in networks.items():
        parts.append(network_source(network, profile, name))
        parts.append(f"static int8_t {name}_arena[{arena(network).total}] __attribute__((aligned(4)));\n")
    for name, network in networks.items():
        head = f"&{heads[name]}_layers[{len(network.layers) - 1}]" if name in heads else "NULL"
        cases.append(f"    {{&{name}_network, {head}, {name}_arena}},\n")
    kind = "struct {\n    const fedtiny_network *network;\n    const fedtiny_layer *head;\n    int8_t *arena;\n}"
    return "\n".join([*parts, f"static const {kind} cases[] = {{\n{''.join(cases)}}};\n", DRIVER])


@pytest.fixture(scope="module")
def models(release):
    """Every model; the release under another head; and the release that is given that head at run time."""
    head = release.head
    gains = np.random.default_rng(4).uniform(0.5, 2, (len(head.weights), 1)).astype(np.float32)
    other = release.patched(type(head)(head.weights * gains, -3, 4))
    return all_models() | {"patched": other, "release": release.data}


@pytest.mark.parametrize("profile", ["tflite", "tflm", "xnn"])
def test_the_c_code_computes_what_the_twin_and_the_interpreter_compute(profile, models, tmp_path):
    networks = {name: read_network(data, name) for name, data in models.items()}
    inputs = {name: golden_inputs(network, WINDOWS, seed=5) for name, network in networks.items()}
    source = tmp_path / "program.c"
    source.write_text(program_source(networks, {"release": "patched"}, profile))
    sources = [source, RUNTIME / "fedtiny_nn.c"]
    config = write_config(tmp_path, profile)
    given = b"".join(windows.tobytes() for windows in inputs.values())
    said = []
    for compiler in ("gcc", "clang"):
        program = compile_program(tmp_path, sources, config, compiler=compiler)
        done = subprocess.run([program], input=given, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        said.append(done.stdout)
    assert said[0] == said[1]
    outputs, at = np.frombuffer(said[0], np.int8), 0
    for name, network in networks.items():
        ours = outputs[at : at + WINDOWS * network.outputs].reshape(WINDOWS, -1)
        at += ours.size
        if name == "release":  # under the head that it was given
            network, data = networks["patched"], models["patched"]
        else:
            data = models[name]
        np.testing.assert_array_equal(ours, run(network, profile, inputs[name]), name)
        np.testing.assert_array_equal(ours, interpreter_outputs(data, profile, inputs[name])[1], name)
    assert at == outputs.size
