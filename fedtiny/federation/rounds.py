"""The coordinator's state machine: when a round opens and closes, and what becomes of each update.

Two states. IDLE: no round is open; one opens when enough devices watch at the current revision, and everybody who is
online does so or ``SETTLE_S`` have passed since enough did. OPEN: updates to the round's base are taken; it closes when
all devices that are online have answered and the quorum is met, or at the deadline, with or without a quorum. Nothing
here blocks, waits or reads a clock: time is an argument, in seconds of any monotonic clock.
"""

from dataclasses import dataclass, field
from enum import Enum

from fedtiny.protocol.messages import Base, UpdateMessage

SETTLE_S = 2.0
RESUME_S = 6.0  # a broker delivers again what was not acknowledged within 5 s


class State(Enum):
    """Of the current round."""

    IDLE = "idle"
    OPEN = "open"


class Step(Enum):
    """What the coordinator has to do next."""

    OPEN = "open"
    AGGREGATE = "aggregate"
    ABANDON = "abandon"  # the deadline passed without a quorum


@dataclass(frozen=True)
class Rules:
    """quorum: fewest updates of a round. devices: fewest ready devices to open one. rounds: 0 for no limit."""

    quorum: int = 1
    devices: int = 1
    deadline_s: float = 60.0
    pause_s: float = 0.0
    rounds: int = 0


@dataclass
class Rounds:
    """The rounds of one fleet at ``base``; ``number`` is the current round, or the last one, from 1."""

    rules: Rules
    base: Base
    number: int = 0
    completed: int = 0
    state: State = State.IDLE
    answered: set[str] = field(default_factory=set)
    _devices: dict[str, Base | None] = field(default_factory=dict)
    _since: float | None = None  # IDLE: since when enough devices are ready; OPEN: when the round opened
    _not_before: float = float("-inf")
    _complete_after: float = float("-inf")  # before, "all have answered" may mean that none is known yet

    def device(self, device: str, base: Base | None, *, watching: bool) -> None:
        """A device's status: the base it is at; ``watching`` False when it is offline or still learning."""
        if watching:
            self._devices[device] = base
        else:
            self._devices.pop(device, None)

    @property
    def ready(self) -> set[str]:
        """Devices that watch at the current base."""
        return {device for device, base in self._devices.items() if base == self.base}

    def judge(self, update: UpdateMessage) -> str | None:
        """Why an update cannot be taken, or None when it can."""
        if self.state is not State.OPEN or update.round_number != self.number:
            return "late"
        if update.base != self.base:
            return "stale"
        return "duplicate" if update.device in self.answered else None

    def accept(self, device: str) -> None:
        """Count an update that ``judge`` found no fault with, once it is stored."""
        self._require(State.OPEN)
        self.answered.add(device)

    def due(self, now: float) -> Step | None:
        """The step that is due at ``now``, or None."""
        if self.state is State.OPEN:
            assert self._since is not None
            enough = len(self.answered) >= self.rules.quorum
            if enough and now >= self._complete_after and self.answered >= set(self._devices):
                return Step.AGGREGATE
            if now - self._since >= self.rules.deadline_s:
                return Step.AGGREGATE if enough else Step.ABANDON
            return None
        if self.rules.rounds and self.completed >= self.rules.rounds:
            return None
        ready = self.ready
        if len(ready) < max(self.rules.devices, self.rules.quorum):
            self._since = None
            return None
        if self._since is None:
            self._since = now
        settled = len(ready) == len(self._devices) or now - self._since >= SETTLE_S
        return Step.OPEN if settled and now >= self._not_before else None

    def open(self, now: float) -> None:
        """Open the next round."""
        self._require(State.IDLE)
        self.number += 1
        self._complete_after = float("-inf")
        self.answered = set()
        self.state, self._since = State.OPEN, now

    def resume(self, answered: set[str], now: float) -> None:
        """Go on with round ``number`` after a restart; its deadline starts anew, and once more at ``listening``.

        Who is online, and what waits at the broker, is known ``RESUME_S`` after that.
        """
        self._require(State.IDLE)
        self._complete_after = float("inf")
        self.answered = set(answered)
        self.state, self._since = State.OPEN, now

    def listening(self, now: float) -> None:
        """The connection stands: devices and their updates come in from here on."""
        if self._complete_after == float("inf"):
            self._since, self._complete_after = now, now + RESUME_S

    def close(self, base: Base | None, now: float) -> None:
        """Close the round; ``base`` is the new one where it made a revision, None where it was abandoned."""
        self._require(State.OPEN)
        if base is not None:
            self.base = base
            self.completed += 1
        self.state, self._since = State.IDLE, None
        self._not_before = now + self.rules.pause_s

    def _require(self, state: State) -> None:
        if self.state is not state:
            raise RuntimeError(f"round {self.number} is {self.state.value}, expected {state.value}")
