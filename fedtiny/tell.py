"""``fedtiny edge tell``: an operator's command to one device."""

import time
import uuid

from fedtiny.config import Config
from fedtiny.errors import TransportError
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import Command
from fedtiny.transport import Connected, Connection, Disconnected, Published

TIMEOUT_S = 15.0


def tell(config: Config, device: str, action: str) -> None:
    """Hand ``action`` for ``device`` to the broker, signed where there is a key; TransportError: it was not reached."""
    topic = topics.device_topic(config.fleet, topics.check_id(device, "device"), "command")
    issued_ms = time.time_ns() // 1_000_000
    command = Command(action=action, id=uuid.uuid4().hex, issued_ms=issued_ms)  # type: ignore[arg-type]
    payload = codec.encode(command)
    if config.trust.key is not None:
        payload = signing.sign(topic, payload, signing.load_key(config.trust.key), command.encoding)
    connection = Connection(config.broker, f"tell-{uuid.uuid4().hex[:12]}", subscriptions=())
    connection.start()
    deadline, reason = time.monotonic() + TIMEOUT_S, "no answer"
    try:
        while time.monotonic() < deadline:
            match connection.next_event(deadline - time.monotonic()):
                case Connected():
                    connection.publish(topic, payload)
                case Published():
                    return
                case Disconnected(reason):
                    break
    finally:
        connection.stop(timeout_s=0)
    raise TransportError(f"{reason}; nothing was sent")
