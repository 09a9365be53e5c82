"""What the tests of live sources share."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from fedtiny.signal.recording import Recording

Take = Callable[..., list[Recording]]


@pytest.fixture
def take() -> Take:
    """A function: the next recordings of an iterator, until enough samples or faults have come."""

    def take(
        found: Iterator[Recording | None], *, samples: int = 0, faults: int = 0, timeout_s: float = 20
    ) -> list[Recording]:
        taken: list[Recording] = []
        until = time.monotonic() + timeout_s
        while sum(len(one.samples) for one in taken) < samples or sum(bool(one.fault) for one in taken) < faults:
            assert time.monotonic() < until, [(one.name, len(one.samples), one.fault) for one in taken]
            one = next(found)
            if one is not None:
                taken.append(one)
        return taken

    return take


@pytest.fixture
def opened():
    """A function: a source, closed when the test ends."""
    sources = []

    def opened(source):
        sources.append(source)
        return source

    yield opened
    for source in sources:
        with closing(source):
            pass
