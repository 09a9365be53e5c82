"""Where a device's samples come from: ``[source]`` of the configuration, opened."""

from fedtiny import config
from fedtiny.errors import ConfigError
from fedtiny.signal.recording import Source


def open_source(settings: config.Config) -> Source:
    """The source that ``settings.source`` describes; only what it needs is imported.

    Raises ConfigError for what cannot be, DataError for what is there and cannot be used.
    """
    told = settings.source
    source = _open(settings)
    if (silent_s := getattr(told, "silent_s", None)) is not None:
        from fedtiny.sources.silence import Silence

        source = Silence(source, silent_s)
    if told.speed_hz is not None or told.point:
        from fedtiny.sources.tagged import Tagged

        source = Tagged(source, told.speed_hz, told.point)
    return source


def _open(settings: config.Config) -> Source:
    source = settings.source
    match source:
        case config.ReplaySource():
            from fedtiny.sources.replay import Replay

            machine = source.machine or settings.device
            if machine is None:
                raise ConfigError("source.machine: not set, and no device id to take it from")
            return Replay(
                source.data, machine, seed=source.seed, speed=source.speed, skip=source.skip, repeat=source.repeat
            )
        case config.FolderSource():
            from fedtiny.sources.folder import Folder

            return Folder(source.path, source.sample_rate_hz, source.channels, poll_s=source.poll_s)
        case config.RowsSource():
            from fedtiny.sources.rows import Rows

            return Rows(source.path, source.channels, source.sample_rate_hz, source.time)
        case config.IioSource():
            from fedtiny.sources.iio import Iio

            return Iio(source.device, source.sample_rate_hz, source.channels, trigger=source.trigger)
        case config.MqttSource():
            from fedtiny.sources.mqtt import Mqtt

            broker = source.broker or settings.broker
            told = (source.topic, source.sample_rate_hz, source.channels)
            return Mqtt(broker, *told, continuous=source.continuous)
        case config.SerialSource():
            from fedtiny.sources.stream import Serial

            stream = (source.sample_rate_hz, source.channels, source.format)
            return Serial(source.port, source.baud, *stream, scale=source.scale)
        case config.StdinSource():
            from fedtiny.sources.stream import Stdin

            return Stdin(source.sample_rate_hz, source.channels, source.format, scale=source.scale)
