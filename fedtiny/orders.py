"""Operators' orders to a coordinator, laid down in its ledger by another process.

The coordinator carries them out in the order in which they came: at once where it runs, otherwise when it starts next.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fedtiny.clock import utc_now
from fedtiny.errors import ConfigError
from fedtiny.ledger import Ledger
from fedtiny.protocol.messages import Count, Id, Sha256
from fedtiny.store import locked

POLL_S = 0.05


class _Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishRelease(_Order):
    """Publish the release whose file is the object of this id."""

    order: Literal["publish release"] = "publish release"
    release: Sha256


class RollbackRelease(_Order):
    """Publish an older release again; without an id the one before the current one."""

    order: Literal["roll back release"] = "roll back release"
    release_id: Sha256 | None = None


class RollbackHead(_Order):
    """Publish the head of an older revision as a new one; refused where another release than ``release_id`` is current.

    command: id of the message that it came by, which may be empty; None where it came by none.
    """

    order: Literal["roll back head"] = "roll back head"
    revision: Count
    release_id: Sha256 | None = None
    command: str | None = None


class PinHead(_Order):
    """Keep a revision, the newest unless it is given, as the newest: rounds make no other until it is unpinned."""

    order: Literal["pin head"] = "pin head"
    revision: Count | None = None


class UnpinHead(_Order):
    """Let rounds make heads again."""

    order: Literal["unpin head"] = "unpin head"


class _DeviceOrder(_Order):
    device: Id
    reason: str | None = None


class Forget(_DeviceOrder):
    """Take a device's statistics out of the fleet's model, and its waiting updates out of the open round."""

    order: Literal["forget"] = "forget"


class Block(_DeviceOrder):
    """Refuse a device's updates."""

    order: Literal["block"] = "block"


class Unblock(_DeviceOrder):
    """Take the updates of a blocked or quarantined device again."""

    order: Literal["unblock"] = "unblock"


Order = PublishRelease | RollbackRelease | RollbackHead | PinHead | UnpinHead | Forget | Block | Unblock
_ANY: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="order")])


def parse_order(what: str) -> Order:
    """The order that the ledger has as ``what``; ConfigError for one that this version of fedtiny does not know."""
    try:
        return _ANY.validate_json(what)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(f"order {what[:80]!r}: {first['msg']}") from None


@dataclass(frozen=True)
class Receipt:
    """What became of an order. later: no coordinator runs. late: one does, but has not carried it out in time."""

    order: int
    state: Literal["done", "refused", "later", "late"]
    outcome: str


def give(folder: Path, order: Order, wait_s: float) -> Receipt:
    """Lay ``order`` down for the coordinator of the state ``folder``, and wait at most ``wait_s`` for its outcome.

    Raises ConfigError where the folder has no ledger, StorageError where it cannot be written.
    """
    ledger = Ledger(folder, guest=True)
    try:
        number = ledger.give_order(order.model_dump_json(), utc_now())
        deadline = time.monotonic() + wait_s
        while True:
            runs = _coordinator_runs(folder)  # looked at first: one that ends between the two has carried it out
            row = ledger.order(number)
            if row.ok is not None:
                return Receipt(number, "done" if row.ok else "refused", row.outcome or "")
            if not runs:
                said = f"no coordinator runs on {folder}: carried out when it starts next"
                return Receipt(number, "later", said)
            if time.monotonic() >= deadline:
                said = f"not carried out within {wait_s:g} s; it stays in the ledger as order {number}"
                return Receipt(number, "late", said)
            time.sleep(POLL_S)
    finally:
        ledger.close()


def _coordinator_runs(folder: Path) -> bool:
    try:
        with locked(folder):
            return False
    except ConfigError:
        return True
