"""Recordings of a machine, played as they would come in: at their own pace, faster, or at once."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fedtiny.errors import ConfigError
from fedtiny.signal.fleet import open_fleet
from fedtiny.signal.recording import IDLE_S, Recording


class Replay:
    """One machine of a fleet's data, or of the simulator.

    Args:
        data: One of ``fedtiny.signal.fleet.LAYOUTS``; None simulates.
        machine: Which of its machines.
        seed: Of the simulator.
        speed: 1 plays in real time, N so many times as fast, 0 at once.
        skip: Recordings to leave out at the beginning.
    """

    def __init__(self, data: Path | None, machine: str, *, seed: int = 0, speed: float = 1.0, skip: int = 0) -> None:
        fleet = open_fleet(data, seed=seed)
        if machine not in fleet.machines:
            found = ", ".join(fleet.machines)
            raise ConfigError(f"machine {machine!r} is not in {data or 'the simulator'}: it has {found}")
        self._machine, self._speed, self._skip = fleet.machines[machine], speed, skip
        self.name = f"{data.resolve() if data else f'simulator {seed}'} {machine} from {skip}"
        self.sample_rate_hz, self.channels = fleet.sample_rate_hz, fleet.channels
        self.live = speed > 0

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """The recordings behind the one whose number (from 0) is ``after``, each when the one before it is over."""
        first = int(after) + 1 if after else self._skip
        due = time.monotonic()
        for number, recording in enumerate(self._machine.recordings(first), first):
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(left, IDLE_S))
                yield None
            yield replace(recording, cursor=str(number))
            if self._speed:
                due += len(recording.samples) / self.sample_rate_hz / self._speed

    def close(self) -> None:
        """Nothing is held open."""
