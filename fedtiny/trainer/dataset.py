"""Base data for training: normal windows of the base machines, split in time."""

import numpy as np
from numpy.typing import NDArray

from fedtiny.config import Config
from fedtiny.errors import DataError
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.features import BandEnergies
from fedtiny.signal.fleet import FleetData
from fedtiny.signal.windows import WindowPlan, plan_windows

Array = NDArray[np.float32]
FLOOR_SHARE = 1e-6  # of the base's median band power: what is quieter counts as silence


def plan_for(fleet: FleetData, config: Config) -> WindowPlan:
    """Window sizes for a fleet's data, as far as the configuration leaves them open."""
    s = config.signal
    return plan_windows(fleet.sample_rate_hz, fleet.shortest, window=s.window, hop=s.hop, bands=s.bands)


def noise_floor(fleet: FleetData, plan: WindowPlan) -> float:
    """Power that is added to every band: a millionth of the median band power of the base's normal windows.

    It follows the unit of the signal (g, m/s^2, raw counts) and keeps digital silence finite.
    """
    extract = BandEnergies(plan, len(fleet.channels), floor=float(np.finfo(np.float32).tiny))
    medians = []
    for machine in fleet.base:
        normal = machine_features(fleet, machine, extract).normal
        if len(normal):
            medians.append(float(np.median(normal)))
    if not medians:
        raise DataError(f"base machines {', '.join(fleet.base)}: none has a normal window")
    return max(float(np.exp(np.median(medians))) * FLOOR_SHARE, 1e-30)


def split_in_time(windows: Array, share: float) -> tuple[Array, Array]:
    """(earlier, later) windows; ``share`` of them, at least one, are later."""
    cut_at = min(max(int(len(windows) * (1 - share)), 1), len(windows) - 1)
    return windows[:cut_at], windows[cut_at:]
