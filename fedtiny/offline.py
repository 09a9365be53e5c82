"""``fedtiny edge score``: the agent's scoring without a network."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.config import Config
from fedtiny.device_state import DeviceState
from fedtiny.edge import STATE, check_channels
from fedtiny.errors import DataError
from fedtiny.federation.participant import Phase
from fedtiny.model.artifact import Release
from fedtiny.model.detector import Detector
from fedtiny.signal.recording import Recording
from fedtiny.signal.windows import cut

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ScoredRecording:
    """A recording with the scores (n,) of its windows, NaN while learning, and the threshold they stand under."""

    recording: Recording
    scores: Array
    threshold: float | None


def score_offline(config: Config, release: Release, recordings: Iterator[Recording]) -> Iterator[ScoredRecording]:
    """Score recordings without a network, with what the device whose folder is ``config.state`` has learned.

    Where it has learned nothing, its first ``learn_windows`` windows are taken as normal, and their scores are NaN.
    Raises DataError when the recordings end before enough windows were seen.
    """
    manifest = release.manifest
    detector = Detector(release, config.edge.runtime)
    state = DeviceState.load(config.state / STATE) if config.state else DeviceState()
    extract = release.features
    buffer = np.empty((0, extract.size), np.float32)
    watching = state.numbers.phase == Phase.WATCHING.value
    if state.numbers.release_id == release.id and watching and state.standardisation is not None:
        if state.head is not None:
            detector.set_head(state.head)
        detector.standardisation = state.standardisation
        detector.calibrate(state.buffer, config.edge.false_alarm_rate)
    for recording in recordings:
        check_channels(recording, manifest)
        features = extract(cut(recording.samples, manifest.window, manifest.hop))
        scores = np.full(len(features), np.nan, np.float32)
        taken = 0
        if detector.threshold is None:
            taken = min(len(features), config.edge.learn_windows - len(buffer))
            buffer = np.concatenate([buffer, features[:taken]])
            if len(buffer) >= config.edge.learn_windows:
                detector.adapt(buffer)
                detector.calibrate(buffer, config.edge.false_alarm_rate)
        if len(features) > taken:
            scores[taken:] = detector.score(features[taken:])
        yield ScoredRecording(recording, scores, detector.threshold)
    if detector.threshold is None:
        raise DataError(
            f"the recordings hold {len(buffer)} windows of {manifest.window} samples, but "
            f"{config.edge.learn_windows} are needed to learn what is normal (edge.learn_windows)"
        )
