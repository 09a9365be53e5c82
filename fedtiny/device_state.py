"""What a device remembers across a restart: one file, replaced whole."""

import io
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedtiny.model.head import Head
from fedtiny.signal.features import Standardisation
from fedtiny.store import atomic_write

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
NOTHING = np.empty(0, np.float32)  # in the place of what is not known yet: an array that is missing is damage


@dataclass
class Numbers:
    """The scalars: what the model is at, how far the source was read, the alarm.

    ``recordings`` of ``source`` are done and ``recording_windows`` of the next one; ``alarm`` is the last alarm
    message (JSON), empty where there was none.
    """

    release_id: str = ""
    revision: int = 0
    phase: str = "waiting"
    last_answered: int = 0
    windows: int = 0
    source: str = ""
    recordings: int = 0
    recording_windows: int = 0
    alarm: str = ""


@dataclass
class DeviceState:
    """Everything durable. ``buffer``: recent normal windows (n, features), not standardised, oldest first."""

    numbers: Numbers = field(default_factory=Numbers)
    buffer: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))
    standardisation: Standardisation | None = None
    head: Head | None = None

    def save(self, path: Path) -> None:
        """Write to ``path``, atomically."""
        scale, head = self.standardisation, self.head
        arrays = {
            "numbers": np.array(json.dumps(asdict(self.numbers))),
            "buffer": self.buffer,
            "mean": scale.mean if scale else NOTHING,
            "deviation": scale.deviation if scale else NOTHING,
            "weights": head.weights if head else NOTHING,
            "output_range": np.array([head.output_min, head.output_max]) if head else NOTHING,
        }
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        atomic_write(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> "DeviceState":
        """Read ``path``; a fresh state where there is none. A damaged file is put aside and said so."""
        if not path.exists():
            return cls()
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                mean, deviation, weights = stored["mean"], stored["deviation"], stored["weights"]
                scale = Standardisation(mean, deviation) if mean.size else None
                head = Head(weights, *stored["output_range"].tolist()) if weights.size else None
                return cls(Numbers(**json.loads(str(stored["numbers"]))), stored["buffer"], scale, head)
        except Exception as error:  # zipfile, numpy, json and Head each have several of their own for damage
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            log.error("%s: damaged (%s); kept as %s, starting afresh", path, error, aside.name)
            return cls()
