"""Keeps the rounds: opens, closes and abandons them, in the ledger first and then in memory and on the topics."""

import logging
import random
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

from fedtiny.clock import utc_now
from fedtiny.config import Config
from fedtiny.config import Coordinator as Settings
from fedtiny.errors import StorageError
from fedtiny.federation.combine import Entry, combine
from fedtiny.federation.rounds import Rounds, Rules, State, Step
from fedtiny.federation.screening import Cohort, Contribution
from fedtiny.federation.strategies import Strategy
from fedtiny.global_state import GlobalState
from fedtiny.ledger import PINNED, Ledger, RoundRow
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.protocol.messages import Base, Kind, RoundMessage

log = logging.getLogger(__name__)
MOST_NAMES = 256  # of the devices that answered, in a round's message
SPENT, CLOSED = "rounds on the data at hand", "last closed round"  # settings
CHANCE = random.SystemRandom()
Publish = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Figures:
    """Of a round's updates: examples fitted on, bytes that came, mean losses before and after, weighted by examples."""

    examples: int
    bytes_up: int
    losses: tuple[float, float]


class RoundKeeper:
    """The rounds of one fleet. ``publish`` takes a global topic's kind and its payload."""

    def __init__(
        self, config: Config, ledger: Ledger, strategy: Strategy, state: GlobalState, publish: Publish
    ) -> None:
        self._settings, self._ledger, self._strategy, self._global = config.coordinator, ledger, strategy, state
        self._signed, self._publish = config.trust.devices is not None, publish
        spent = int(ledger.setting(SPENT) or 0)
        pinned = ledger.setting(PINNED) is not None
        self.rounds = Rounds(rules_of(self._settings), state.base, completed=spent, pinned=pinned)
        self._opened_utc, self._opened_at = "", time.monotonic()
        self._cohort = Cohort()  # of the open round's updates, those that came in this life
        self.lasted_s: float | None = None  # from the opening of the last closed round, or from a restart within it
        last = ledger.last_round()
        if last is not None:
            self.rounds.number, self._opened_utc = last.number, last.opened_utc
            if last.outcome is None:
                self._resume(last)

    @property
    def kind(self) -> Kind:
        """What the strategy asks of a device."""
        return self._strategy.kind

    def _resume(self, last: RoundRow) -> None:
        base, settings = self.rounds.base, self._settings
        here = (base.release_id, base.revision, settings.strategy, settings.mode)
        if (last.release_id, last.revision, last.strategy, last.mode) != here:
            outcome = "abandoned: release, head or strategy changed"
            self._close_in_ledger(outcome, self._message("closed", outcome))
            return
        answered = self._ledger.answered(last.number)
        since = datetime.fromisoformat(utc_now()) - datetime.fromisoformat(last.opened_utc)
        left = last.deadline_s - max(0.0, since.total_seconds())  # a clock set back must not make it longer
        self.rounds.resume(answered, frozenset(last.invited) if last.invited is not None else None, left)
        log.info("resuming round %d with %d updates", last.number, len(answered))

    def announce(self) -> None:
        """Publish the round that is open, or how the last one ended."""
        closed = self._ledger.setting(CLOSED)
        if self.rounds.state is State.OPEN:
            self._publish_round(self._message("open"))
        elif closed is not None:
            self._publish_round(RoundMessage.model_validate_json(closed))

    def step(self) -> None:
        """Do what is due."""
        while (step := self.rounds.due(time.monotonic())) is not None:
            if step is Step.OPEN:
                self._open()
            elif step is Step.AGGREGATE:
                self._aggregate()
            else:
                self.abandon(f"no quorum: {len(self.rounds.answered)} of {self.rounds.rules.quorum} answered")

    def _open(self) -> None:
        rounds, settings, base = self.rounds, self._settings, self.rounds.base
        invited, self._opened_utc = rounds.invitation(CHANCE), utc_now()
        row = RoundRow(
            number=rounds.number + 1,
            release_id=base.release_id,
            revision=base.revision,
            strategy=settings.strategy,
            mode=settings.mode,
            opened_utc=self._opened_utc,
            deadline_s=settings.deadline_s,
            invited=None if invited is None else tuple(sorted(invited)),
        )
        self._opened_at, self._cohort = time.monotonic(), Cohort()
        rounds.open(self._opened_at, invited)
        with self._ledger.transaction():
            self._ledger.open_round(row)
            self._ledger.set_setting(SPENT, str(rounds.completed))
        log.info("round %d opened at revision %d", rounds.number, base.revision)
        self._publish_round(self._message("open"))

    def accept(self, device: str, update: Contribution) -> None:
        """Count an update that is in the ledger."""
        if self._settings.screening:
            if device in self._cohort.devices:  # an earlier one was dropped
                self._cohort = Cohort()
            self._cohort.add(update)
        self.rounds.accept(device)

    def abandon(self, outcome: str) -> None:
        """Close the open round without a head."""
        message = self._message("closed", outcome)
        self._close_in_ledger(outcome, message)
        log.warning("round %d: %s", self.rounds.number, outcome)
        self._close(None)
        self._publish_round(message)

    def _close(self, base: Base | None) -> None:
        now = time.monotonic()
        self.lasted_s = now - self._opened_at
        self.rounds.close(base, now)

    def _close_in_ledger(self, outcome: str, message: RoundMessage) -> None:
        with self._ledger.transaction():
            self._ledger.close_round(self.rounds.number, utc_now(), outcome)
            self._ledger.settle(self.rounds.number, "abandoned", outcome)
            self._ledger.set_setting(CLOSED, message.model_dump_json())

    def rebase(self, completed: int = 0) -> None:
        """Go on from a head or release that no round has made, as after ``completed`` rounds on the data at hand."""
        self.rounds.rebase(self._global.base, completed)
        self._ledger.set_setting(SPENT, str(completed))

    def _aggregate(self) -> None:
        number, answered = self.rounds.number, set(self.rounds.answered)
        anchor, screening = self._global.release.head.weights, self._settings.screening
        state = self._global.state if self._global.made_by == self._strategy.name else {}
        log.info("round %d: combining %d updates", number, len(answered))
        try:  # each was checked alone; together they may still not make a head
            head, cohort = self._global.head, self._cohort if answered.issuperset(self._cohort.devices) else Cohort()
            made = combine(self._strategy, self._entries, head, anchor, state, screening=screening, cohort=cohort)
        except StorageError:
            raise
        except Exception as error:  # a strategy may be another package's
            self.abandon(f"abandoned: {type(error).__name__}: {error}"[:500])
            return
        used = answered - set(made.left_out)
        if not used:
            with self._ledger.transaction():
                for device, why in made.left_out.items():
                    self._leave_out(device, why)
                self.abandon(f"abandoned: all {len(answered)} updates were left out by the screening")
            return
        figures = self._figures(used)
        old = self.rounds.base
        base = Base(release_id=old.release_id, revision=old.revision + 1)
        outcome = f"revision {base.revision}"
        closed = self._message("closed", outcome, figures, left_out=len(made.left_out))
        with self._ledger.transaction():
            self._global.publish_head(made.head, made.state, closed, figures.examples)
            for device, why in made.left_out.items():
                self._leave_out(device, why)
            self._ledger.forgive(used)
            if self._strategy.kind == "statistics":
                self._ledger.keep_statistics(number, used)
            self._ledger.settle(number, "used", outcome)
            self._ledger.close_round(
                number, utc_now(), outcome, losses=figures.losses, bytes_up=figures.bytes_up, made=base.revision
            )
            self._ledger.set_setting(SPENT, str(self.rounds.completed + 1))
            self._ledger.set_setting(CLOSED, closed.model_dump_json())
        self._global.reload()
        log.info("round %d: %d devices, loss %.4f -> %.4f, %s", number, len(used), *figures.losses, outcome)
        self._publish("head", self._global.payloads["head"])
        self._close(base)
        self._publish_round(closed)

    def _leave_out(self, device: str, why: str) -> None:
        number, most = self.rounds.number, self._settings.strikes
        log.warning("round %d: %s left out: %s", number, device, why)
        self._ledger.settle(number, "left out", why, {device})
        if self._ledger.strike(device, why) >= most:
            self._ledger.set_standing(device, "quarantined", f"left out {most} times running, at last: {why}")
            self.rounds.device(device, None)
            log.warning("%s is quarantined", device)

    def _entries(self) -> Iterator[Entry]:
        """The open round's updates, and of statistics also the newest of every other device."""
        base, answered = self.rounds.base, self.rounds.answered
        for device, update, revision in self._ledger.waiting(self.rounds.number):
            yield Entry(device, update, base.revision - revision)
        if self._strategy.kind == "statistics":
            for entry in self._kept():
                if entry.device not in answered:
                    yield entry

    def _kept(self, release_id: str | None = None) -> Iterator[Entry]:
        """The newest statistics of every device that takes part."""
        out = self._ledger.kept_out()
        for device, update, _ in self._ledger.statistics(release_id or self._global.release.id):
            if device not in out:
                yield Entry(device, update, new=False)

    def drop(self, device: str, why: str) -> None:
        """Take what ``device`` has sent out of the open round."""
        self.rounds.answered.discard(device)
        self.rounds.device(device, None)
        self._ledger.settle(self.rounds.number, "refused", why, {device})

    def solve_again(self, release: Release) -> Head:
        """The head of a release from the statistics that are left; of none, its own."""
        if next(self._kept(release.id), None) is None:
            return release.head
        entries, anchor, screening = partial(self._kept, release.id), release.head.weights, self._settings.screening
        return combine(self._strategy, entries, release.head, anchor, {}, screening=screening).head

    def _figures(self, used: Collection[str]) -> Figures:
        examples = bytes_up = 0
        before = after = 0.0
        for device, size, count, loss_before, loss_after in self._ledger.headers(self.rounds.number):
            bytes_up += size
            if device in used:
                examples += count
                before += count * loss_before
                after += count * loss_after
        return Figures(examples, bytes_up, (before / examples, after / examples))

    def _publish_round(self, message: RoundMessage) -> None:
        self._publish("round", self._global.sealed("round", message))

    def _message(
        self,
        state: Literal["open", "closed"],
        outcome: str | None = None,
        figures: Figures | None = None,
        **more: Any,
    ) -> RoundMessage:
        settings, rounds = self._settings, self.rounds
        names = tuple(sorted(rounds.answered)) if state == "closed" and len(rounds.answered) <= MOST_NAMES else ()
        return RoundMessage(
            round_number=rounds.number,
            serial=self._global.head_serial,
            state=state,
            base=rounds.base,
            strategy=settings.strategy,
            kind=self._strategy.kind,
            mode=settings.mode,
            max_staleness=settings.staleness,
            invited=None if rounds.invited is None else tuple(sorted(rounds.invited)),
            min_examples=settings.min_examples,
            signed=self._signed,
            proximal=settings.proximal,
            deadline_s=settings.deadline_s,
            opened_utc=self._opened_utc,
            quorum=settings.quorum,
            updates=len(rounds.answered),
            answered=names,
            loss_before=figures.losses[0] if figures else None,
            loss_after=figures.losses[1] if figures else None,
            bytes_up=figures.bytes_up if figures else 0,
            outcome=outcome,
            **more,
        )


def rules_of(settings: Settings) -> Rules:
    """When rounds open and close, by configuration."""
    return Rules(
        mode=settings.mode,
        quorum=settings.quorum,
        devices=settings.devices or settings.quorum,
        deadline_s=settings.deadline_s,
        pause_s=settings.pause_s,
        rounds=settings.rounds,
        new_windows=settings.new_windows,
        invite=settings.invite,
        min_examples=settings.min_examples,
        max_staleness=settings.staleness,
    )
