"""Whether an agent could start here: what ``fedtiny edge check`` looks at, one line each."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedtiny.config import Config
from fedtiny.errors import FedTinyError

ANSWER_S = 5.0  # a broker that takes longer to accept a connection is as good as away


@dataclass(frozen=True)
class Finding:
    """One check: what it looked at, and what it found or what is wrong."""

    what: str
    fine: bool
    text: str


def preflight(config: Config) -> Iterator[Finding]:
    """Check, in this order: device id, state folder, interpreter, source, broker.

    The source is opened and closed again, so that no sensor may be in use by an agent. A broker that is away keeps
    no agent from starting.
    """
    checks: dict[str, Callable[[Config], str]] = {
        "device": _device,
        "state": _state,
        "interpreter": _interpreter,
        "source": _source,
        "broker": _broker,
    }
    for what, check in checks.items():
        try:
            yield Finding(what, True, check(config))
        except (FedTinyError, OSError) as error:
            yield Finding(what, False, str(error))


def _device(config: Config) -> str:
    if config.device is None:
        raise FedTinyError('not set; device = "..." in the configuration')
    return f"{config.device} of fleet {config.fleet}"


def _state(config: Config) -> str:
    folder = config.state_folder(config.device or "device")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
    return f"{folder} can be written"


def _interpreter(config: Config) -> str:
    from fedtiny.model.interpreter import load_runtime

    return load_runtime(config.edge.runtime).name


def _source(config: Config) -> str:
    from fedtiny.sources import open_source

    source = open_source(config)
    try:
        return f"{source.name}: {', '.join(source.channels)} at {source.sample_rate_hz:g} Hz"
    finally:
        source.close()


def _broker(config: Config) -> str:
    host, port = config.broker.host, config.broker.port
    try:
        socket.create_connection((host, port), ANSWER_S).close()
    except OSError as error:
        reason = "no such host" if isinstance(error, socket.gaierror) else error.strerror or str(error)
        raise FedTinyError(f"{host}:{port}: {reason}") from None
    return f"{host}:{port} answers"
