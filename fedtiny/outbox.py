"""From the store's spool to the broker: in order, at least once, forgotten when the broker has it.

The connection keeps what it was given until it is acknowledged, across reconnects (see ``fedtiny.transport``), so each
message is handed over once in the life of this process; the next process begins again at the oldest.
"""

from contextlib import suppress

from fedtiny.device import Message
from fedtiny.device_store import DeviceStore, Spooled
from fedtiny.errors import StorageError
from fedtiny.transport import Connection

IN_FLIGHT = 16  # messages handed over and not acknowledged; the rest waits on disk, not in memory


class Outbox:
    """The spool's way out over one connection."""

    def __init__(self, store: DeviceStore, connection: Connection) -> None:
        self._store, self._connection = store, connection
        self._sent: dict[int, Spooled] = {}  # by token
        self._done: list[int] = []  # spooled ids to forget
        self._newest = 0

    @property
    def waiting(self) -> int:
        """Messages that the broker does not have yet."""
        return self.totals()[0]

    def totals(self) -> tuple[int, int]:
        """(messages that the broker does not have yet, those that the spool's bounds have pushed out, ever)."""
        try:
            each = self._store.backlog().values()
        except StorageError:  # a disk that cannot be read: what it held is not known
            return 0, 0
        return sum(backlog.messages for backlog in each), sum(backlog.dropped for backlog in each)

    def flush(self) -> None:
        """Hand over what waits, as far as it is allowed to be on its way at once. Call it while online."""
        room = IN_FLIGHT - len(self._sent)
        if room > 0:
            for message in self._store.waiting(self._newest, room):
                token = self._connection.publish(message.topic, message.payload, retain=message.retain)
                self._sent[token], self._newest = message, message.id

    def published(self, token: int) -> Spooled | None:
        """The broker has a message: forget it, and return it where it came from the spool."""
        done = self._sent.pop(token, None)
        if done is not None:
            self._done.append(done.id)
            with suppress(StorageError):  # a full disk: forgotten with a later one, or sent again after a restart
                self._store.delivered(*self._done)
                self._done.clear()
        return done

    def send_unspooled(self, message: Message) -> bool:
        """Hand over what the disk did not take; False, and not done, while older messages wait there."""
        self.flush()
        if self._store.waiting(self._newest, 1):
            return False
        self._connection.publish(message.topic, message.payload, retain=message.retain)
        return True
