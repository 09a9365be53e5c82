"""What is measured of each side in ``bench``, and the figures that follow from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.common import spread
from benchmarks.shared.proxy import Way
from benchmarks.shared.tree import Memory
from fedtiny.model.head import Head

WARM_UP = 1  # rounds at the beginning that neither seconds nor bytes count: one side installs its app in the first


@dataclass(frozen=True)
class Instant:
    """Bytes of all clients' connections so far, CPU seconds of one client so far, at a time."""

    at: float
    carried: dict[Way, int]
    cpu_s: float

    def until(self, later: "Instant", clients: int) -> dict[str, float]:
        """What one client used from here on: seconds, bytes each way, CPU seconds."""
        used = {f"bytes_{way}": (later.carried[way] - self.carried[way]) / clients for way in ("up", "down")}
        return used | {"seconds": later.at - self.at, "cpu_s": later.cpu_s - self.cpu_s}


@dataclass
class Side:
    """One side's run.

    bounds: when the first round began and each one ended, one clock's seconds. heads: after each round.
    counted: instants at the end of the warm-up and of the last round; idle: at both ends of a span without rounds.
    """

    clients: int
    start_s: float = 0.0
    bounds: list[float] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    counted: list[Instant] = field(default_factory=list)
    idle: list[Instant] = field(default_factory=list)
    memory_idle: Memory = field(default_factory=Memory)
    memory_peak: Memory = field(default_factory=Memory)


def of_rounds(side: Side, local_s: float) -> dict[str, Any]:
    """Of a round, and of one client in it."""
    rounds = [end - begin for begin, end in zip(side.bounds[:-1], side.bounds[1:], strict=True)]
    counted = rounds[WARM_UP:]
    used = side.counted[0].until(side.counted[1], side.clients)
    return {
        "clients": side.clients,
        "start_s": side.start_s,
        "round_s": spread(counted),
        "overhead_s": spread([seconds - local_s for seconds in counted]),
        "all_rounds_s": rounds,
        "bytes_up_per_round": used["bytes_up"] / len(counted),
        "bytes_down_per_round": used["bytes_down"] / len(counted),
        "client_cpu_s_per_round": used["cpu_s"] / len(counted),
        "memory_idle": side.memory_idle.__dict__,
        "memory_peak": side.memory_peak.__dict__,
    }


def figures(side: Side, aucs: Sequence[float], local_s: float, target: float) -> dict[str, Any]:
    """Those of its rounds, of an idle minute and of what is learned.

    aucs: of ``side.heads``. target: the one to reach.
    """
    idle = side.idle[0].until(side.idle[1], side.clients)
    reached = next((i for i, auc in enumerate(aucs) if auc >= target), None)
    return of_rounds(side, local_s) | {
        **{f"{key}_per_idle_minute": 60 * idle[key] / idle["seconds"] for key in ("bytes_up", "bytes_down", "cpu_s")},
        "idle_s": idle["seconds"],
        "auc": list(aucs),
        "rounds_to_auc": None if reached is None else reached + 1,
        "seconds_to_auc": None if reached is None else side.bounds[reached + 1] - side.bounds[0],
    }
