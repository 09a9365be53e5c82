"""Somebody who listens at a broker, and misses nothing while he is away."""

import time
from collections.abc import Sequence

from fedtiny import config
from fedtiny.transport import Connection, Event


class Listener:
    """Over QoS 1 and a persistent session, so that the broker keeps for it what comes while it is away.

    name: its client id. filters: the topics that it listens to.
    """

    def __init__(self, broker: config.Broker, name: str, filters: Sequence[str]) -> None:
        self._broker, self._name, self._filters = broker, name, filters
        self._connect()

    def _connect(self) -> None:
        subscriptions = [(one, 1) for one in self._filters]
        self._connection = Connection(self._broker, self._name, subscriptions=subscriptions, persistent=True)
        self._connection.start()

    def reconnect(self) -> None:
        """At once, where waiting for the next attempt would take a minute in the end."""
        self.close()
        self._connect()

    def close(self) -> None:
        """Leave; the session stays."""
        self._connection.stop(timeout_s=0)
        self._listen(0)

    def read(self, seconds: float) -> None:
        """Take what has come and what comes within ``seconds``."""
        self._listen(seconds)

    def _listen(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (event := self._connection.next_event(until - time.monotonic())) is not None:
            self._take(event)

    def _take(self, event: Event) -> None:
        raise NotImplementedError
