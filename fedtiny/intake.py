"""Judges the updates that come in: each gets a row in the ledger with its fate, and the reason where it is refused."""

import hashlib
from dataclasses import replace

from fedtiny.clock import utc_now
from fedtiny.config import Config
from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.federation.combine import check_update
from fedtiny.federation.local import LocalUpdate
from fedtiny.federation.rounds import Rounds
from fedtiny.federation.screening import Contribution
from fedtiny.federation.strategies import Strategy
from fedtiny.global_state import GlobalState
from fedtiny.ledger import Ledger, UpdateRow
from fedtiny.protocol import codec, signing
from fedtiny.protocol.messages import UpdateMessage

WHY = {
    "late": "no such round is open",
    "stale": "its base is not the round's, or too old for it",
    "uninvited": "the round asks other devices",
    "few": "fewer examples than the round asks for",
    "duplicate": "the device has answered this round",
    "outdated": "newer statistics of the device count already",
}


class RefusedError(ProtocolError):
    """A message that is not taken. ``kind``: under what it is counted."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind, self.why = kind, why


class Intake:
    """The way in for updates."""

    def __init__(self, config: Config, ledger: Ledger, strategy: Strategy, state: GlobalState) -> None:
        self._ledger, self._strategy, self._global = ledger, strategy, state
        ca = config.trust.devices
        self._ca = None if ca is None else signing.load_certificate(ca)

    def take(self, device: str, topic: str, payload: bytes, rounds: Rounds) -> Contribution:
        """Keep an update for the open round and return what the screening notes of it.

        Raises RefusedError, of which a row is kept as well.
        """
        digest = hashlib.sha256(payload).hexdigest()
        if self._ledger.seen(device, digest):
            raise RefusedError("again", "the broker has delivered it before")
        row = UpdateRow(device=device, digest=digest, bytes=len(payload), received_utc=utc_now())
        try:
            self._wanted(device)
            message = codec.decode(UpdateMessage, payload)
            update = LocalUpdate(**{name: getattr(message, name) for name in LocalUpdate.__dataclass_fields__})
            row = replace(
                row,
                round_claimed=message.round_number,
                base_release=message.base.release_id,
                base_revision=message.base.revision,
                kind=message.kind,
                **{name: value for name, value in vars(update).items() if name != "payload"},
            )
            self._check(device, topic, payload, message)
            reason = rounds.judge(message) or self._outdated(message)
            if reason is not None:
                raise RefusedError(reason, WHY[reason])
            staleness = rounds.base.revision - message.base.revision
            found = self._check_numbers(device, update, staleness)
        except ProtocolError as error:
            refusal = error if isinstance(error, RefusedError) else RefusedError("malformed", str(error))
            self._ledger.refuse(row, str(refusal))
            raise refusal from None
        self._ledger.add_update(replace(row, round=rounds.number), update.payload)
        return found

    def _wanted(self, device: str) -> None:
        row = self._ledger.device(device)
        if row is not None and row.standing != "active":
            raise RefusedError(row.standing, row.reason or "by an operator")

    def _check(self, device: str, topic: str, payload: bytes, message: UpdateMessage) -> None:
        if message.device != device:
            raise RefusedError("foreign", "the update names another device than its topic")
        if self._ca is not None:
            try:
                signing.verify_device(topic, payload, message.certificate, self._ca)
            except ProtocolError as error:
                raise RefusedError("signature", str(error)) from None
        if message.kind != self._strategy.kind:
            raise RefusedError(
                "kind", f"it carries {message.kind}, the strategy {self._strategy.name} takes {self._strategy.kind}"
            )

    def _outdated(self, message: UpdateMessage) -> str | None:
        """A broker that delivers again what a killed coordinator had does so behind what is newer."""
        if message.kind == "statistics" and message.round_number < self._ledger.statistics_of(
            message.base.release_id, message.device
        ):
            return "outdated"
        return None

    def _check_numbers(self, device: str, update: LocalUpdate, staleness: int) -> Contribution:
        head, anchor = self._global.head, self._global.release.head.weights
        try:
            return check_update(self._strategy, update, head, anchor, device=device, staleness=staleness)
        except (ProtocolError, ReleaseError) as error:
            raise RefusedError("update", str(error)) from None
