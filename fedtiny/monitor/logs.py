"""The program's own log, in the event log for as long as the screen belongs to the view."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fedtiny.monitor.view import FleetView


class _Notes(logging.Handler):
    def __init__(self, view: FleetView) -> None:
        super().__init__(logging.WARNING)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.note(record.created, record.getMessage(), "trouble")


@contextmanager
def noted_in(view: FleetView) -> Iterator[None]:
    """Put warnings and errors into ``view`` in the place of stderr."""
    root, ours = logging.getLogger(), _Notes(view)
    before, root.handlers = root.handlers, [ours]
    try:
        yield
    finally:
        root.handlers = before
