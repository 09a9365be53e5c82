"""The device's state machine: what phase it is in and whether a round asks anything of it.

WAITING  --release-->  LEARNING  --enough normal windows-->  WATCHING
any phase --release--> LEARNING;  WATCHING --re-baseline--> LEARNING
"""

from dataclasses import dataclass
from enum import Enum

from fedtiny.protocol.messages import Base, RoundMessage


class Phase(Enum):
    """What a device does with its windows."""

    WAITING = "waiting"
    LEARNING = "learning"
    WATCHING = "watching"


@dataclass
class Participant:
    """One device in the federation; ``base`` is what its model is at."""

    phase: Phase = Phase.WAITING
    base: Base | None = None
    last_answered: int = 0

    def release(self, release_id: str) -> None:
        """A release was taken: its own head is revision 0, learning starts."""
        self.base = Base(release_id=release_id, revision=0)
        self.last_answered = 0
        self.phase = Phase.LEARNING

    def learned(self) -> None:
        """Enough normal windows were seen."""
        self._require(Phase.LEARNING)
        self.phase = Phase.WATCHING

    def relearn(self) -> None:
        """Forget what is normal and learn it anew."""
        self._require(Phase.WATCHING, Phase.LEARNING)
        self.phase = Phase.LEARNING

    def head(self, revision: int) -> None:
        """A head was applied."""
        if self.base is None:
            raise RuntimeError("a head came before any release")
        self.base = Base(release_id=self.base.release_id, revision=revision)

    def asked(self, message: RoundMessage) -> bool:
        """Does this round ask for an update that has not been sent yet?"""
        return (
            self.phase is Phase.WATCHING
            and message.state == "open"
            and message.base == self.base
            and message.round_number != self.last_answered
        )

    def _require(self, *phases: Phase) -> None:
        if self.phase not in phases:
            expected = " or ".join(phase.value for phase in phases)
            raise RuntimeError(f"the device is {self.phase.value}, expected {expected}")
