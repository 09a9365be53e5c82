"""``fedtiny edge score``: the agent's scoring without a network."""

from collections.abc import Iterator
from dataclasses import dataclass

from fedtiny.config import Config
from fedtiny.device import Device, rules_of
from fedtiny.edge import check_channels
from fedtiny.errors import DataError
from fedtiny.model.artifact import Release
from fedtiny.model.network import Network
from fedtiny.model.watch import Finding, Watch
from fedtiny.signal.recording import Recording
from fedtiny.signal.windows import cut
from fedtiny.store import locked


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
    manifest, watch = release.manifest, _watch(config, release)
    count = 0
    for recording in recordings:
        check_channels(recording, manifest)
        features = watch.network.features(cut(recording.samples, manifest.window, manifest.hop))
        count += len(features)
        findings = (watch.take(features[i : i + 1], recording.point, recording.speed_hz) for i in range(len(features)))
        yield ScoredRecording(recording, tuple(findings))
    if not watch.watching:
        raise DataError(
            f"the recordings hold {count} windows of {manifest.window} samples, but {config.edge.learn_windows} "
            "of one operating point are needed to learn what is normal (edge.learn_windows)"
        )


def _watch(config: Config, release: Release) -> Watch:
    if config.state is not None:
        with locked(config.state):
            device = Device(config, config.state, config.device or "offline")
            device.close()
        if device.watch is not None and device.watch.network.release.id == release.id:
            return device.watch
    return Watch(Network(release, config.edge.runtime), rules_of(config))
