"""Base data for training: what is taken from the recordings, normal windows of the base machines, split in time."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedtiny.config import Config
from fedtiny.errors import ConfigError, DataError
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.features import BandEnergies, Standardisation, fit_standardisation
from fedtiny.signal.fleet import FleetData
from fedtiny.signal.given import Extractor, GivenFeatures, fit_columns
from fedtiny.signal.windows import WindowPlan, plan_windows

Array = NDArray[np.float32]
Fit = Callable[[Array], Standardisation]
FLOOR_SHARE = 1e-6  # of the base's median band power: what is quieter counts as silence


def plan_for(fleet: FleetData, config: Config) -> WindowPlan:
    """Window sizes for a fleet's data, as far as the configuration leaves them open."""
    s = config.signal
    return plan_windows(fleet.sample_rate_hz, fleet.shortest, window=s.window, hop=s.hop, bands=s.bands)


def extractor_for(fleet: FleetData, config: Config) -> Extractor:
    """What the base's recordings become features by."""
    s = config.signal
    if s.feature == "given":
        if asked := [name for name in ("window", "hop", "bands") if getattr(s, name) is not None]:
            raise ConfigError(f"signal.{asked[0]}: given features have no windows and no bands; leave it out")
        return GivenFeatures(fleet.channels)
    plan = plan_for(fleet, config)
    return BandEnergies(plan, len(fleet.channels), noise_floor(fleet, plan))


def scaling_of(extract: Extractor) -> Fit:
    """How the features of ``extract`` are standardised."""
    return partial(fit_columns, names=extract.names) if isinstance(extract, GivenFeatures) else fit_standardisation


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
