"""What an operator orders from the screen: sent over the monitor's own connection, and what became of it."""

from collections.abc import Callable

from fedtiny.config import Config
from fedtiny.errors import FedTinyError
from fedtiny.monitor.feed import Feed
from fedtiny.protocol.messages import Base, FleetStatus, HeadMessage
from fedtiny.tell import Sealed, roll_back, to_device

Say = Callable[[str, bool], None]  # a text, and whether it went well


class Orders:
    """Sends commands. ``say`` is told what happens to each."""

    def __init__(self, config: Config, feed: Feed, say: Say) -> None:
        self._config, self._feed, self._say = config, feed, say
        self._sent: dict[int, str] = {}  # token -> what it is
        self._awaited: dict[str, str] = {}  # a fleet command's id -> what it is

    def tell(self, device: str, action: str) -> None:
        """Send a command to ``device``."""
        self._send(f"{device}: {action}", lambda: to_device(self._config, device, action))

    def roll_back(self, text: str, head: HeadMessage) -> None:
        """Send the command to bring the revision that ``text`` names back, one of those up to ``head``."""
        try:
            revision = int(text)
        except ValueError:  # a lone sign, or more digits than Python reads
            revision = -1
        if not 0 <= revision <= head.revision:
            self._say(f"roll back: not sent, there is no such revision, the newest is {head.revision}: {text}", False)
            return
        what, base = f"roll back to revision {revision}", Base(release_id=head.release_id, revision=revision)
        if sent := self._send(what, lambda: roll_back(self._config, base)):
            self._awaited[sent.id] = what

    def published(self, token: int) -> None:
        """The broker has one of the messages of this connection."""
        if what := self._sent.pop(token, None):
            self._say(f"{what}: handed to the broker", True)

    def lost(self) -> None:
        """The connection is gone."""
        for what in self._sent.values():
            self._say(f"{what}: not known whether the broker has it; sent again when it is back", False)

    def heard(self, status: FleetStatus | None) -> None:
        """What the coordinator says of its newest orders."""
        for one in status.orders if status else ():
            if what := self._awaited.pop(one.command, None):
                self._say(f"{what}: {'done' if one.ok else 'refused'}: {one.outcome}", one.ok)

    def _send(self, what: str, make: Callable[[], Sealed]) -> Sealed | None:
        if not self._feed.connected:
            self._say(f"{what}: not sent, there is no connection", False)
            return None
        try:
            sealed = make()
            self._sent[self._feed.publish(sealed.topic, sealed.payload)] = what
        except FedTinyError as error:
            self._say(f"{what}: not sent: {error}", False)
            return None
        self._say(f"{what}: sent, the broker has not answered yet", True)
        return sealed
