"""A source whose shaft speed or operating point never changes, and is told in the configuration."""

from collections.abc import Iterator
from dataclasses import replace

from fedtiny.signal.recording import Recording, Source


class Tagged:
    """``source`` with ``speed_hz`` and ``point`` on every recording that names none of its own."""

    def __init__(self, source: Source, speed_hz: float | None, point: str) -> None:
        self._source, self._speed_hz, self._point = source, speed_hz, point
        self.name, self.sample_rate_hz = source.name, source.sample_rate_hz
        self.channels, self.live = source.channels, source.live
        self.close = source.close

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """Those of the source, in its order."""
        for one in self._source.recordings(after):
            yield one and replace(
                one,
                speed_hz=self._speed_hz if one.speed_hz is None else one.speed_hz,
                point=one.point or self._point,
            )
