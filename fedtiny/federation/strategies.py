"""The strategies by name: those of this package, and those that other packages bring along.

Another package's is a function of kind ``delta`` (see ``fedtiny.federation.aggregators``) behind an entry point of the
group ``fedtiny.aggregators``; docs/aggregators.md shows one. Options are checked here, once, before any round: by name
and type against the function's keyword-only arguments, and by a try on one small update.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from fedtiny.errors import ConfigError
from fedtiny.federation.aggregators import Array, fedadam, fedavg, fedavgm, fedyogi, ridge
from fedtiny.federation.robust import clipping, krum, median, multi_krum, trimmed_mean
from fedtiny.model.head import Statistics
from fedtiny.protocol.messages import Kind

GROUP = "fedtiny.aggregators"
BUILT_IN: Mapping[str, tuple[Kind, Callable[..., Any]]] = {
    "fedavg": ("delta", fedavg),
    "fedavgm": ("delta", fedavgm),
    "fedadam": ("delta", fedadam),
    "fedyogi": ("delta", fedyogi),
    "median": ("delta", median),
    "trimmed-mean": ("delta", trimmed_mean),
    "krum": ("delta", krum),
    "multi-krum": ("delta", multi_krum),
    "clipping": ("delta", clipping),
    "ridge": ("statistics", ridge),
}


@dataclass(frozen=True)
class Strategy:
    """An aggregator with its options. kind: what a device sends for it."""

    name: str
    kind: Kind
    options: Mapping[str, float]
    function: Callable[..., Any]


def strategy(name: str, options: Mapping[str, float]) -> Strategy:
    """The strategy ``name`` with ``options`` over its defaults; ConfigError on a name or option that cannot work."""
    kind, function = _find(name)
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except NameError as error:
        raise ConfigError(f"strategy {name}: an annotation cannot be read: {error}") from None
    known = {key: one for key, one in parameters.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    for key in options:
        if key not in known:
            there = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"strategy {name}: unknown option {key!r}; there is: {there}")
    given = {key: _number(f"strategy {name}: {key}", value, known[key].annotation) for key, value in options.items()}
    made = Strategy(name, kind, {key: p.default for key, p in known.items()} | given, function)
    _try(made)
    return made


def _find(name: str) -> tuple[Kind, Callable[..., Any]]:
    if name in BUILT_IN:
        return BUILT_IN[name]
    theirs = entry_points(group=GROUP)
    if name not in theirs.names:
        raise ConfigError(f"strategy: unknown {name!r}; there is: {', '.join(sorted({*BUILT_IN, *theirs.names}))}")
    try:
        return "delta", theirs[name].load()
    except Exception as error:  # another package's code
        raise ConfigError(f"strategy {name}: {theirs[name].value} cannot be loaded: {error}") from error


def _number(where: str, value: float, annotation: type) -> float:
    """``value`` as the annotation has it; a file's numbers come as float, whole ones too."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and annotation is int and value == int(value):
        return int(value)
    if number and annotation is float:
        return float(value)
    raise ConfigError(f"{where}: found {value!r}, expected {'a whole number' if annotation is int else 'a number'}")


def _try(made: Strategy) -> None:
    """Run it on one update of a small head: options out of range, and what is no aggregator, show here."""
    shape = (2, 3)
    try:
        if made.kind == "delta":
            found: Array = made.function([(np.ones(shape, np.float32), 1)], {}, **made.options)[0]
        else:
            found = made.function(
                [Statistics(np.eye(3), np.ones((3, 2)), 1)], np.zeros(shape, np.float32), **made.options
            )
        if found.shape != shape:
            raise ValueError(f"a step of shape {found.shape} from deltas of {shape}")
    except Exception as error:  # another package's code
        raise ConfigError(f"strategy {made.name}: {error}") from error
