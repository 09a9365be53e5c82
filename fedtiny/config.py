"""``fedtiny.toml``, checked when it is read: frozen models, unknown keys fail, defaults for everything."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedtiny.errors import ConfigError
from fedtiny.protocol.topics import check_id

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Broker(_Section):
    """Where the MQTT broker listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str | None = None
    password: str | None = None


class Signal(_Section):
    """Windows and bands; what is left out follows from the sample rate and the recordings' length."""

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


class Edge(_Section):
    """The agent on a device."""

    runtime: Literal["auto", "litert", "tflite"] = "auto"
    learn_windows: Annotated[int, Field(ge=4)] = 60
    buffer_windows: Annotated[int, Field(ge=8, le=100_000)] = 1024
    false_alarm_rate: Share = 0.01
    alarm_votes: Positive = 3
    alarm_window: Positive = 5
    score_every: Positive = 32


class Coordinator(_Section):
    """Rounds: when they open and close, and how updates become a head."""

    strategy: Literal["fedavg", "ridge"] = "fedavg"
    rounds: Annotated[int, Field(ge=0)] = 5
    quorum: Positive = 1
    devices: Positive | None = None
    deadline_s: Annotated[float, Field(gt=0, le=1e7)] = 60.0
    pause_s: Annotated[float, Field(ge=0, le=1e7)] = 0.0
    proximal: Annotated[float, Field(gt=0, le=1e6)] = 0.3
    ridge: Annotated[float, Field(gt=0, le=1e6)] = 1e-2

    @model_validator(mode="after")
    def _enough_devices(self) -> Self:
        if self.devices is not None and self.devices < self.quorum:
            raise ValueError(f"devices ({self.devices}) must not be below the quorum ({self.quorum})")
        return self


class Config(_Section):
    """The whole file. ``state``: the folder of the process that reads it; each command has a default of its own."""

    fleet: str = "plant"
    device: str | None = None
    state: Path | None = None
    broker: Broker = Broker()
    signal: Signal = Signal()
    train: Train = Train()
    edge: Edge = Edge()
    coordinator: Coordinator = Coordinator()

    def state_folder(self, role: str) -> Path:
        """``state``, or ``state/<role>`` below the working directory where it is not set."""
        return self.state or Path("state") / role

    @field_validator("fleet", "device")
    @classmethod
    def _ids(cls, value: str | None) -> str | None:
        return value if value is None else check_id(value, "id")


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
