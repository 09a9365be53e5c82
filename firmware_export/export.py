"""A release as a folder of C99, in one of several layouts.

What is exported is checked against the installed interpreter of the declared rounding profile first: where they differ
by a single bit, nothing is written.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedtiny import __version__
from fedtiny.errors import ConfigError
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.model.watch import Rules, Watch
from firmware_export import tflm
from firmware_export.check import check_profile, golden_inputs
from firmware_export.features import front_of
from firmware_export.generate import (
    config_header,
    foreign_header,
    foreign_source,
    model_header,
    model_source,
    runtime_sources,
)
from firmware_export.golden import golden_source
from firmware_export.learning import plan_of
from firmware_export.machine import machine_of
from firmware_export.network import read_network
from firmware_export.rounding import Profile
from firmware_export.sizes import Sizes, network_sizes, release_sizes
from firmware_export.targets import Facts, lay_out

CHECKED = 512  # input vectors that the interpreter must agree on


@dataclass(frozen=True)
class Options:
    """How to export. ``lsb``: samples are int16, a count is so much of the unit of the training data; None: float.

    profile: None for that of what runs the model: ``tflm`` for the target tflm, ``tflite`` for our own C. Raises
    ConfigError for what does not go together.
    """

    rules: Rules
    target: str = "c"
    name: str = "fedtiny"
    profile: Profile | None = None
    number: Literal["float", "fixed"] = "float"
    lsb: float | None = None

    def __post_init__(self) -> None:
        if self.target == "tflm" and self.profile not in (None, "tflm"):
            raise ConfigError(f"--profile {self.profile}: TensorFlow Lite Micro computes by the profile tflm")

    @property
    def rounding(self) -> Profile:
        """The profile that is meant."""
        return self.profile or ("tflm" if self.target == "tflm" else "tflite")

    @property
    def fixed_point(self) -> bool:
        """Whether features and score are fixed point."""
        return self.number == "fixed"


@dataclass(frozen=True)
class Export:
    """Files by relative path, what they take, and who agreed with them."""

    files: Mapping[str, str | bytes]
    facts: Facts
    sizes: Sizes
    checked_by: str

    def describe(self) -> dict[str, Any]:
        """For programs."""
        facts = self.facts
        return {
            "release_id": facts.release_id,
            "revision": facts.revision,
            "profile": facts.profile,
            "number": facts.number,
            "checked_by": self.checked_by,
            "windows_checked": CHECKED,
            "flash_bytes": self.sizes.flash,
            "constant_bytes": self.sizes.constants,
            "ram_bytes": self.sizes.ram,
            "stack_bytes": self.sizes.stack,
            "head_slot_bytes": self.sizes.slot,
            "files": sorted(self.files),
        }

    def summary(self, out: Path) -> str:
        """For people."""
        by = f"{self.checked_by} to the bit (profile {self.facts.profile})"
        lines = [
            ("checked", f"{CHECKED} windows, equal to {by}"),
            *self.sizes.lines(),
            ("next", str(out / "README.md")),
        ]
        return "\n".join([f"{out}: {len(self.files)} files", *(f"{what:12}{text}" for what, text in lines)])


def export_release(
    release: Release,
    options: Options,
    *,
    head: Head | None = None,
    revision: int = 0,
    watch: Watch | None = None,
    point: str | None = None,
) -> Export:
    """A release under ``head`` (None: its own), with what an agent has learned in ``watch`` (None: learned on the MCU).

    Raises ConfigError for what firmware cannot do, ReleaseError where the interpreter disagrees.
    """
    tflite = release.data if head is None else release.patched(head)
    if options.target == "tflm":
        if watch is not None:
            raise ConfigError("--target tflm: it is the network alone, there is nothing that --machine would change")
        return export_network(tflite, "release", options, release.id, revision)
    network = read_network(tflite, "release")
    checked_by = check_profile(tflite, network, options.rounding, golden_inputs(network, CHECKED, seed=0))
    manifest, fixed = release.manifest, options.fixed_point
    given = manifest.feature == "given"
    if given and (fixed or options.lsb is not None):
        raise ConfigError("a release of ready-made features takes them as float32: leave out --number fixed and --lsb")
    front = None if given else front_of(release, lsb=options.lsb, fixed_point=fixed)
    plan = plan_of(release, options.rules)
    machine = None if watch is None else machine_of(watch, point)
    name, profile = options.name, options.rounding
    sources = runtime_sources(foreign=False) | {
        "fedtiny_config.h": config_header(profile, fixed_point=fixed, sample_int16=options.lsb is not None),
        f"{name}_model.h": model_header(name, release, revision, network, front, plan),
        f"{name}_model.c": model_source(
            name, profile, release, revision, network, front, plan, machine, options.rules, fixed_point=fixed
        ),
        f"{name}_model_golden.c": golden_source(network, profile, release, front, name),
    }
    sizes = release_sizes(sources[f"{name}_model.c"], network, release, front, plan, options.number)
    facts = Facts(
        name=options.name,
        release_id=release.id,
        revision=revision,
        sample_rate_hz=manifest.sample_rate_hz,
        channels=manifest.channels,
        window=manifest.window,
        hop=manifest.hop,
        number=options.number,
        sample_int16=options.lsb is not None,
        lsb=options.lsb,
        profile=profile,
        foreign=False,
        given=given,
        sizes=sizes.text(),
        version=__version__,
        tflite=tflite,
        learn_windows=sum(plan.windows),
        votes=min(options.rules.votes, options.rules.window),
        vote_window=options.rules.window,
        learned=machine is not None,
    )
    return Export(lay_out(options.target, sources, facts), facts, sizes, checked_by)


def export_network(tflite: bytes, source: str, options: Options, release_id: str = "", revision: int = 0) -> Export:
    """Any int8 .tflite of dense layers: its network alone. Raises ReleaseError, with the operator, for another."""
    if options.fixed_point or options.lsb is not None:
        raise ConfigError("--number and --lsb are for features and score: a network alone has none")
    network = read_network(tflite, source)
    name, profile = options.name, options.rounding
    checked_by = check_profile(tflite, network, profile, golden_inputs(network, CHECKED, seed=0))
    sources = runtime_sources(foreign=True) | {
        "fedtiny_config.h": config_header(profile, fixed_point=False, sample_int16=False),
        f"{name}_model.h": foreign_header(name, network),
        f"{name}_model.c": foreign_source(name, profile, network),
        f"{name}_model_golden.c": golden_source(network, profile, None, None, name),
    }
    if options.target == "tflm":
        sizes = Sizes(constants=len(tflite), ram=tflm.arena_bytes(tflite)[0])
    else:
        sizes = network_sizes(sources[f"{name}_model.c"], network)
    facts = Facts(
        name=options.name,
        release_id=release_id or hashlib.sha256(tflite).hexdigest(),
        revision=revision,
        sample_rate_hz=0.0,
        channels=(),
        window=0,
        hop=0,
        number=options.number,
        sample_int16=False,
        lsb=None,
        profile=profile,
        foreign=True,
        given=False,
        sizes=sizes.text(),
        version=__version__,
        tflite=tflite,
    )
    return Export(lay_out(options.target, sources, facts), facts, sizes, checked_by)


def write_folder(out: Path, files: Mapping[str, str | bytes]) -> None:
    """Write all files into ``out``, which must be missing or empty, or none of them."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: exists and is not an empty folder; expected a new one")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        whole = Path(folder) / "files"
        for name, content in files.items():
            path = whole / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        if out.exists():
            out.rmdir()
        whole.rename(out)
