"""The coordinator's state machine: when a round opens and closes, and what becomes of each update.

Two states. IDLE: no round is open; one opens when enough devices are ready, and everybody who is online is so or
``SETTLE_S`` have passed since enough were; not while the head is pinned, and after ``rounds`` rounds on the same data
not before the fleet has ``new_windows`` more; in mode ``buffered`` at once. OPEN: updates are taken. In mode
``rounds`` it closes when all that are asked and online have answered and the quorum is met, or at the deadline, with
or without a quorum; in mode ``buffered`` as soon as the quorum is met (FedBuff: Nguyen et al., AISTATS 2022, whose K
the quorum is), or at the deadline without one: all are then asked again. Nothing here blocks, waits or reads a clock:
time is an argument, in seconds of any monotonic clock.
"""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Literal

from fedtiny.protocol.messages import Base, UpdateMessage

SETTLE_S = 2.0
RESUME_S = 6.0  # a broker delivers again what was not acknowledged within 5 s
LATEST_S = 60.0  # after its deadline a round that is resumed is given no more time
GRACES = 3  # times that a connection which comes back moves a round's deadline by RESUME_S


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
    """quorum: fewest updates of a round. devices: fewest ready devices to open one; the rest as in the configuration.

    rounds: 0 for no limit; new_windows: 0 for never again. invite: None for everyone.
    """

    mode: Literal["rounds", "buffered"] = "rounds"
    quorum: int = 1
    devices: int = 1
    deadline_s: float = 60.0
    pause_s: float = 0.0
    rounds: int = 0
    new_windows: int = 0
    invite: int | None = None
    min_examples: int = 1
    max_staleness: int = 0


@dataclass(frozen=True)
class Watching:
    """A device that is online and watches.

    base: what its model is at. examples: windows it could fit on, where it says so. fresh: new ones since its update.
    """

    base: Base | None
    examples: int | None = None
    fresh: int = 0


