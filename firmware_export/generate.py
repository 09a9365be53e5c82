"""The generated C of an export: ``fedtiny_config.h``, ``<name>_model.h`` and ``<name>_model.c``.

The runtime beside them is the same in every export. All that is generated for a model begins with ``<name>_model``.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fedtiny import __version__
from fedtiny.model.artifact import Release
from fedtiny.model.scoring import RANK
from fedtiny.model.watch import Rules
from firmware_export.csource import array
from firmware_export.features import Front, front_source
from firmware_export.learning import Plan, plan_source
from firmware_export.machine import Machine, machine_source
from firmware_export.network import Network
from firmware_export.packing import arena, network_source
from firmware_export.rounding import Profile
from firmware_export.scoring import input_codes, output_codes

RUNTIME = Path(__file__).with_name("runtime")
NETWORK_ALONE = ("types", "nn", "dot", "crc", "golden")  # of the runtime, what a foreign model needs


def runtime_sources(*, foreign: bool) -> dict[str, str]:
    """The runtime's files by name."""
    found: Iterable[Path] = sorted(path for path in RUNTIME.iterdir() if path.suffix in (".c", ".h"))
    if foreign:
        found = [path for path in found if path.stem.removeprefix("fedtiny_") in NETWORK_ALONE]
    return {path.name: path.read_text() for path in found}


def config_header(profile: Profile, *, fixed_point: bool, sample_int16: bool) -> str:
    """``fedtiny_config.h``: what the runtime is compiled for; all models in one firmware must share it."""
    return (
        "/* Chosen at export. All models in one firmware must share it. */\n"
        f"#define FEDTINY_ROUNDING FEDTINY_ROUNDING_{profile.upper()}\n"
        f"#define FEDTINY_FIXED_POINT {int(fixed_point)}\n"
        f"#define FEDTINY_SAMPLE_INT16 {int(sample_int16)}\n"
    )


def model_header(name: str, release: Release, revision: int, network: Network, front: Front | None, plan: Plan) -> str:
    """``<name>_model.h`` of a release."""
    upper, size = f"{name.upper()}_MODEL", release.features.size
    head = network.layers[-1]
    frames = "" if front is None else f"    static fedtiny_sample watch##_samples[{front.window * front.channels}];\\\n"
    frames += "" if front is None else f"    static fedtiny_wave watch##_scratch[{front.window}];\\\n"
    body = (
        f'#define {upper}_RELEASE "{release.id}"\n'
        f"#define {upper}_REVISION {revision}u\n"
        f"#define {upper}_FEATURES {size}u\n"
        f"#define {upper}_ARENA_BYTES {arena(network).total}u\n\n"
        "/* uint32_t words of a slot for a head image; with what an agent has learned of a machine in it. */\n"
        f"#define {upper}_HEAD_WORDS FEDTINY_HEAD_WORDS({head.inputs}u, {head.outputs}u, 0u)\n"
        f"#define {upper}_HEAD_MACHINE_WORDS \\\n"
        f"    FEDTINY_HEAD_WORDS({head.inputs}u, {head.outputs}u, FEDTINY_MACHINE_BYTES({size}u, {RANK}u))\n\n"
        f"extern const fedtiny_release {name}_model;\n\n"
        "/* All memory of one machine, static: FEDTINY_MODEL_WATCH(pump); then &pump is its fedtiny_watch. */\n".replace(
            "FEDTINY_MODEL", upper
        )
        + f"#define {upper}_WATCH(watch) \\\n{frames}"
        f"    static fedtiny_value watch##_values[{size}]; \\\n"
        f"    static int32_t watch##_arena[{arena(network).total // 4}]; \\\n"
        f"    static fedtiny_value watch##_centre[{size}]; \\\n"
        f"    static fedtiny_value watch##_learned[FEDTINY_LEARN_VALUES({size}u)]; \\\n"
        f"    static float watch##_work[FEDTINY_LEARN_WORK({size}u, {plan.largest}u)]; \\\n"
        "    static fedtiny_state watch##_state; \\\n"
        f"    static const fedtiny_watch watch = {{&{name}_model, "
        + ("NULL, NULL" if front is None else "watch##_samples, watch##_scratch")
        + ", watch##_values, (int8_t *)watch##_arena, \\\n"
        "                                       watch##_centre, watch##_learned, watch##_work, &watch##_state}\n\n"
        "/* Whether this build computes what it should; before fedtiny_start. */\n"
        f"fedtiny_status {name}_model_selftest(const fedtiny_watch *watch);\n"
    )
    return _header(name, ["fedtiny.h", "fedtiny_selftest.h"], body.replace(";\\\n", "; \\\n"))


