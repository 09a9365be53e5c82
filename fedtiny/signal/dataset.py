"""All windows of one machine as features, with their labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.signal.fleet import FleetData
from fedtiny.signal.given import Extractor
from fedtiny.signal.windows import cut

Array = NDArray[np.float32]


@dataclass(frozen=True)
class MachineFeatures:
    """One machine's windows as features (n, features) with label, recording number and position of each."""

    features: Array
    labels: NDArray[np.int8]
    positions: NDArray[np.float64]
    recordings: NDArray[np.int64]

    @property
    def first_normal_recording(self) -> int:
        """Number of the first recording that is labelled normal; 0 where none is."""
        return int(self.recordings[self.labels == 0][0]) if (self.labels == 0).any() else 0

    @property
    def normal(self) -> Array:
        """Windows labelled 0, in time order."""
        return self.features[self.labels == 0]

    @property
    def anomalous(self) -> Array:
        """Windows labelled 1, in time order."""
        return self.features[self.labels == 1]


def machine_features(fleet: FleetData, machine: str, extract: Extractor) -> MachineFeatures:
    """All windows of one machine."""
    features, labels, positions, numbers = [], [], [], []
    for number, recording in enumerate(fleet.machines[machine].recordings()):
        windows = cut(recording.samples, extract.plan.window, extract.plan.hop)
        features.append(extract(windows))
        labels.append(np.full(len(windows), recording.label, np.int8))
        numbers.append(np.full(len(windows), number))
        at = np.nan if recording.position is None else recording.position
        positions.append(np.full(len(windows), at))
    if not features or not sum(map(len, features)):
        raise DataError(f"{machine}: no recording is as long as a window of {extract.plan.window} samples")
    return MachineFeatures(
        np.concatenate(features),
        np.concatenate(labels),
        np.concatenate(positions),
        np.concatenate(numbers),
    )