@dataclass
class Rounds:
    """The rounds of one fleet at ``base``; ``number`` is the current round, or the last one, from 1.

    completed: how many made a head of the data at hand. invited: who is asked by the open round, None for all.
    pinned: no round opens.
    """

    rules: Rules
    base: Base
    number: int = 0
    completed: int = 0
    pinned: bool = False
    state: State = State.IDLE
    answered: set[str] = field(default_factory=set)
    invited: frozenset[str] | None = None
    _devices: dict[str, Watching] = field(default_factory=dict)
    _enough_since: float | None = None
    _deadline: float = inf
    _graces: int = 0  # how often a connection that comes back may still move the deadline
    _not_before: float = -inf
    _resuming: float | None = None  # seconds that the deadline is away once the connection stands
    _complete_after: float = -inf  # before, "all have answered" may mean that none is known yet

    def device(self, device: str, watching: Watching | None) -> None:
        """What a device's status says; None when it is offline, still learning or not wanted."""
        if watching is None:
            self._devices.pop(device, None)
        else:
            self._devices[device] = watching

    @property
    def ready(self) -> set[str]:
        """Devices that a round opened now could ask."""
        return {name for name, device in self._devices.items() if self._behind(device.base) and self._fits(device)}

    def _behind(self, base: Base | None) -> bool:
        if base is None or base.release_id != self.base.release_id:
            return False
        return 0 <= self.base.revision - base.revision <= self.rules.max_staleness

    def _fits(self, device: Watching) -> bool:
        return device.examples is None or device.examples >= self.rules.min_examples

    def judge(self, update: UpdateMessage) -> str | None:
        """Why an update cannot be taken, or None when it can."""
        tolerant = self.rules.max_staleness > 0
        if self.state is not State.OPEN or update.round_number > self.number:
            return "late"
        if update.round_number < self.number and not tolerant:
            return "late"
        if not self._behind(update.base):
            return "stale"
        if self.invited is not None and update.device not in self.invited:
            return "uninvited"
        if update.num_examples < self.rules.min_examples:
            return "few"
        return "duplicate" if update.device in self.answered else None

    def accept(self, device: str) -> None:
        """Count an update that ``judge`` found no fault with, once it is stored."""
        self._require(State.OPEN)
        self.answered.add(device)

    def due(self, now: float) -> Step | None:
        """The step that is due at ``now``, or None."""
        if self.state is State.OPEN:
            return self._open_due(now)
        if self.pinned or self._spent():
            return None
        if self.rules.mode == "buffered":  # always open: an update that comes while nobody else is there counts as well
            return Step.OPEN
        ready = self.ready
        if len(ready) < max(self.rules.devices, self.rules.quorum):
            self._enough_since = None
            return None
        if self._enough_since is None:
            self._enough_since = now
        settled = ready >= set(self._able()) or now - self._enough_since >= SETTLE_S
        return Step.OPEN if settled and now >= self._not_before else None

    def _open_due(self, now: float) -> Step | None:
        enough = len(self.answered) >= self.rules.quorum
        if self.rules.mode == "buffered":
            complete = now >= self._not_before
        else:
            complete = now >= self._complete_after and self.answered >= self._awaited()
        if enough and complete:
            return Step.AGGREGATE
        if now >= self._deadline:
            return Step.AGGREGATE if enough else Step.ABANDON
        return None

    def _able(self) -> Iterator[str]:
        """Devices that can answer, or can as soon as they have the newest head."""
        for name, device in self._devices.items():
            if device.base is not None and device.base.release_id == self.base.release_id and self._fits(device):
                yield name

    def _awaited(self) -> set[str]:
        able = set(self._able())
        return able if self.invited is None else able & self.invited

    def wanted(self, now: float) -> bool:
        """Whether enough devices are ready, and a round is open or would be; not while the pause after one lasts."""
        enough = len(self.ready) >= max(self.rules.devices, self.rules.quorum)
        return enough and now >= self._not_before and (self.state is State.OPEN or not (self.pinned or self._spent()))

    def _spent(self) -> bool:
        """Whether there were rounds enough on the data at hand."""
        if not self.rules.rounds or self.completed < self.rules.rounds:
            return False
        fresh = sum(self._devices[name].fresh for name in self.ready)
        return not self.rules.new_windows or fresh < self.rules.new_windows

    def invitation(self, chance: random.Random) -> frozenset[str] | None:
        """Whom the next round asks: some of those that are ready, or None for everyone."""
        ready = sorted(self.ready)
        if self.rules.invite is None or len(ready) <= self.rules.invite:
            return None
        return frozenset(chance.sample(ready, self.rules.invite))

    def open(self, now: float, invited: frozenset[str] | None = None) -> None:
        """Open the next round."""
        self._require(State.IDLE)
        if self.rules.rounds and self.completed >= self.rules.rounds:  # there is new data
            self.completed = 0
        self.number += 1
        self.invited, self.answered = invited, set()
        self.state, self._complete_after, self._resuming = State.OPEN, -inf, None
        self._deadline = now + self.rules.deadline_s
        self._graces = GRACES

    def resume(self, answered: Collection[str], invited: frozenset[str] | None, left_s: float) -> None:
        """Go on with round ``number`` after a restart, ``left_s`` before its deadline, from ``listening`` on.

        Who is online, and what waits at the broker, is known ``RESUME_S`` after that: it closes no sooner, unless its
        deadline is ``LATEST_S`` past.
        """
        self._require(State.IDLE)
        self.answered, self.invited = set(answered), invited
        self.state, self._complete_after, self._deadline = State.OPEN, inf, inf
        least = max(0.0, min(RESUME_S, left_s + LATEST_S))
        self._resuming = min(max(left_s, least), max(self.rules.deadline_s, RESUME_S))

    def listening(self, now: float) -> None:
        """The connection stands (again): devices and their updates come in from here on."""
        if self.state is not State.OPEN:
            return
        if self._resuming is not None:
            self._deadline = now + self._resuming
            self._complete_after, self._graces = min(now + RESUME_S, self._deadline), GRACES
            self._resuming = None
        elif self._graces and self._deadline < now + RESUME_S:
            self._deadline = now + RESUME_S
            self._graces -= 1

    def close(self, base: Base | None, now: float) -> None:
        """Close the round; ``base`` is the new one where it made a revision, None where it was abandoned."""
        self._require(State.OPEN)
        if base is not None:
            self.base = base
            self.completed += 1
        self.state, self._enough_since = State.IDLE, None
        self._not_before = now + self.rules.pause_s

    def rebase(self, base: Base, completed: int) -> None:
        """Go on from a head or release that no round has made, as after ``completed`` rounds on the data at hand."""
        self._require(State.IDLE)
        self.base, self.completed, self._enough_since = base, completed, None

    def _require(self, state: State) -> None:
        if self.state is not state:
            raise RuntimeError(f"round {self.number} is {self.state.value}, expected {state.value}")
