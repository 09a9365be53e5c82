"""Times of things that take turns: what slows the machine down slows them all."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Windows = NDArray[np.float32]
Run = Callable[[Any], Any]


def take_turns(runs: Mapping[str, Run], parts: list[Windows], turns: int) -> dict[str, NDArray[np.float64]]:
    """Microseconds a window of each run, (turns,), in changing order over ``parts`` (n, ...).

    A run that returns a list of clock readings (ns) is timed by these, as (turns, readings - 1): its stages.
    """
    now = time.perf_counter_ns
    names = list(runs)
    found: dict[str, list[Any]] = {name: [] for name in names}
    for turn in range(-max(1, turns // 20), turns):
        part = parts[turn // len(names) % len(parts)]
        for step in range(len(names)):
            name = names[(turn + step) % len(names)]
            begin = now()
            stamps = runs[name](part)
            end = now()
            if turn >= 0:  # what comes before is to warm up
                found[name].append(np.diff(stamps) if isinstance(stamps, list) else end - begin)
    return {name: np.array(times, np.float64) / 1e3 / len(parts[0]) for name, times in found.items()}


def percentiles(values: NDArray[np.float64]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 99)}
