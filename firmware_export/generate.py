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
from firmware_export.csource import array, number
from firmware_export.features import Front, front_source
from firmware_export.learning import Plan, plan_source
from firmware_export.machine import Machine, machine_source
from firmware_export.network import Network
from firmware_export.packing import arena, network_source
from firmware_export.rounding import Profile
from firmware_export.scoring import input_codes, output_codes
from firmware_export.templating import fill_template

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
    frames, samples = "", "NULL, NULL"
    if front is not None:
        samples = "watch##_samples, watch##_scratch"
        frames = (
            f"    static fedtiny_sample watch##_samples[{front.window * front.channels}]; \\\n"
            f"    static fedtiny_wave watch##_scratch[{front.window}]; \\\n"
        )
    head = network.layers[-1]
    return fill_template(
        "generated/release.h",
        {
            "name": name,
            "NAME": name.upper(),
            "fedtiny": __version__,
            "release": release.id,
            "short": release.id[:12],
            "revision": str(revision),
            "features": str(release.features.size),
            "arena": str(arena(network).total),
            "inputs": str(head.inputs),
            "outputs": str(head.outputs),
            "rank": str(RANK),
            "largest": str(plan.largest),
            "frames": frames,
            "samples": samples,
        },
    )


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
    first, last = network.layers[0], network.layers[-1]
    return fill_template(
        "generated/foreign.h",
        {
            "name": name,
            "NAME": name.upper(),
            "fedtiny": __version__,
            "inputs": str(network.inputs),
            "outputs": str(network.outputs),
            "arena": str(arena(network).total),
            "in_scale": number("float", float(first.in_scale)),
            "in_zero": str(first.in_zero),
            "out_scale": number("float", float(last.out_scale)),
            "out_zero": str(last.out_zero),
        },
    )


def foreign_source(name: str, profile: Profile, network: Network) -> str:
    """``<name>_model.c`` of a foreign model."""
    return f'#include "{name}_model.h"\n\n' + network_source(network, profile, f"{name}_model")
