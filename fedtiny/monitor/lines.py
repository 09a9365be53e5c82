"""A fleet for programs and pipes: one JSON line an event, or one plain line for what is news."""

import json
from typing import Any

from fedtiny.monitor.view import FleetView


class JsonLines:
    """Every message, as ``FleetView.apply`` gives it."""

    def __call__(self, view: FleetView, event: dict[str, Any] | None) -> None:
        """Print ``event``."""
        if event is not None:
            print(json.dumps(event), flush=True)


class PlainLines:
    """What a person would want to know."""

    def __init__(self) -> None:
        self._printed = 0

    def __call__(self, view: FleetView, event: dict[str, Any] | None) -> None:
        """Print what has come to the log."""
        if new := min(view.logged - self._printed, len(view.log)):
            for entry in list(view.log)[-new:]:
                print(entry, flush=True)
        self._printed = view.logged
