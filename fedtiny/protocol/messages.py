"""The messages of the protocol, as pydantic models that check themselves.

Small retained topics are JSON, because people read them with any MQTT client. Messages with tensors (release,
head, update) are CBOR. Tensors travel as bytes, little-endian, C order; the shape follows from the release.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from fedtiny.protocol.topics import ID_PATTERN

Id = Annotated[str, StringConstraints(pattern=rf"^{ID_PATTERN}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Kind = Literal["delta", "statistics"]
StrategyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Message(BaseModel):
    """Base: unknown keys are ignored, so that an older peer understands a newer one."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    encoding: ClassVar[Literal["json", "cbor"]] = "json"
    max_bytes: ClassVar[int] = 64 * 1024


class Base(Message):
    """The (release, revision) that a model is at or an update was computed from."""

    release_id: Sha256
    revision: Count


class ReleaseMessage(Message):
    """``global/release``: the whole release file; its SHA-256 is its id.

    serial: counts all that a coordinator publishes as release or head; a signed one below the newest seen is a replay.
    """

    encoding: ClassVar = "cbor"
    max_bytes: ClassVar = 8 * 1024 * 1024
    release_id: Sha256
    serial: Count = 0
    tflite: bytes


class HeadMessage(Message):
    """``global/head``: the newest revision of the trainable last layer.

    weights: float32, (outputs, inputs + 1), the bias in the last column. output_min, output_max: the range
    that the int8 output must cover, in standardised feature units. serial: as in ReleaseMessage. parent: the revision
    that it was made from. restores: the older revision that this one brings back.
    """

    encoding: ClassVar = "cbor"
    max_bytes: ClassVar = 8 * 1024 * 1024
    release_id: Sha256
    revision: Count
    serial: Count = 0
    parent: Count | None = None
    restores: Count | None = None
    weights: bytes
    output_min: Finite
    output_max: Finite
    strategy: StrategyName | None = None
    round_number: Count = 0
    devices: Count = 0
    num_examples: Count = 0


class RoundMessage(Message):
    """``global/round``: the open round, or its outcome once closed.

    kind: what the strategy asks of a device. mode: ``rounds`` asks for one update to ``base``; ``buffered`` for one to
    every base that a device comes to, as long as that is at most max_staleness revisions old. serial: that of the head
    at ``base``; with the round's number behind it, the order in which rounds come. deadline_s: 0 for none.
    invited: the devices that are asked; None for all. min_examples: a device with fewer windows to fit on stays out.
    signed: updates need the device's certificate and signature. updates: how many came; answered: from whom, where
    they are at most 256; left_out: how many of them the screening left out.
    """

    max_bytes: ClassVar = 1024 * 1024  # with the names of some thousand that are invited
    round_number: Count
    serial: Count = 0
    state: Literal["open", "closed"]
    base: Base
    strategy: StrategyName
    kind: Kind = "delta"
    mode: Literal["rounds", "buffered"] = "rounds"
    max_staleness: Count = 0
    invited: tuple[Id, ...] | None = None
    min_examples: Annotated[int, Field(ge=1, le=10_000)] = 1
    signed: bool = False
    proximal: Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)] = 0.3
    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    deadline_s: Finite
    opened_utc: str
    quorum: Count = 1
    updates: Count = 0
    answered: tuple[Id, ...] = ()
    left_out: Count = 0
    loss_before: Finite | None = None
    loss_after: Finite | None = None
    bytes_up: Count = 0
    outcome: str | None = None


class UpdateMessage(Message):
    """``up/<shard>/<device>/update``: what one device contributes to one round.

    payload is zlib-compressed: of kind ``delta`` the int8 delta (local minus global) with a float32 step per row;
    of kind ``statistics`` the upper triangle of the Gram matrix and the cross-product, float64. losses are mean
    squared reconstruction errors on windows that were kept out of the fine-tuning. certificate: the device's, X.509
    DER, where the round asks for signed updates.
    """

    encoding: ClassVar = "cbor"
    max_bytes: ClassVar = 8 * 1024 * 1024
    device: Id
    round_number: Count
    base: Base
    kind: Kind
    num_examples: Annotated[int, Field(ge=1, le=100_000)]
    payload: bytes
    certificate: Annotated[bytes, Field(max_length=4096)] = b""
    output_min: Finite
    output_max: Finite
    loss_before: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    loss_after: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class OrderOutcome(Message):
    """What became of an order that came by a FleetCommand. command: that one's id."""

    order: str
    command: str = ""
    ok: bool
    outcome: str
    done_utc: str


class FleetStatus(Message):
    """``global/status``: one roll-up of the fleet by the coordinator; its will says offline.

    orders: the newest that came by a command, oldest first. Those given at the coordinator stay in its ledger: every
    device may read this.
    """

    state: Literal["online", "offline"]
    release_id: Sha256 | None = None
    revision: Count = 0
    round_number: Count = 0
    devices: Count = 0
    pinned: Count | None = None
    quarantined: Count = 0
    rejected: dict[str, Count] = {}
    orders: tuple[OrderOutcome, ...] = ()


class HealthReport(Message):
    """How the computer beside the machine does; what its system does not tell is left out. MB are 10^6 bytes.

    lag_s: how far the agent is behind its source. backlog: messages that wait for the broker; lost: those that their
    bound has pushed out.
    """

    cpu_share: Finite | None = None
    rss_mb: Finite | None = None
    temperature_c: Finite | None = None
    throttled_now: tuple[str, ...] | None = None
    throttled_since_boot: tuple[str, ...] | None = None
    disk_free_bytes: Count | None = None
    state_bytes: Count | None = None
    lag_s: Finite | None = None
    backlog: Count = 0
    lost: Count = 0


