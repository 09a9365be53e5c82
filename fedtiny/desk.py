"""The coordinator's desk: carries out what operators have ordered (see ``fedtiny.orders``)."""

import json
import logging
from collections.abc import Callable

from fedtiny.clock import utc_now
from fedtiny.errors import DamagedError, FedTinyError, StorageError
from fedtiny.federation.rounds import State
from fedtiny.global_state import GlobalState
from fedtiny.ledger import PINNED, Ledger
from fedtiny.model.artifact import Release
from fedtiny.orders import (
    Block,
    Forget,
    Order,
    PinHead,
    PublishRelease,
    RollbackHead,
    RollbackRelease,
    Unblock,
    UnpinHead,
    parse_order,
)
from fedtiny.protocol.messages import OrderOutcome
from fedtiny.round_keeper import RoundKeeper

log = logging.getLogger(__name__)
OUTCOMES = 16  # that are told: two minutes' worth


class Desk:
    """Takes orders from the ledger. ``publish`` sends to a global topic; ``seat`` heeds a standing."""

    def __init__(
        self,
        ledger: Ledger,
        state: GlobalState,
        keeper: RoundKeeper,
        publish: Callable[[str, bytes], None],
        seat: Callable[[str], None],
    ) -> None:
        self._ledger, self._global, self._keeper, self._publish, self._seat = ledger, state, keeper, publish, seat
        self._begun = False  # whether an order has changed anything

    def work(self) -> bool:
        """Carry out what lies there, in the order in which it came; whether anything did."""
        worked = False
        while (row := self._ledger.next_order()) is not None:
            self._begun = False
            with self._ledger.transaction():
                try:
                    with self._ledger.transaction():  # all of an order or nothing
                        outcome, ok = self._carry_out(parse_order(row.what)), True
                except FedTinyError as error:
                    if isinstance(error, StorageError) and not isinstance(error, DamagedError):
                        raise
                    outcome, ok = str(error), False
                self._ledger.finish_order(row.id, ok=ok, outcome=outcome, now=utc_now())
            log.info("order %d: %s", row.id, outcome)
            if self._begun and not ok:
                raise StorageError(f"order {row.id} was taken back: {outcome}")  # what is in memory may be half of it
            worked = True
        return worked

    def outcomes(self) -> tuple[OrderOutcome, ...]:
        """What became of the newest orders that came by a command, oldest first."""
        return tuple(
            OrderOutcome(
                order=(what := json.loads(row.what))["order"],
                command=what["command"],
                ok=bool(row.ok),
                outcome=row.outcome or "",
                done_utc=row.done_utc or "",
            )
            for row in self._ledger.commands(OUTCOMES)
        )

    def _carry_out(self, order: Order) -> str:
        """What came of it, in words."""
        match order:
            case PublishRelease():
                return self._publish_release(order.release)
            case RollbackRelease():
                return self._rollback_release(order.release_id)
            case RollbackHead():
                return self._rollback_head(order)
            case PinHead():
                return self._pin(order.revision)
            case UnpinHead():
                self._ledger.set_setting(PINNED, None)
                self._keeper.rounds.pinned = False
                return "rounds may change the head again"
            case Forget():
                return self._forget(order.device)
            case Block():
                self._begun = True
                self._ledger.set_standing(order.device, "blocked", order.reason)
                self._keeper.drop(order.device, "blocked")
                return f"{order.device} is blocked: its updates are refused"
            case Unblock():
                self._ledger.set_standing(order.device, "active", order.reason)
                self._seat(order.device)
                return f"{order.device} takes part again"

    @property
    def _revision(self) -> int:
        return self._global.base.revision

    def _publish_release(self, release_id: str) -> str:
        if release_id == self._global.release.id:
            raise FedTinyError(f"release {release_id[:12]} is the current one")
        release = Release(self._ledger.get_object(release_id))
        self._interrupt(lambda: self._global.publish_release(release, "published by an operator"))
        return f"release {release.id[:12]} published at revision {self._revision}{self._still_pinned()}"

    def _rollback_release(self, release_id: str | None) -> str:
        current = self._global.release.id
        earlier = [row.release_id for row in self._ledger.publications() if row.release_id != current]
        if release_id is None and not earlier:
            raise FedTinyError(f"release {current[:12]} is the only one there ever was")
        found = self._ledger.known_release(release_id or earlier[-1])
        if found == current:
            raise FedTinyError(f"release {current[:12]} is the current one")
        release = Release(self._ledger.release_data(found))
        self._interrupt(lambda: self._global.publish_release(release, "rolled back by an operator"))
        return f"back at release {found[:12]}, its newest head as revision {self._revision}{self._still_pinned()}"

    def _still_pinned(self) -> str:
        return "; no rounds, as the head is pinned" if self._keeper.rounds.pinned else ""

    def _when_rounds_go_on(self) -> str:
        rules = self._keeper.rounds.rules
        if self._keeper.rounds.pinned:
            return "no rounds, as the head is pinned"
        if not rules.rounds:
            return "rounds go on from it: fedtiny head pin keeps it"
        if not rules.new_windows:
            return "no more rounds, as new_windows is 0"
        return f"rounds go on with {rules.new_windows} new windows"

    def _rollback_head(self, order: RollbackHead) -> str:
        current = self._global.release.id
        if order.release_id not in (None, current):
            raise FedTinyError(f"it is for release {order.release_id[:12]}, and {current[:12]} is the current one")
        if self._is_newest(order.revision):
            return f"already so: revision {self._revision} has the head of revision {order.revision}"
        self._restore(order.revision)
        return f"revision {self._revision} brings revision {order.revision} back; {self._when_rounds_go_on()}"

    def _is_newest(self, revision: int) -> bool:
        """Whether the newest head is that of ``revision``, or brings it back."""
        newest = self._ledger.revision(self._global.release.id, self._revision)
        return newest is not None and revision in (newest.revision, newest.restores)

    def _restore(self, revision: int) -> None:
        release_id = self._global.release.id
        if self._ledger.revision(release_id, revision) is None:
            raise FedTinyError(f"release {release_id[:12]} has no revision {revision}; its newest is {self._revision}")
        # the same data would only make again what was just taken back
        self._interrupt(lambda: self._global.restore_head(revision), self._keeper.rounds.rules.rounds)

    def _interrupt(self, change: Callable[[], None], completed: int = 0) -> None:
        """Change the release or the head; what the open round started from is gone then.

        completed: as after how many rounds on the data at hand it goes on.
        """
        self._begun = True
        if self._keeper.rounds.state is State.OPEN:
            self._keeper.abandon("abandoned: an operator has changed what it started from")
        before = self._global.payloads
        change()
        self._keeper.rebase(completed)
        for kind, payload in self._global.payloads.items():
            if payload != before[kind]:  # a release may be large
                self._publish(kind, payload)

    def _pin(self, revision: int | None) -> str:
        newest = self._revision
        if revision is not None and not self._is_newest(revision):
            self._restore(revision)
        elif self._keeper.rounds.state is State.OPEN:
            self._begun = True
            self._keeper.abandon("abandoned: an operator has pinned the head")
        self._ledger.set_setting(PINNED, str(self._revision))
        self._keeper.rounds.pinned = True
        restored = "" if self._revision == newest else f", which brings revision {revision} back"
        return f"pinned at revision {self._revision}{restored}"

    def _forget(self, device: str) -> str:
        """Take out what a device has given, as far as it can be."""
        self._begun = True
        self._keeper.rounds.answered.discard(device)
        releases = self._ledger.drop_statistics(device)
        self._ledger.forget(device)
        self._keeper.rounds.device(device, None)
        said = f"{device} is forgotten; deltas that earlier heads were made of cannot be taken out of them"
        if self._keeper.kind == "statistics":
            for release_id in releases - {self._global.release.id}:  # what a roll-back would bring back
                release = Release(self._ledger.release_data(release_id))
                self._global.amend(release, self._keeper.solve_again(release))
            said = f"{device} is forgotten; nothing was summed up of it"
            if self._global.release.id in releases:
                current = self._global.release
                head = self._keeper.solve_again(current)
                self._interrupt(lambda: self._global.amend(current, head), self._keeper.rounds.completed)
                said = f"{device} is forgotten; revision {self._revision} is made without it"
        return f"{said}. It takes part again when it answers: fedtiny fleet block {device} keeps it out"
