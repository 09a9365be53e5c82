"""``fedtiny.toml``, checked when it is read: frozen models, unknown keys fail, defaults for everything."""

import base64
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from fedtiny.errors import ConfigError
from fedtiny.protocol.topics import ID_PATTERN, check_id

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("expected different names")
    return names


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1), AfterValidator(_distinct)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Broker(_Section):
    """Where the MQTT broker listens, and who we are to it.

    ``ca``: TLS, with a broker whose certificate this CA has signed. ``certificate`` and ``key``: our own, for brokers
    that ask for one. All are PEM files; a relative path starts at the folder of the configuration file.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if self.certificate is not None and self.ca is None:
            raise ValueError("a certificate needs ca: without it the connection is not encrypted")
        return self


class _Source(_Section):
    """What every source may be told: the shaft's speed and the operating point, where they never change."""

    speed_hz: Annotated[float, Field(gt=0)] | None = None
    point: str = ""


class ReplaySource(_Source):
    """Recordings of a machine played again; the simulator where there is no ``data``."""

    kind: Literal["replay"] = "replay"
    data: Path | None = None
    machine: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    speed: Annotated[float, Field(ge=0)] = 1.0
    skip: Annotated[int, Field(ge=0)] = 0
    repeat: Annotated[int, Field(ge=0)] = 1


class RowsSource(_Source):
    """Ready-made features: a CSV with a header, a row a snapshot.

    ``channels`` picks the columns; ``time`` is the one with each row's time.
    """

    kind: Literal["rows"]
    path: Path
    channels: Names | None = None
    sample_rate_hz: Rate = 1.0
    time: str | None = None


class _Sampled(_Source):
    """``silent_s``: nothing for so long is a fault of the sensor; more than it pauses when it is well."""

    sample_rate_hz: Rate
    channels: Names
    silent_s: Annotated[float, Field(gt=0)] | None = None


class _Live(_Sampled):
    silent_s: Annotated[float, Field(gt=0)] = 60.0


class FolderSource(_Sampled):
    """A folder that recordings are put into."""

    kind: Literal["folder"]
    path: Path
    poll_s: Annotated[float, Field(gt=0, le=3600)] = 1.0


class IioSource(_Live):
    """A Linux IIO accelerometer: its name ("adxl345"), or its folder's ("iio:device0").

    ``trigger``: name of the trigger that starts each scan, for a device that has none of its own.
    """

    kind: Literal["iio"]
    device: str
    channels: Names = ("x", "y", "z")
    trigger: str | None = None


class MqttSource(_Live):
    """Frames of a sensor node on an MQTT topic; of the fleet's broker where no other is given.

    ``continuous``: a frame begins where the one before it ended; else each is a snapshot of its own.
    """

    kind: Literal["mqtt"]
    topic: Annotated[str, Field(pattern=r"^[^+#]+$")]
    broker: Broker | None = None
    continuous: bool = False


class _Stream(_Live):
    """``scale``: of the integers in binary frames, physical units a step."""

    format: Literal["csv", "binary"] = "csv"
    scale: Annotated[float, Field(gt=0)] = 1.0


class SerialSource(_Stream):
    """A stream on a serial port."""

    kind: Literal["serial"]
    port: str
    baud: Positive = 115_200


class StdinSource(_Stream):
    """A stream on the standard input."""

    kind: Literal["stdin"]


def _kind(value: Any) -> str:
    return str(value.get("kind", "replay") if isinstance(value, dict) else getattr(value, "kind", value))


Source = Annotated[
    Annotated[ReplaySource, Tag("replay")]
    | Annotated[FolderSource, Tag("folder")]
    | Annotated[IioSource, Tag("iio")]
    | Annotated[MqttSource, Tag("mqtt")]
    | Annotated[SerialSource, Tag("serial")]
    | Annotated[StdinSource, Tag("stdin")]
    | Annotated[RowsSource, Tag("rows")],
    Discriminator(
        _kind,
        custom_error_type="source_kind",
        custom_error_message="expected a table with the kind replay, folder, iio, mqtt, serial, stdin or rows",
    ),
]