class HeadInUse(Message):
    """What a device scores with: the global head of ``revision``, its personal step from it, or an older one kept.

    losses: mean squared errors on windows kept out, of the head in use before, the global one and the personal one.
    """

    use: Literal["global", "personal", "kept"]
    revision: Count
    loss_before: Finite | None = None
    loss_global: Finite | None = None
    loss_personal: Finite | None = None


class PointStatus(Message):
    """One operating point: share learned, share of the promise, threshold, share of the drift's bound used up."""

    learned: Finite
    promised: Finite = 0.0
    threshold: Finite | None = None
    drift: Finite = 0.0


class DeviceStatus(Message):
    """``device/<device>/status``: who a device is and how it does; its will says offline.

    learned: share of the windows that scoring waits for. promised: share of those after which the threshold keeps the
    false-alarm budget; at 1 it is a promise. examples: windows that it could fit a head on; fresh: normal windows that
    came in since its last update. version: of fedtiny. conflict: boot id of another agent that uses this device's id.
    alarms: kind and state of those that stand.
    """

    device: Id
    state: Literal["online", "offline"]
    boot_id: str = ""
    phase: Literal["waiting", "learning", "watching"] = "waiting"
    learned: Annotated[float, Field(ge=0, le=1)] = 0.0
    promised: Annotated[float, Field(ge=0, le=1)] = 0.0
    base: Base | None = None
    head: HeadInUse | None = None
    windows: Count = 0
    examples: Count | None = None
    fresh: Count = 0
    threshold: Finite | None = None
    points: dict[str, PointStatus] = {}
    unknown: Count = 0
    sensor_faults: Count = 0
    interpreter: str = ""
    version: str = ""
    peak_rss_mb: Finite | None = None
    bytes_up: Count = 0
    bytes_down: Count = 0
    source: str = ""
    source_done: bool = False
    health: HealthReport | None = None
    conflict: str | None = None
    alarms: dict[str, Literal["raised", "acknowledged"]] = {}
    rejected: dict[str, Count] = {}


class ScoreSummary(Message):
    """``device/<device>/score``: a span of anomaly scores. ``first`` is the number of its first window.

    over: windows that reached their threshold. largest: the span's largest score as a share of the threshold that it
    stood under. level: mean distance from the baseline, which shows what the machine has changed since it was learned;
    scores follow slow drift, levels do not.
    """

    device: Id
    first: Count
    count: Count
    over: Count = 0
    last: Finite
    mean: Finite
    max: Finite
    threshold: Finite | None = None
    largest: Finite | None = None
    level: Finite | None = None
    point: str = ""
    revision: Count = 0
    at_utc: str = ""


AlarmKind = Literal["machine", "sensor"]
AlarmEvent = Literal["raised", "held", "acknowledged", "cleared"]


class BandShare(Message):
    """A band that stands out: its share of the score; Hz, and orders of the shaft where its speed is known."""

    channel: str
    share: Finite
    low_hz: Finite | None = None
    high_hz: Finite | None = None
    low_order: Finite | None = None
    high_order: Finite | None = None


class StandingAlarm(Message):
    """An alarm that stands."""

    kind: AlarmKind
    state: Literal["raised", "acknowledged"]
    raised_utc: str
    reason: str = ""


class Alarm(Message):
    """``device/<device>/alarm``: what changed about a device's alarms, and all that stand after it.

    number: counts a device's alarm messages within an epoch, the life of its state folder; one that comes twice is the
    same. kind: the machine's alarm or
    the sensor's. state: held says that an alarm goes on. at_utc: when it happened, however late it is delivered.
    promised: how much of the false-alarm promise was backed then (see DeviceStatus). trend: means of earlier spans of
    scores as shares of the threshold, oldest first. evidence: the file on the device that keeps the raw windows.
    """

    device: Id
    number: Count = 0
    epoch: str = ""
    kind: AlarmKind = "machine"
    state: AlarmEvent
    window: Count
    at_utc: str
    raised_utc: str = ""
    score: Finite | None = None
    threshold: Finite | None = None
    promised: Finite | None = None
    reason: str = ""
    point: str = ""
    bands: tuple[BandShare, ...] = ()
    trend: tuple[Finite, ...] = ()
    evidence: str | None = None
    standing: tuple[StandingAlarm, ...] = ()


class Command(Message):
    """``device/<device>/command``: what an operator or the coordinator asks of a device.

    acknowledge: the alarms that stand have been seen. re-baseline: forget what is normal and learn it anew, after
    maintenance. id: where it is given, a second command of the same id does nothing. issued_ms: by the clock of whoever
    gives it, milliseconds since 1970; a signed command older than all that a device remembers is a replay.
    """

    action: Literal["acknowledge", "re-baseline"]
    id: Annotated[str, StringConstraints(max_length=64)] = ""
    issued_ms: Count = 0


class FleetCommand(Message):
    """``global/command``: what an operator asks of the coordinator.

    roll-back: publish the head of an older ``revision`` of the release as a new one, where that release is the current
    one. id, issued_ms: as in Command.
    """

    action: Literal["roll-back"]
    release_id: Sha256
    revision: Count
    id: Annotated[str, StringConstraints(max_length=64)] = ""
    issued_ms: Count = 0
