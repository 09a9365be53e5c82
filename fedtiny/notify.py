"""Tell who looks after the service how it is: ready, status, still alive, stopping. Silent where nobody listens.

systemd hears it by sd_notify(3). A container's health check looks at the age of a file, whose name is in the
environment: FEDTINY_HEARTBEAT.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

BEAT_S = 5.0  # from one touch of the heartbeat file to the next


class Notifier:
    """Says ``alive`` to systemd's watchdog (WatchdogSec) and to the heartbeat file, the rest to systemd alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watched = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._period_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6 if watched else 0.0
        heartbeat = os.environ.get("FEDTINY_HEARTBEAT")
        self._heartbeat = Path(heartbeat) if heartbeat else None
        self._clock, self._next, self._next_beat = clock, 0.0, 0.0

    def ready(self) -> None:
        """The service does its work; units that wait for it may start."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """Call often, from the loop that must not hang: pings at half of the watchdog's time, else costs nothing."""
        now = self._clock()
        if self._period_s and now >= self._next:
            self._next = now + self._period_s
            self._send("WATCHDOG=1")
        if self._heartbeat and now >= self._next_beat:
            self._next_beat = now + BEAT_S
            with suppress(OSError):  # then the check fails, and says so
                self._heartbeat.touch()

    def stopping(self) -> None:
        """The service has begun to end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        # A lost message is not worth an error: systemd restarts what stays silent.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            if self._address:
                sender.sendto(message.encode(), self._address)