class Signal(_Section):
    """Windows and bands; what is left out follows from the sample rate and the recordings' length.

    ``feature = "given"``: the data are rows of ready-made features, a column each, and need no windows.
    """

    feature: Literal["log-band-energies", "given"] = "log-band-energies"
    window: Annotated[int, Field(ge=8)] | None = None
    hop: Positive | None = None
    bands: Positive | None = None


class Train(_Section):
    """The autoencoder. ``hidden``: units of the hidden layers, e.g. [64, 16, 64]."""

    hidden: tuple[Positive, ...] | None = None
    epochs: Positive = 300
    patience: Positive = 20
    batch_size: Positive = 32
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-3
    validation_share: Share = 0.2
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


MONTH_S = 30.4375 * 86400


class Edge(_Section):
    """The agent on a device.

    The false-alarm budget is a share of the windows, or so many alarms a month of windows that come every ``every_s``
    seconds; a live stream that gives more windows than that has the others left out.
    """

    runtime: Literal["auto", "litert", "tflite"] = "auto"
    learn_windows: Annotated[int, Field(ge=4, le=5_000)] = 60
    buffer_windows: Annotated[int, Field(ge=8, le=10_000)] = 1024
    false_alarm_rate: Share = 0.01
    false_alarms_per_month: Annotated[float, Field(gt=0, le=1e6)] | None = None
    every_s: Annotated[float, Field(gt=0, le=1e6)] | None = None
    alarm_votes: Positive = 3
    alarm_window: Annotated[int, Field(ge=1, le=1000)] = 5
    alarm_clear: Annotated[float, Field(gt=0, le=1)] = 0.8
    alarm_hold_s: Annotated[float, Field(gt=0, le=1e7)] = 3600.0
    operating_points: Annotated[int, Field(ge=1, le=8)] = 1
    personal_head: bool = True
    evidence_files: Annotated[int, Field(ge=0, le=10_000)] = 16
    score_every: Positive = 32

    @property
    def window_rate(self) -> float:
        """The budget as a share of the windows."""
        if self.false_alarms_per_month is None or self.every_s is None:
            return self.false_alarm_rate
        return min(0.5, self.false_alarms_per_month * self.every_s / MONTH_S)

    @model_validator(mode="after")
    def _known_interval(self) -> Self:
        if self.false_alarms_per_month is not None and self.every_s is None:
            raise ValueError("false_alarms_per_month needs every_s: the seconds from one window to the next")
        return self


class Coordinator(_Section):
    """Rounds: when they open and close, and how updates become a head.

    ``mode``: ``rounds`` asks all, or ``invite`` of them, and waits for ``quorum`` answers and at most
    ``deadline_s``; ``buffered`` takes updates as they come and makes a head of every ``quorum`` of them.
    ``rounds``: how many on the same data, 0 for no end; they begin again when the fleet has ``new_windows`` more, 0
    for never. ``max_staleness``: how many revisions behind an update may be; 0 in mode ``rounds`` and 10 in mode
    ``buffered`` unless given. ``screening``: leave out updates that stand apart from the others; ``strikes`` of
    them put a device into quarantine. ``options``: of the strategy. ``history_days``: that alarms are remembered for;
    scores and resources are for at most 35 of them.
    """

    strategy: Annotated[str, Field(pattern=rf"^{ID_PATTERN}$")] = "fedavg"
    options: dict[str, float] = {}
    mode: Literal["rounds", "buffered"] = "rounds"
    rounds: Annotated[int, Field(ge=0)] = 5
    new_windows: Annotated[int, Field(ge=0)] = 0
    quorum: Positive = 1
    devices: Positive | None = None
    invite: Positive | None = None
    min_examples: Annotated[int, Field(ge=1, le=10_000)] = 1
    max_staleness: Annotated[int, Field(ge=0, le=1000)] | None = None
    deadline_s: Annotated[float, Field(gt=0, le=1e7)] = 60.0
    pause_s: Annotated[float, Field(ge=0, le=1e7)] = 0.0
    proximal: Annotated[float, Field(ge=1e-6, le=1e6)] = 0.3
    screening: bool = True
    strikes: Positive = 3
    history_days: Annotated[int, Field(ge=1, le=3660)] = 400

    @property
    def staleness(self) -> int:
        """``max_staleness``, or its default for the mode."""
        return self.max_staleness if self.max_staleness is not None else 10 * (self.mode == "buffered")

    @model_validator(mode="after")
    def _enough_devices(self) -> Self:
        if self.devices is not None and self.devices < self.quorum:
            raise ValueError(f"devices ({self.devices}) must not be below the quorum ({self.quorum})")
        if self.invite is not None and self.invite < self.quorum:
            raise ValueError(f"invite ({self.invite}) must not be below the quorum ({self.quorum})")
        return self


