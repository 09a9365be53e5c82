"""``fedtiny edge score``: the agent's scoring without a network."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.config import Config
from fedtiny.device import Device, rules_of
from fedtiny.edge import check_channels, window_faults
from fedtiny.errors import DataError
from fedtiny.model.artifact import Release
from fedtiny.model.network import Network
from fedtiny.model.watch import Finding, Watch
from fedtiny.signal.recording import Recording
from fedtiny.signal.sensor import SensorBaseline
from fedtiny.signal.windows import cut
from fedtiny.store import locked

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ScoredRecording:
    """A recording and what was found in its windows; while learning they have no score."""

    recording: Recording
    findings: tuple[Finding, ...]


def score_offline(config: Config, release: Release, recordings: Iterator[Recording]) -> Iterator[ScoredRecording]:
    """Score recordings without a network, with what the device whose folder is ``config.state`` has learned.

    Where it has learned nothing, its first ``learn_windows`` windows are taken as normal. The device's own state stays
    as it is. Raises DataError when the recordings end before enough windows were seen.
    """
    manifest, (watch, baseline) = release.manifest, _watch(config, release)
    count = 0
    for recording in recordings:
        check_channels(recording, manifest)
        windows = cut(recording.samples, manifest.window, manifest.hop)
        count += len(windows)
        yield ScoredRecording(recording, tuple(_found(watch, window, recording, baseline) for window in windows))
    if not watch.watching:
        raise DataError(
            f"the recordings hold {count} windows of {manifest.window} samples, but {config.edge.learn_windows} "
            "of one operating point are needed to learn what is normal (edge.learn_windows)"
        )


def _found(watch: Watch, window: Array, recording: Recording, baseline: SensorBaseline | None) -> Finding:
    """As the agent judges a window: the sensor first, then the machine."""
    fault = window_faults(window[None], watch.network.release, baseline)[0]
    if fault is not None and not fault.usable:
        return Finding("sensor", "")
    features = watch.network.features(window[None])
    return watch.take(features, recording.point, recording.speed_hz, trusted=fault is None)


def _watch(config: Config, release: Release) -> tuple[Watch, SensorBaseline | None]:
    if config.state is not None:
        with locked(config.state):
            device = Device(config, config.state, config.device or "offline")
            device.close()
        if device.watch is not None and device.watch.network.release.id == release.id:
            return device.watch, device.sensor_baseline
    return Watch(Network(release, config.edge.runtime), rules_of(config.edge)), None
