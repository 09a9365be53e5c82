"""Whether an agent could start here: what ``fedtiny edge check`` looks at, one line each."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from fedtiny.config import Config
from fedtiny.errors import ConfigError, FedTinyError
from fedtiny.exposition.agent import AGENT
from fedtiny.exposition.server import exposed
from fedtiny.identity import check_identity, client_id
from fedtiny.store import locked

SAMPLES_S = 3.0  # a sensor on a stream gives some by then, a folder or a slow node need not
ANSWER_S = 10.0  # a broker that takes longer to accept a connection is as good as away


@dataclass(frozen=True)
class Finding:
    """One check: what it looked at, and what it found or what is wrong."""

    what: str
    fine: bool
    text: str


def preflight(config: Config) -> Iterator[Finding]:
    """Check, in this order: device id, state folder, interpreter, source, keys and certificates, metrics, broker.

    The source is opened and closed again, so that no sensor may be in use by an agent. A broker that is away keeps
    no agent from starting.
    """
    checks: dict[str, Callable[[Config], str]] = {
        "device": _device,
        "state": _state,
        "interpreter": _interpreter,
        "source": _source,
        "trust": check_identity,
        "metrics": _metrics,
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
    what = f"{source.name}: {', '.join(source.channels)} at {source.sample_rate_hz:g} Hz"
    if config.source.kind == "stdin":  # what is read here would be lost
        return what
    until = time.monotonic() + SAMPLES_S
    try:
        for recording in source.recordings():
            if recording is not None and recording.fault:
                raise FedTinyError(f"{source.name}: {recording.fault}")
            if recording is not None:
                return f"{what}; samples come"
            if time.monotonic() > until:
                return f"{what}; no samples in {SAMPLES_S:g} s"
        return f"{what}; it is empty"
    finally:
        source.close()


def _metrics(config: Config) -> str:
    """Whether they can be served; a running agent serves them already."""
    folder = config.state_folder(config.device or "device")
    if config.metrics.port is not None and (folder / "lock").exists():
        try:
            with locked(folder):
                pass
        except ConfigError as error:
            return f"port {config.metrics.port} not tried, for an agent runs: {error}"
    with exposed(config.metrics, AGENT, {}, None) as latest:
        return "off" if latest is None else f"http://{config.metrics.host}:{config.metrics.port}/metrics"


def _broker(config: Config) -> str:
    """A whole connection: a broker that wants a certificate says so only behind the handshake.

    It is the agent's own, for a broker may know a device by its certificate alone: its session is gone on with, and
    nothing in it acknowledged. A running agent would be thrown out.
    """
    from fedtiny.transport import Connected, Connection, Disconnected

    where, device = f"{config.broker.host}:{config.broker.port}", config.device or "device"
    folder = config.state_folder(device)
    with ExitStack() as last:
        if (folder / "lock").exists():
            try:
                last.enter_context(locked(folder))
            except ConfigError as error:
                return f"{where} not tried, for that would throw a running agent out: {error}"
        connection = Connection(
            config.broker, client_id(config, device), subscriptions=(), persistent=True, manual_ack=True
        )
        last.callback(connection.stop, timeout_s=0)
        connection.start()
        match connection.next_event(ANSWER_S):
            case Connected():
                return f"{where} accepts us{', encrypted' if config.broker.ca else ''}"
            case Disconnected(reason):
                raise FedTinyError(reason)
        raise FedTinyError(f"{where}: no answer in {ANSWER_S:g} s")
