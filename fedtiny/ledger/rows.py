"""Rows of the ledger. Fields have the names of their columns; times are what people read, numbers give the order."""

from dataclasses import dataclass
from typing import Literal

from fedtiny.protocol.messages import Kind

Fate = Literal["waiting", "used", "left out", "refused", "abandoned", "forgotten"]
Standing = Literal["active", "quarantined", "blocked"]
PINNED = "pinned"  # setting: the revision that stays the newest until it is unpinned


@dataclass(frozen=True)
class ReleaseRow:
    """A release as it was published. ``object``: the published message."""

    serial: int
    release_id: str
    object: str
    published_utc: str
    why: str


@dataclass(frozen=True, kw_only=True)
class RevisionRow:
    """A head. serial: 0 where it was published without one. round: that made it; None for any other origin.

    ``object`` (the published message) and ``state`` (what the strategy carries on, npz) are set by the ledger.
    """

    release_id: str
    revision: int
    serial: int
    parent: int | None = None
    restores: int | None = None
    round: int | None = None
    created_utc: str
    object: str = ""
    state: str | None = None


@dataclass(frozen=True, kw_only=True)
class RoundRow:
    """A round from ``revision``; closed when ``outcome`` is set. invited: None for all. made: its new revision."""

    number: int
    release_id: str
    revision: int
    strategy: str
    mode: Literal["rounds", "buffered"] = "rounds"
    opened_utc: str
    deadline_s: float
    invited: tuple[str, ...] | None = None
    closed_utc: str | None = None
    outcome: str | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    bytes_up: int = 0
    made: int | None = None


@dataclass(frozen=True, kw_only=True)
class UpdateRow:
    """An update's header and fate. Only of a refused one may more be unknown than that it came.

    digest: SHA-256 of the MQTT payload, hexadecimal; None from before there were any. round_claimed: what the update
    says; round: where it counted. bytes: what the device sent. id: set by the ledger, in the order of arrival.
    """

    device: str
    digest: str | None
    bytes: int
    received_utc: str
    round_claimed: int | None = None
    round: int | None = None
    base_release: str | None = None
    base_revision: int | None = None
    kind: Kind | None = None
    num_examples: int | None = None
    output_min: float | None = None
    output_max: float | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    fate: Fate = "waiting"
    reason: str | None = None
    id: int = 0


@dataclass(frozen=True)
class DeviceRow:
    """A device that was seen or judged. reason: of its standing or its last strike. status: its newest, JSON."""

    device: str
    first_seen_utc: str | None
    last_seen_utc: str | None
    standing: Standing
    reason: str | None
    strikes: int
    status: str | None


@dataclass(frozen=True)
class OrderRow:
    """An operator's order (JSON, see ``fedtiny.orders``); carried out, well or not, when ``ok`` is set."""

    id: int
    at_utc: str
    what: str
    done_utc: str | None
    ok: bool | None
    outcome: str | None


@dataclass(frozen=True)
class AlarmRow:
    """What a device said of an alarm. received_utc: by our clock; at_utc, raised_utc: by the device's.

    bands: JSON, as in ``protocol.messages.Alarm``, those with the largest shares.
    """

    device: str
    received_utc: str
    at_utc: str
    raised_utc: str
    epoch: str
    number: int
    kind: str
    state: str
    reason: str
    window: int
    score: float | None
    threshold: float | None
    point: str
    bands: str


@dataclass(frozen=True)
class ScoreRow:
    """Scores of a device from ``start`` on (seconds since 1970), rolled up.

    over: windows that reached the threshold. share: the largest score as a share of the threshold that it stood under.
    """

    start: int
    device: str
    windows: int
    over: int
    mean: float
    largest: float
    share: float | None
    threshold: float | None
    level: float | None


@dataclass(frozen=True)
class ResourceRow:
    """The largest of what a device said of its computer from ``start`` on (seconds since 1970)."""

    start: int
    device: str
    peak_rss_mb: float | None
    cpu_share: float | None
    temperature_c: float | None
    lag_s: float | None
    throttled: int
