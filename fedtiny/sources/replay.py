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
        skip: Recordings to leave out at the beginning, each time.
        repeat: How many times it is played; 0 is without end.
    """

    def __init__(
        self, data: Path | None, machine: str, *, seed: int = 0, speed: float = 1.0, skip: int = 0, repeat: int = 1
    ) -> None:
        fleet = open_fleet(data, seed=seed)
        if machine not in fleet.machines:
            found = ", ".join(fleet.machines)
            raise ConfigError(f"machine {machine!r} is not in {data or 'the simulator'}: it has {found}")
        self._machine, self._speed, self._skip, self._repeat = fleet.machines[machine], speed, skip, repeat
        self.name = f"{data.resolve() if data else f'simulator {seed}'} {machine} from {skip}"
        self.sample_rate_hz, self.channels = fleet.sample_rate_hz, fleet.channels
        self.live = speed > 0

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """The recordings behind ``after`` ("turn.number", both from 0), each when the one before it is over."""
        turn, first = 0, self._skip
        if after:
            turn, number = map(int, after.split("."))
            first = number + 1
        due = time.monotonic()
        while not self._repeat or turn < self._repeat:
            for number, recording in enumerate(self._machine.recordings(first), first):
                while (left := due - time.monotonic()) > 0:
                    time.sleep(min(left, IDLE_S))
                    yield None
                yield replace(recording, cursor=f"{turn}.{number}")
                if self._speed:
                    due += len(recording.samples) / self.sample_rate_hz / self._speed
            turn, first = turn + 1, self._skip

    def close(self) -> None:
        """Nothing is held open."""
