"""What a device remembers across a restart: one file, replaced whole."""

import io
import json
import logging
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.model.head import Head
from fedtiny.signal.features import Standardisation
from fedtiny.store import atomic_write

log = logging.getLogger(__name__)
Array = NDArray[np.float32]


@dataclass
class Numbers:
    """The scalars: what the model is at, how far the source was read, the alarm."""

    release_id: str = ""
    revision: int = 0
    phase: str = "waiting"
    last_answered: int = 0
    windows: int = 0
    recordings: int = 0
    alarm: bool = False


@dataclass
class DeviceState:
    """Everything durable. ``buffer``: recent normal windows (n, features), not standardised, oldest first."""

    numbers: Numbers = field(default_factory=Numbers)
    buffer: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))
    standardisation: Standardisation | None = None
    head: Head | None = None

    def save(self, path: Path) -> None:
        """Write to ``path``, atomically."""
        arrays: dict[str, Any] = {"buffer": self.buffer}
        if self.standardisation is not None:
            arrays |= {"mean": self.standardisation.mean, "deviation": self.standardisation.deviation}
        if self.head is not None:
            arrays |= {
                "weights": self.head.weights,
                "output_range": np.array([self.head.output_min, self.head.output_max]),
            }
        stream = io.BytesIO()
        np.savez(stream, numbers=np.array(json.dumps(asdict(self.numbers))), **arrays)
        atomic_write(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> "DeviceState":
        """Read ``path``; a fresh state where there is none. A damaged file is put aside and said so."""
        if not path.exists():
            return cls()
        try:
            with np.load(path, allow_pickle=False) as stored:
                scale = head = None
                if "mean" in stored:
                    scale = Standardisation(stored["mean"], stored["deviation"])
                if "weights" in stored:
                    low, high = stored["output_range"].tolist()
                    head = Head(stored["weights"], low, high)
                return cls(Numbers(**json.loads(str(stored["numbers"]))), stored["buffer"], scale, head)
        except (ValueError, TypeError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            log.error("%s: damaged (%s); kept as %s, starting afresh", path, error, aside.name)
            return cls()
