"""An export laid out for an ecosystem: its C files, what builds them there, a README and an example that runs.

Each target is a folder of templates: ``all`` goes into every export, ``watch`` into one that watches machines,
``network`` into one of a foreign model, which has no features and no score. ``parts`` are pieces of examples that all
targets share.
"""

import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fedtiny.errors import ConfigError
from firmware_export import tflm
from firmware_export.templating import TEMPLATES, fill, fill_template

TARGETS: tuple[str, ...] = ("c", "arduino", "platformio", "zephyr", "esp-idf", "tflm")
_NOISE = {  # a sample from the upper bits of an uint32
    True: "(fedtiny_sample)((int32_t)(noise >> 24) - 128)",
    False: "((fedtiny_sample)(noise >> 24) / 128.0f) - 1.0f",
}
MOST_FRAMES = 512  # that an example takes from its sensor at a time
KEPT = 2048  # bytes that an example's UART keeps while a window is computed
BAUD = 115_200  # of which ten make a byte


@dataclass(frozen=True)
class Facts:
    """What layouts say of an export.

    ``name`` prefixes what belongs to this model in C. ``given``: the release takes ready-made features, not samples.
    ``foreign``: a .tflite that is no release; then only its network is exported, and ``sample_rate_hz``, ``channels``,
    ``window``, ``hop`` and ``revision`` mean nothing. ``lsb``: the physical unit of a count, None for float samples.
    ``sizes``: lines of Markdown for the README. ``learned``: what an agent has learned of a machine is in it; else it
    learns from its first ``learn_windows``. ``votes`` of ``vote_window`` windows raise the alarm. A foreign model has
    none of these. Raises ConfigError for a name that cannot be one.
    """

    name: str
    release_id: str
    revision: int
    sample_rate_hz: float
    channels: tuple[str, ...]
    window: int
    hop: int
    number: Literal["float", "fixed"]
    sample_int16: bool
    lsb: float | None
    profile: str
    foreign: bool
    given: bool
    sizes: str
    version: str
    tflite: bytes
    learn_windows: int = 0
    votes: int = 0
    vote_window: int = 0
    learned: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,39}", self.name):
            raise ConfigError(
                f"--name {self.name!r}: expected a letter, then at most 39 letters, digits or underscores"
            )


def lay_out(target: str, sources: Mapping[str, str], facts: Facts) -> dict[str, str | bytes]:
    """All files of an export by their relative path.

    Args:
        target: one of TARGETS.
        sources: the C files of the export, name to text; tflm leaves them out, it has an interpreter of its own.
        facts: what the release and the export are.

    Raises:
        ConfigError: an unknown target, or a name that cannot be one.
    """
    if target not in TARGETS:
        raise ConfigError(f"target {target!r}: expected one of {', '.join(TARGETS)}")
    if target == "tflm":
        sources = tflm.data_sources(facts.name, facts.tflite)
    fields = _fields(target, sources, facts)
    files: dict[str, str | bytes] = {f"src/{name}": text for name, text in sources.items()}
    for folder in ("all", "network" if facts.foreign else "watch"):
        root = TEMPLATES / target / folder
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            files[fill(path.relative_to(root).as_posix(), fields)] = fill(path.read_text(), fields)
    files["README.md"] = fill_template("README.md", fields)
    return dict(sorted(files.items()))


def _fields(target: str, sources: Mapping[str, str], facts: Facts) -> dict[str, str]:
    slug = re.sub(r"[^a-z0-9]+", "-", facts.name.lower()).strip("-")
    package = slug if slug == "fedtiny" else f"fedtiny-{slug}"
    order = " ".join(", ".join(facts.channels).split())
    fields = {
        "name": facts.name,
        "NAME": facts.name.upper(),
        "package": package,
        "KCONFIG": package.upper().replace("-", "_"),
        "version": (re.match(r"\d+\.\d+\.\d+", facts.version) or ["0.0.0"])[0],
        "fedtiny": facts.version,
        "release": facts.release_id,
        "short": facts.release_id[:12],
        "revision": str(facts.revision),
        "profile": facts.profile,
        "number": facts.number,
        "numbers": "float32" if facts.number == "float" else "fixed point, Q16.16",
        "sizes": facts.sizes.rstrip("\n"),
        "channel_count": str(len(facts.channels)),
        "frames": str(min(max(math.ceil(facts.sample_rate_hz / 50), 1), MOST_FRAMES)),
        "order": order,
        "comment_order": textwrap.fill(order.replace("*/", "* /"), 116, subsequent_indent=" * "),
        "rate": f"{facts.sample_rate_hz:g}",
        "window": str(facts.window),
        "hop": str(facts.hop),
        "unit": _unit(facts),
        "noise": _NOISE[facts.sample_int16],
        "headers": "\n    ".join(f"src/{name}" for name in sources if name.endswith(".h")),
        "units": "\n    ".join(f"src/{name}" for name in sources if name.endswith(".c")),
        "module_units": "\n        ".join(f"${{module}}/src/{name}" for name in sources if name.endswith(".c")),
        "selftest": "(int8_t *)arena" if facts.foreign else "&machine",
        "front": "" if facts.foreign or facts.given else " and the features",
        "kind": "model" if facts.foreign else "release",
        "help": "An int8 network" if facts.foreign else "Features, int8 network, score and alarm",
        "demo": "runs the network on made-up inputs"
        if facts.foreign
        else "watches made-up noise until you give it a sensor",
        "learn_windows": str(facts.learn_windows),
        "learn_time": _learn_time(facts),
        "votes": str(facts.votes),
        "vote_window": str(facts.vote_window),
        "kept": str(KEPT),
        "kept_ms": str(KEPT * 10_000 // BAUD),
        "example": "infer" if facts.foreign else "watch",
    }
    if target == "tflm":
        fields |= tflm.fields(facts.tflite)
    kind = "network" if facts.foreign else "features" if facts.given else "samples"
    readme = "tflm" if target == "tflm" else kind
    line = {"arduino": "arduino", "zephyr": "uart", "esp-idf": "uart"}.get(target, "board")
    wanted = {
        "about": f"about_{readme}.md",
        "code": f"{kind}.c",
        "show": "percent.c",
        "heads": "heads.c",
        "main": "main_network.c" if facts.foreign else "main_watch.c",
        "learning": "learned.md" if facts.learned else "learns.md",
        "judging": "judging.md",
        "self_test": "self_test.md",
        "send": f"send_{line}.md",
        "head_text": "heads.md",
        "build": f"build_{target}.md",
        "use": f"use_{readme}.md",
    }
    for field, part in wanted.items():  # in this order: later ones quote earlier ones
        fields[field] = fill_template(f"parts/{part}", fields).strip("\n")
    return fields


def _unit(facts: Facts) -> str:
    unit = "the unit of the recordings that the release was trained on"
    return f"int16 counts, each {facts.lsb:g} of {unit}" if facts.sample_int16 else f"float, in {unit}"


def _learn_time(facts: Facts) -> str:
    """How long the windows take that are learned from, where that is known."""
    if facts.foreign or facts.given or not facts.learn_windows:
        return ""
    samples = facts.window + (facts.learn_windows - 1) * facts.hop
    return f" ({samples / facts.sample_rate_hz:,.1f} s of samples)"
