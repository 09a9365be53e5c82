"""Where operators' orders come in over MQTT: believed or not, then laid down in the ledger like those of the CLI.

A command is remembered in the same transaction as its order: one that the broker delivers again, after a crash too,
orders nothing twice (see ``fedtiny.guard``). Each that is carried out makes a revision, which stays on the disk: how
many may come in a minute is bounded by what the ledger has of them, so that a restart gives no new ones.
"""

import json
import logging
from datetime import datetime, timedelta

from fedtiny.clock import utc_now
from fedtiny.config import Trust
from fedtiny.errors import ProtocolError
from fedtiny.guard import Guard
from fedtiny.intake import RefusedError
from fedtiny.ledger import Ledger
from fedtiny.orders import RollbackHead
from fedtiny.protocol import codec
from fedtiny.protocol.messages import FleetCommand

log = logging.getLogger(__name__)
DONE = "commands done"  # the setting of the ledger that remembers them
MOST, WITHIN = 8, timedelta(minutes=1)


class Letterbox:
    """Takes the commands of operators whose keys ``trust`` pins; of anybody where it has no key at all."""

    def __init__(self, ledger: Ledger, trust: Trust) -> None:
        self._ledger = ledger
        self._guard = Guard(trust, json.loads(ledger.setting(DONE) or "{}"))
        self._closed = trust.key is not None and not trust.operator
        if self._closed:
            log.warning("trust.operator: no key is pinned: commands over MQTT are refused, anybody could send them")

    def take(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Lay down what a FleetCommand orders, once; RefusedError where it is none that counts.

        One too many is laid down as refused, so that its sender hears of it.
        """
        if self._closed:
            raise RefusedError("command", "trust.operator pins no key to check it by")
        if retained:
            raise RefusedError("command", "a retained one would act at every connect")
        try:
            command = codec.decode(FleetCommand, self._guard.body("command", topic, payload))
            if self._guard.has_done(command):
                return
        except ProtocolError as error:
            raise RefusedError("command", str(error)) from None
        order = RollbackHead(revision=command.revision, release_id=command.release_id, command=command.id)
        now = utc_now()
        earliest = (datetime.fromisoformat(now) - WITHIN).isoformat()
        too_many = self._ledger.commands_between(earliest, now) >= MOST
        number = self._ledger.give_order(order.model_dump_json(), now)
        if too_many:
            outcome = f"{MOST} commands wait or were carried out within a minute; give it again later"
            self._ledger.finish_order(number, ok=False, outcome=outcome, now=now)
        self._ledger.drop_commands()
        self._guard.done(command)
        self._ledger.set_setting(DONE, json.dumps(self._guard.saved()))
