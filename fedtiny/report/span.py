"""A span of time, as operators write it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fedtiny.errors import ConfigError

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
EXPECTED = "expected 24h, 7d, 2026-11-01 or 2026-11-01T06:00Z"


@dataclass(frozen=True)
class Span:
    """From ``since``, to before ``until``; both UTC, whole seconds."""

    since: datetime
    until: datetime

    @classmethod
    def parse(cls, since: str, until: str | None, now: datetime) -> "Span":
        """Each end an age ("7d") or a time ("2026-11-01"), UTC where it does not say; ConfigError for others."""
        span = cls(_time(since, "--since", now), now if until is None else _time(until, "--until", now))
        if span.since >= span.until:
            raise ConfigError(f"--since {since}: expected a time before {span.until_utc}, where the span ends")
        return span

    @property
    def since_utc(self) -> str:
        """ISO 8601, as the ledger has times."""
        return self.since.isoformat(timespec="seconds")

    @property
    def until_utc(self) -> str:
        """ISO 8601, as the ledger has times."""
        return self.until.isoformat(timespec="seconds")

    @property
    def seconds(self) -> tuple[int, int]:
        """Both ends, seconds since 1970."""
        return int(self.since.timestamp()), int(self.until.timestamp())


def _time(text: str, option: str, now: datetime) -> datetime:
    try:
        if age := re.fullmatch(r"(\d{1,6})([mhdw])", text):
            return now - timedelta(**{UNITS[age[2]]: int(age[1])})
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise ConfigError(f"{option} {text!r}: {EXPECTED}") from None