class Metrics(_Section):
    """Where Prometheus may fetch the figures of an agent or of the coordinator; nowhere unless ``port`` is set."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None


def _public_key(value: str) -> str:
    try:
        if len(base64.b64decode(value, validate=True)) == 32:
            return value
    except ValueError:
        pass
    raise ValueError("expected an Ed25519 public key: 32 bytes in base64")


PublicKey = Annotated[str, AfterValidator(_public_key)]


class Trust(_Section):
    """Who is believed, by signature; where nothing is set, everybody whom the broker lets publish.

    ``coordinator``, ``operator``: Ed25519 public keys (base64) for release, heads and rounds, and for commands;
    several while one replaces another. ``devices``: PEM file of the CA under whose certificates updates must be
    signed. ``key``: the private key (PEM, Ed25519) that this process signs with; ``certificate``: a device's, that
    goes with its updates. Relative paths start at the folder of the configuration file.
    """

    coordinator: tuple[PublicKey, ...] = ()
    operator: tuple[PublicKey, ...] = ()
    devices: Path | None = None
    key: Path | None = None
    certificate: Path | None = None


class Config(_Section):
    """The whole file. ``state``: the folder of the process that reads it; each command has a default of its own."""

    fleet: str = "plant"
    device: str | None = None
    state: Path | None = None
    broker: Broker = Broker()
    source: Source = ReplaySource()
    signal: Signal = Signal()
    train: Train = Train()
    edge: Edge = Edge()
    coordinator: Coordinator = Coordinator()
    trust: Trust = Trust()
    metrics: Metrics = Metrics()

    def state_folder(self, role: str) -> Path:
        """``state``, or ``state/<role>`` below the working directory where it is not set."""
        return self.state or Path("state") / role

    @field_validator("fleet", "device")
    @classmethod
    def _ids(cls, value: str | None) -> str | None:
        return value if value is None else check_id(value, "id")


FILES = {"broker": ("ca", "certificate", "key"), "trust": ("devices", "key", "certificate")}


def _resolve_files(data: dict[str, Any], folder: Path) -> None:
    """Let the files that lie beside a configuration be found from anywhere."""
    for section, keys in FILES.items():
        table = data.get(section)
        for key in keys:
            if isinstance(table, dict) and isinstance(table.get(key), str):
                table[key] = str(folder / table[key])


def load_config(path: Path | None, **overrides: Any) -> Config:
    """Read ``path`` (defaults where None) and lay ``overrides`` over it.

    An override is named section__key (``broker__port=1884``); those that are None are not given.
    Raises ConfigError with the file, the key, what was found and what was expected.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(path.read_text())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
        _resolve_files(data, path.parent)
    for name, value in overrides.items():
        if value is not None:
            *sections, key = name.split("__")
            target = data
            for section in sections:
                target = target.setdefault(section, {})
                if not isinstance(target, dict):
                    raise ConfigError(f"{path}: {section}: found {target!r}, expected a table")
            target[key] = value
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{path or 'configuration'}: unknown key {key!r}") from None
        if first["type"] == "value_error":
            raise ConfigError(f"{path or 'configuration'}: {key}: {first['ctx']['error']}") from None
        found = f"found {first['input']!r}" if first["type"] != "missing" else "not found"
        raise ConfigError(f"{path or 'configuration'}: {key}: {found}; {first['msg']}") from None
    except ConfigError as error:
        raise ConfigError(f"{path or 'configuration'}: {error}") from None
