"""An operator's commands to a device or the coordinator: made, signed where there is a key, handed to the broker."""

import time
import uuid
from dataclasses import dataclass
from typing import Any

from fedtiny.config import Config
from fedtiny.errors import ConfigError, TransportError
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import Base, Command, FleetCommand
from fedtiny.transport import Connected, Connection, Disconnected, Published

TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Sealed:
    """A command as it goes out: QoS 1, not retained. ``id``: its own, by which it acts once."""

    topic: str
    payload: bytes
    id: str


def to_device(config: Config, device: str, action: str) -> Sealed:
    """The command to do ``action``; ConfigError where devices could not believe its signature."""
    topic = topics.device_topic(config.fleet, topics.check_id(device, "device"), "command")
    return _seal(config, topic, Command(action=action, **_stamp()))  # type: ignore[arg-type]


def roll_back(config: Config, base: Base) -> Sealed:
    """The command to bring the head of an older revision of the current release back; ConfigError as above."""
    topic = topics.fleet_topic(config.fleet, "command")
    return _seal(config, topic, FleetCommand(action="roll-back", **base.model_dump(), **_stamp()))


def tell(config: Config, device: str, action: str) -> None:
    """Hand the command to the broker over a connection of its own.

    Raises ConfigError where devices could not believe the signature, TransportError where the broker does not answer.
    """
    command = to_device(config, device, action)
    connection = Connection(config.broker, f"tell-{uuid.uuid4().hex[:12]}", subscriptions=())
    connection.start()
    deadline, reason, outcome = time.monotonic() + TIMEOUT_S, "no answer", "nothing was sent"
    try:
        while time.monotonic() < deadline:
            match connection.next_event(deadline - time.monotonic()):
                case Connected():
                    connection.publish(command.topic, command.payload)
                    outcome = "it is not known whether the broker has the command"
                case Published():
                    return
                case Disconnected(reason):
                    break
    finally:
        connection.stop(timeout_s=0)
    raise TransportError(f"{reason}; {outcome}")


def _stamp() -> dict[str, Any]:
    return {"id": uuid.uuid4().hex, "issued_ms": time.time_ns() // 1_000_000}


def _seal(config: Config, topic: str, command: Command | FleetCommand) -> Sealed:
    payload = codec.encode(command)
    key = None if config.trust.key is None else signing.load_key(config.trust.key)
    if config.trust.operator and (key is None or signing.public_key(key) not in config.trust.operator):
        own = f"{config.trust.key}: this key" if key else "trust.key: not set, and a command without a signature"
        raise ConfigError(f"{own} is none of trust.operator: nobody would obey; take an operator's configuration")
    if key is not None:
        payload = signing.sign(topic, payload, key, command.encoding)
    return Sealed(topic, payload, command.id)
