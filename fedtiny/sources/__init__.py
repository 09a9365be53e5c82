"""Where a device's samples come from: ``[source]`` of the configuration, opened."""

from fedtiny import config
from fedtiny.errors import ConfigError
from fedtiny.signal.recording import Source


def open_source(settings: config.Config) -> Source:
    """The source that ``settings.source`` describes; only what it needs is imported.

    Raises ConfigError for what cannot be, DataError for what is there and cannot be used.
    """
    source = _open(settings)
    if settings.source.speed_hz is None and not settings.source.point:
        return source
    from fedtiny.sources.tagged import Tagged

    return Tagged(source, settings.source.speed_hz, settings.source.point)


def _open(settings: config.Config) -> Source:
    source = settings.source
    match source:
        case config.ReplaySource():
            from fedtiny.sources.replay import Replay

            machine = source.machine or settings.device
            if machine is None:
                raise ConfigError("source.machine: not set, and no device id to take it from")
            return Replay(source.data, machine, seed=source.seed, speed=source.speed, skip=source.skip)
    raise ConfigError(f"source.kind: {source.kind!r}")