def model_source(
    name: str,
    profile: Profile,
    release: Release,
    revision: int,
    network: Network,
    front: Front | None,
    plan: Plan,
    machine: Machine | None,
    rules: Rules,
    *,
    fixed_point: bool,
) -> str:
    """``<name>_model.c`` of a release."""
    own, first, last = f"{name}_model", network.layers[0], network.layers[-1]
    manifest = release.manifest
    parts = [f'#include "{name}_model.h"\n', network_source(network, profile, own)]
    if front is not None:
        parts.append(front_source(front, own))
    parts.append(plan_source(plan, own, fixed_point=fixed_point))
    if machine is not None:
        parts.append(machine_source(machine, own, fixed_point=fixed_point))
    parts.append(array("uint8_t", f"{own}_release", np.frombuffer(bytes.fromhex(release.id), np.uint8)))
    members = [
        f".base = {{&{own}_layers[{len(network.layers) - 1}], {own}_release, {revision}u}}",
        f".network = &{own}_network",
        f".front = {'NULL' if front is None else f'&{own}_front'}",
        f".features = {release.features.size}u",
        f".channels = {len(manifest.channels)}u",
        f".window = {manifest.window}u",
        f".hop = {manifest.hop}u",
        f".input = {input_codes(float(first.in_scale), first.in_zero, fixed_point=fixed_point)}",
        f".output = {output_codes(float(last.out_scale), last.out_zero, fixed_point=fixed_point)}",
        f".machine = {'NULL' if machine is None else f'&{own}_machine'}",
        f".plan = &{own}_plan",
        f".votes = {min(rules.votes, rules.window)}u",
        f".vote_window = {rules.window}u",
    ]
    body = "".join(f"    {member},\n" for member in members)
    parts.append(f"const fedtiny_release {own} = {{\n{body}}};\n")
    return "\n".join(parts)


def foreign_header(name: str, network: Network) -> str:
    """``<name>_model.h`` of a foreign model: its network alone."""
    upper, first, last = f"{name.upper()}_MODEL", network.layers[0], network.layers[-1]
    body = (
        f"#define {upper}_INPUTS {network.inputs}u\n"
        f"#define {upper}_OUTPUTS {network.outputs}u\n"
        f"#define {upper}_ARENA_BYTES {arena(network).total}u\n\n"
        "/* real = (code - zero point) * scale */\n"
        f"#define {upper}_INPUT_SCALE {first.in_scale!s}f\n"
        f"#define {upper}_INPUT_ZERO_POINT ({first.in_zero})\n"
        f"#define {upper}_OUTPUT_SCALE {last.out_scale!s}f\n"
        f"#define {upper}_OUTPUT_ZERO_POINT ({last.out_zero})\n\n"
        f"extern const fedtiny_network {name}_model_network;\n\n"
        f"/* Whether this build computes what it should. arena: {upper}_ARENA_BYTES, aligned to 4. */\n"
        f"fedtiny_status {name}_model_selftest(int8_t *arena);\n"
    )
    return _header(name, ["fedtiny_nn.h", "fedtiny_golden.h"], body)


def foreign_source(name: str, profile: Profile, network: Network) -> str:
    """``<name>_model.c`` of a foreign model."""
    return f'#include "{name}_model.h"\n\n' + network_source(network, profile, f"{name}_model")


def _header(name: str, includes: Iterable[str], body: str) -> str:
    guard = f"{name.upper()}_MODEL_H"
    lines = "".join(f'#include "{include}"\n' for include in includes)
    return (
        f"/* Written by fedtiny {__version__}. */\n#ifndef {guard}\n#define {guard}\n\n{lines}\n"
        f'#ifdef __cplusplus\nextern "C" {{\n#endif\n\n{body}\n#ifdef __cplusplus\n}}\n#endif\n\n#endif\n'
    )
