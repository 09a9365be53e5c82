"""Where operators' orders come in over MQTT: believed or not, then laid down in the ledger like those of the CLI.

A command is remembered in the same transaction as its order: one that the broker delivers again, after a crash too,
orders nothing twice (see ``fedtiny.guard``).
"""

import json

from fedtiny.clock import utc_now
from fedtiny.config import Trust
from fedtiny.errors import ProtocolError
from fedtiny.guard import Guard
from fedtiny.intake import RefusedError
from fedtiny.ledger import Ledger
from fedtiny.orders import RollbackHead
from fedtiny.protocol import codec
from fedtiny.protocol.messages import FleetCommand

DONE = "commands done"  # the setting of the ledger that remembers them


class Letterbox:
    """Takes the commands of operators whose keys ``trust`` pins, or of anybody where it pins none."""

    def __init__(self, ledger: Ledger, trust: Trust) -> None:
        self._ledger = ledger
        self._guard = Guard(trust, json.loads(ledger.setting(DONE) or "{}"))

    def take(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Lay down what a FleetCommand orders, once; RefusedError where it is none that counts."""
        if retained:
            raise RefusedError("command", "a retained one would act at every connect")
        try:
            command = codec.decode(FleetCommand, self._guard.body("command", topic, payload))
            if self._guard.has_done(command):
                return
        except ProtocolError as error:
            raise RefusedError("command", str(error)) from None
        order = RollbackHead(revision=command.revision, command=command.id)
        self._ledger.give_order(order.model_dump_json(), utc_now())
        self._guard.done(command)
        self._ledger.set_setting(DONE, json.dumps(self._guard.saved()))
