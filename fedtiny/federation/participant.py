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
    """One device in the federation; ``base`` is what its model is at.

    last_answered: the newest round that it has sent an update for. answered_revision: the newest of this release that
    it has sent an update to in mode ``buffered``.
    """

    phase: Phase = Phase.WAITING
    base: Base | None = None
    last_answered: int = 0
    answered_revision: int | None = None

    def release(self, release_id: str) -> None:
        """A release was taken: its own head is revision 0, learning starts."""
        self.base = Base(release_id=release_id, revision=0)
        self.last_answered, self.answered_revision = 0, None
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

    def asked(self, message: RoundMessage, device: str, examples: int, fresh: int) -> bool:
        """Does this round ask ``device`` for an update that has not been sent yet?

        examples: windows to fit on. fresh: normal windows since the last update. In mode ``rounds`` each round asks
        once, at its base. In mode ``buffered`` each head asks once for a delta, whatever round is open, and a device
        for its statistics while it has more to tell; whoever is ahead of the round waits for the next, which is on its
        way. A new round at the head that was answered already says that the last one was abandoned: it asks again.
        """
        invited = message.invited is None or device in message.invited
        if (
            self.phase is not Phase.WATCHING
            or message.state != "open"
            or not invited
            or examples < message.min_examples
        ):
            return False
        another = message.round_number != self.last_answered
        if message.mode == "rounds":
            return message.base == self.base and another
        assert self.base is not None
        behind = message.base.revision - self.base.revision
        if message.base.release_id != self.base.release_id or not 0 <= behind <= message.max_staleness:
            return False
        if another and behind == 0 and self.base.revision == self.answered_revision:
            return True
        if message.kind == "delta":
            return self.base.revision != self.answered_revision
        return self.answered_revision is None or (another and fresh > 0)

    def answered(self, message: RoundMessage) -> None:
        """An update to ``base`` was made for this round."""
        assert self.base is not None
        self.last_answered = message.round_number
        if message.mode == "buffered":
            self.answered_revision = self.base.revision

    def _require(self, *phases: Phase) -> None:
        if self.phase not in phases:
            expected = " or ".join(phase.value for phase in phases)
            raise RuntimeError(f"the device is {self.phase.value}, expected {expected}")
