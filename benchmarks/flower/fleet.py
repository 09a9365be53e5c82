"""What both sides of ``bench`` share: the devices' data, and the judge of the heads.

The data are those that an agent has when it has learned: of each device, the activations before the head and the
standardised features of its first normal windows, as many as ``fedtiny.evaluation`` calls local.
"""

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import Array
from fedtiny.evaluation import LocalSplit, by_residuals, figures, split
from fedtiny.federation.local import fit_head
from fedtiny.model.artifact import Release
from fedtiny.model.detector import Budget, Detector, split_index
from fedtiny.model.head import Head, output_range
from fedtiny.model.network import Network
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.fleet import open_fleet

RATE = 0.01  # false-alarm budget; it moves thresholds, which no AUC knows of


@dataclass(frozen=True)
class Device:
    """One device: what it plays, what it has learned, and what it is judged by."""

    name: str
    skip: int  # recordings before the first normal one
    data: LocalSplit
    detector: Detector

    @property
    def local(self) -> tuple[Array, Array]:
        """(activations (n, inputs), standardised features (n, outputs))."""
        z, _, hidden = self.detector.run(self.detector.baseline)
        return hidden, z


class Fleet:
    """All devices of ``data`` (the simulator's where None) under ``release``."""

    def __init__(self, data: Path | None, release: Release) -> None:
        fleet = open_fleet(data)
        self.release, self.devices = release, []
        for name in fleet.machines:
            if name not in fleet.base:
                found = machine_features(fleet, name, release.features)
                cut = split(found)
                detector = Detector(Network(release), Budget(RATE, len(cut.local), len(cut.local)))
                detector.learn(cut.local)
                self.devices.append(Device(name, found.first_normal_recording, cut, detector))

    def first(self, count: int) -> "Fleet":
        """The fleet of the first ``count`` devices."""
        part = copy.copy(self)
        part.devices = self.devices[:count]
        return part

    def write(self, folder: Path, proximal: float) -> list[Path]:
        """An npz a device: what ``benchmarks/flower/app/client.py`` reads."""
        paths = []
        for device in self.devices:
            hidden, targets = device.local
            paths.append(folder / f"{device.name}.npz")
            np.savez(paths[-1], hidden=hidden, targets=targets, split=split_index(len(hidden)), proximal=proximal)
        return paths

    def local_step_s(self, proximal: float) -> float:
        """Seconds of the slowest device's local step, alone in this process; the least of five."""
        slowest = 0.0
        for device in self.devices:
            hidden, targets = device.local
            times = []
            for _ in range(5):
                began = time.perf_counter()
                fit_head(self.release.head.weights, hidden, targets, split_index(len(hidden)), proximal)
                times.append(time.perf_counter() - began)
            slowest = max(slowest, min(times))
        return slowest

    def head(self, weights: Array) -> Head:
        """``weights`` with the range of outputs that they give on all devices' data."""
        bare = Head(weights, -1.0, 1.0)
        return Head(weights, *output_range(np.concatenate([bare.forward(device.local[0]) for device in self.devices])))

    def auc(self, head: Head) -> float:
        """Mean over the devices of the AUC of held-out normal against failing windows; int8, the agents' score."""
        scores = {}
        for device in self.devices:
            device.detector.network.set_head(head)
            run = device.detector.run
            scores[device.name] = by_residuals(lambda x, run=run: run(x)[1], device.data, RATE)  # type: ignore[misc]
        return float(figures(scores)["per_device_mean"])
