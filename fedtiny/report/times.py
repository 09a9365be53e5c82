"""Times and durations as words, all UTC; and where to mark a time axis."""

from datetime import UTC, datetime
from typing import Any

from fedtiny.report.numbers import plain
from fedtiny.report.values import DASH

HOUR, DAY = 3600, 86_400
STEPS = (60, 300, 900, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY)


def parsed(text: Any) -> datetime | None:
    """A time in ISO 8601, UTC where it does not say; None where it is none."""
    try:
        found = datetime.fromisoformat(str(text))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def when(text: Any) -> str:
    """Day, month, time: "3 Nov 14:05"."""
    found = parsed(text)
    return DASH if found is None else f"{found.day}\u00a0{found:%b} {found:%H:%M}"


def day(text: Any) -> str:
    """With the year: "3 Nov 2026 14:05"."""
    found = parsed(text)
    return DASH if found is None else f"{found.day}\u00a0{found:%b} {found:%Y} {found:%H:%M}"


def duration(seconds: float) -> str:
    """The two largest units: "2 d 4 h"."""
    parts = []
    for size, unit in ((DAY, "d"), (HOUR, "h"), (60, "min")):
        if count := int(seconds // size):
            parts.append(f"{plain(count)}\u00a0{unit}")
            seconds -= count * size
    return " ".join(parts[:2]) or "under a minute"


def between(start: Any, end: Any) -> str:
    """The duration between two times; a dash where one of them is none."""
    first, last = parsed(start), parsed(end)
    return DASH if first is None or last is None else duration(max((last - first).total_seconds(), 0.0))


def ticks(start: float, end: float, most: int = 6) -> list[float]:
    """Round times between two of them, seconds since 1970."""
    step = next((step for step in STEPS if (end - start) / step <= most), STEPS[-1])
    return [float(t) for t in range(-int(-start // step) * step, int(end) + 1, step)]


def tick_text(start: float, end: float) -> Any:
    """How a tick of that axis reads: hours within two days, days beyond."""
    layout = "%H:%M" if end - start <= 2 * DAY else "%-d %b"
    return lambda tick: datetime.fromtimestamp(tick, UTC).strftime(layout)
