"""The time that people read. Durations are measured with ``time.monotonic``; nothing depends on this clock."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Now, ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
