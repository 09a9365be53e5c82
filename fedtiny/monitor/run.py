"""``fedtiny monitor``: which of its faces is shown, and the loop of those that are not a screen."""

import logging
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from fedtiny.config import Config
from fedtiny.errors import ConfigError, FedTinyError, TransportError
from fedtiny.monitor.feed import Feed, connect
from fedtiny.monitor.lines import JsonLines, PlainLines
from fedtiny.monitor.logs import noted_in
from fedtiny.monitor.view import FleetView
from fedtiny.plain import plain
from fedtiny.transport import Connected, Disconnected, Received

WAIT_S = 0.25
QUIET_S = 1.0
ONCE_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)
Show = Callable[[FleetView, dict[str, Any] | None], None]


def run_monitor(config: Config, *, as_json: bool, once: bool, timeout_s: float | None) -> None:
    """``fedtiny monitor``: watch until SIGINT, SIGTERM or ``timeout_s``.

    as_json: one line an event on stdout. Otherwise a full screen on a terminal, and plain lines in a pipe. once:
    print a table once, when the retained messages have come, and end; TransportError without a broker. FedTinyError
    where an error has ended the screen; the log says where it was, at the level debug.
    """
    view = FleetView()
    feed = Feed(f"broker {config.broker.host}:{config.broker.port}", connect(config))
    screen = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))  # textual draws on stderr
    if as_json or not (once or screen):
        _follow(feed, view, JsonLines() if as_json else PlainLines(), once, timeout_s)
        return
    try:
        import_module("rich" if once else "textual")
    except ImportError:
        raise ConfigError("the screen needs textual: pip install 'fedtiny[monitor]' (--json works without)") from None
    if once:
        from rich.console import Console

        from fedtiny.monitor.once import render

        _follow(feed, view, lambda *_: None, once, timeout_s)
        Console().print(render(config, view, str(feed), time.time()))
        return
    from fedtiny.monitor.app import MonitorApp

    app = MonitorApp(config, view, feed, timeout_s)
    with noted_in(view):
        app.run()
    if error := app.failure:
        log.debug("the screen", exc_info=error)
        what = plain(f"{type(error).__name__}: {error}".partition("\n")[0])
        raise FedTinyError(f"an error has ended the screen: {what} (--log-level debug says where)")


def _follow(feed: Feed, view: FleetView, show: Show, once: bool, timeout_s: float | None) -> None:
    """Feed ``view`` from the broker; ``show`` gets each event."""
    start = heard = time.monotonic()
    if once and timeout_s is None:
        timeout_s = ONCE_TIMEOUT_S
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    feed.start()
    try:
        while timeout_s is None or time.monotonic() - start < timeout_s:
            match feed.next(WAIT_S):
                case Received() as message:
                    heard = time.monotonic()
                    show(view, view.apply(message.topic, message.payload, message.retained, time.time()))
                case Connected():
                    heard = time.monotonic()
                case Disconnected(reason):
                    log.warning("%s; trying again", reason)
                case _ if once and feed.connected and time.monotonic() - heard > QUIET_S:
                    break
    except KeyboardInterrupt:
        pass
    finally:
        feed.stop(timeout_s=0)
    if once and not feed.connected:
        raise TransportError(feed.reason or str(feed))
