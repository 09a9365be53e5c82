"""``fedtiny edge tell``: an operator's command to one device."""

import time
import uuid

from fedtiny.config import Config
from fedtiny.errors import ConfigError, TransportError
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import Command
from fedtiny.transport import Connected, Connection, Disconnected, Published

TIMEOUT_S = 15.0


def tell(config: Config, device: str, action: str) -> None:
    """Hand ``action`` for ``device`` to the broker, signed where there is a key.

    Raises ConfigError where devices could not believe the signature, TransportError where the broker does not answer.
    """
    topic = topics.device_topic(config.fleet, topics.check_id(device, "device"), "command")
    issued_ms = time.time_ns() // 1_000_000
    command = Command(action=action, id=uuid.uuid4().hex, issued_ms=issued_ms)  # type: ignore[arg-type]
    payload = codec.encode(command)
    key = None if config.trust.key is None else signing.load_key(config.trust.key)
    if config.trust.operator and (key is None or signing.public_key(key) not in config.trust.operator):
        own = f"{config.trust.key}: this key" if key else "trust.key: not set, and a command without a signature"
        raise ConfigError(f"{own} is none of trust.operator: no device would obey; take an operator's configuration")
    if key is not None:
        payload = signing.sign(topic, payload, key, command.encoding)
    connection = Connection(config.broker, f"tell-{uuid.uuid4().hex[:12]}", subscriptions=())
    connection.start()
    deadline, reason, outcome = time.monotonic() + TIMEOUT_S, "no answer", "nothing was sent"
    try:
        while time.monotonic() < deadline:
            match connection.next_event(deadline - time.monotonic()):
                case Connected():
                    connection.publish(topic, payload)
                    outcome = "it is not known whether the broker has the command"
                case Published():
                    return
                case Disconnected(reason):
                    break
    finally:
        connection.stop(timeout_s=0)
    raise TransportError(f"{reason}; {outcome}")
