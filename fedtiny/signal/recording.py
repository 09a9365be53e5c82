"""A stretch of signal, and what gives it: the one protocol of every source."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
IDLE_S = 0.25  # a source says None at least this often while nothing comes


@dataclass(frozen=True, eq=False)
class Recording:
    """One continuous stretch of signal.

    Attributes:
        name: The file, the machine and its snapshot, or the sensor; for messages.
        samples: float32 (samples, channels), physical units; finite, unless ``fault`` says otherwise.
        label: 0 normal, 1 anomalous, -1 not known.
        position: Share of the machine's recorded life, 0..1; None for a recording on its own.
        at: Unix time of its first sample, seconds; None where the source does not know it.
        follows: Its first sample comes right behind the last one of the recording before: windows run across.
        speed_hz: Turns of the shaft a second; None where the source does not know it.
        point: The operating point that the source names ("load-80"); empty where it names none.
        fault: What the source noticed wrong with the sensor ("dropped: 3 frames are missing"); empty: nothing.
            The word before the colon is the kind.
        cursor: Given back to ``Source.recordings``, the source goes on behind this recording; empty: it cannot.
    """

    name: str
    samples: Samples
    label: int = -1
    position: float | None = None
    at: float | None = None
    follows: bool = False
    speed_hz: float | None = None
    point: str = ""
    fault: str = ""
    cursor: str = ""


class Source(Protocol):
    """Where a device's samples come from. Closing it ends whatever it holds open."""

    @property
    def name(self) -> str:
        """What it is, for messages and to know it again after a restart: a cursor is good for this name only."""

    @property
    def sample_rate_hz(self) -> float:
        """Of every recording."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the columns of every recording."""

    @property
    def live(self) -> bool:
        """Whether it runs in its own time and cannot be held: a sensor, not a file."""

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """In time order, from behind the cursor ``after``; None at least every `IDLE_S` while nothing comes.

        Ends with the source; raises DataError for what cannot be used.
        """

    def close(self) -> None:
        """Let go of files, ports and threads."""
