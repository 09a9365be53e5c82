"""``fedtiny edge tell``: an operator's command to one device."""

import time
import uuid

from fedtiny.config import Config
from fedtiny.errors import TransportError
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Command
from fedtiny.transport import Connected, Connection, Disconnected, Published

TIMEOUT_S = 15.0


def tell(config: Config, device: str, action: str) -> None:
    """Hand ``action`` for ``device`` to the broker; TransportError when it cannot be reached."""
    topics.check_id(device, "device")
    command = Command(action=action, id=uuid.uuid4().hex)  # type: ignore[arg-type]
    connection = Connection(config.broker, f"tell-{uuid.uuid4().hex[:12]}", subscriptions=())
    connection.start()
    deadline, reason = time.monotonic() + TIMEOUT_S, "no answer"
    try:
        while time.monotonic() < deadline:
            match connection.next_event(deadline - time.monotonic()):
                case Connected():
                    topic = topics.device_topic(config.fleet, device, "command")
                    connection.publish(topic, codec.encode(command))
                case Published():
                    return
                case Disconnected(reason):
                    break
    finally:
        connection.stop(timeout_s=0)
    raise TransportError(f"{reason}; nothing was sent")
