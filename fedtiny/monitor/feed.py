"""A monitor's connection: what comes in, and how the link stands. It reconnects by itself."""

import os
import time
from collections.abc import Callable, Iterator

from fedtiny.config import Config
from fedtiny.monitor.view import utc
from fedtiny.protocol import topics
from fedtiny.transport import Connected, Connection, Disconnected, Event


def connect(config: Config) -> Connection:
    """A connection that is given all of the fleet's topics, or those of them that the broker lets us read."""
    return Connection(
        config.broker,
        f"monitor-{os.getpid()}-{os.urandom(3).hex()}",
        subscriptions=[(topics.everything_filter(config.fleet), 1)],
    )


class Feed:
    """Events of ``link``, and its state.

    Attributes:
        connected: Whether the broker has us.
        reason: Why it has not; empty where that is not known yet.
        since: Unix time of the last change between the two.
    """

    def __init__(self, where: str, link: Connection, clock: Callable[[], float] = time.time) -> None:
        self._where, self._link, self._clock = where, link, clock
        self.connected, self.reason, self.since = False, "", clock()
        self._had_one = False
        self.start, self.stop, self.publish = link.start, link.stop, link.publish

    def next(self, timeout_s: float) -> Event | None:
        """The oldest unread event; waits at most ``timeout_s`` for one."""
        event = self._link.next_event(timeout_s)
        if isinstance(event, Connected):
            self.connected, self.reason, self.since, self._had_one = True, "", self._clock(), True
        elif isinstance(event, Disconnected):
            self.since = self._clock() if self.connected else self.since
            self.connected, self.reason = False, event.reason
        return event

    def waiting(self, at_most_s: float) -> Iterator[Event]:
        """What has come in, as long as that takes no longer than ``at_most_s``."""
        until = time.monotonic() + at_most_s
        while time.monotonic() < until and (event := self.next(0.0)) is not None:
            yield event

    def __str__(self) -> str:
        if self.connected:
            return f"{self._where} connected"
        if not self.reason:
            return f"{self._where} connecting"
        return f"{'LOST' if self._had_one else 'no connection'} since {utc(self.since)[11:19]}, trying again"
