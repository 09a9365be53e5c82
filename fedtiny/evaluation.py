"""How well scores tell failing from normal, under one protocol for every method that is compared.

Of a device's normal windows, in time order, the first ``LOCAL_SHARE`` are its local data (all fitting and
calibration comes out of these), the rest are held out; anomalous windows are the positives. Neither of the last two is
ever used to fit, calibrate or choose anything.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.metrics import auc, fleet_auc, rate
from fedtiny.model.detector import split_index
from fedtiny.model.scoring import fit_residuals
from fedtiny.model.threshold import calibrate_threshold
from fedtiny.signal.dataset import MachineFeatures
from fedtiny.signal.features import fit_standardisation

Array = NDArray[np.float32]
LOCAL_SHARE = 0.6


@dataclass(frozen=True)
class LocalSplit:
    """One device's features under the protocol."""

    local: Array
    held_out: Array
    anomalous: Array


@dataclass(frozen=True)
class DeviceScores:
    """One device's scores of held-out and anomalous windows under one method, and its own threshold."""

    held_out: Array
    anomalous: Array
    threshold: float


def local_windows(normal: int) -> int:
    """How many of ``normal`` normal windows are local."""
    return int(normal * LOCAL_SHARE)


def split(data: MachineFeatures) -> LocalSplit:
    """Cut one machine's features by the protocol."""
    normal = data.normal
    cut_at = local_windows(len(normal))
    return LocalSplit(normal[:cut_at], normal[cut_at:], data.anomalous)


def by_residuals(residuals: Callable[[Array], Array], data: LocalSplit, false_alarm_rate: float) -> DeviceScores:
    """Scores as a device makes them, from any model's residuals (n, features) of features (n, features)."""
    local = residuals(data.local)
    at = split_index(len(local))
    kept_out = fit_residuals(local[:at]).score(local[at:])
    model = fit_residuals(local)
    return DeviceScores(
        model.score(residuals(data.held_out)),
        model.score(residuals(data.anomalous)),
        calibrate_threshold(kept_out, false_alarm_rate),
    )


def by_plain_error(residuals: Callable[[Array], Array], data: LocalSplit, false_alarm_rate: float) -> DeviceScores:
    """The textbook score, the mean squared residual, with a threshold from the later local windows."""

    def score(features: Array) -> Array:
        return np.square(residuals(features)).mean(axis=1)

    local = score(data.local)
    threshold = calibrate_threshold(local[split_index(len(local)) :], false_alarm_rate)
    return DeviceScores(score(data.held_out), score(data.anomalous), threshold)


def by_z_score(data: LocalSplit, false_alarm_rate: float) -> DeviceScores:
    """No model at all: the mean squared z-score of the features on the machine itself."""
    at = split_index(len(data.local))

    def score(fitted: Array, features: Array) -> Array:
        return np.square(fit_standardisation(fitted)(features)).mean(axis=1)

    threshold = calibrate_threshold(score(data.local[:at], data.local[at:]), false_alarm_rate)
    return DeviceScores(score(data.local, data.held_out), score(data.local, data.anomalous), threshold)


def figures(devices: Mapping[str, DeviceScores]) -> dict[str, Any]:
    """AUC per device (mean, min), with one threshold for all, and the rates at the devices' own thresholds."""
    each = list(devices.values())
    return {
        **fleet_auc([(d.held_out, d.anomalous) for d in each]),
        "false_alarm_rate": _mean(rate(d.held_out, d.threshold) for d in each),
        "detection_rate": _mean(rate(d.anomalous, d.threshold) for d in each),
        "per_device": {name: auc(d.held_out, d.anomalous) for name, d in devices.items()},
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
