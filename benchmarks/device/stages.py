"""From window to alarm, stage by stage, as the agent does it: the sensor's check to the vote.

The functions are the agent's (``fedtiny.edge``, ``fedtiny.model.watch``), in its order; an alarm that notes the clock
when it is told a score parts the score from the vote. Windows are few, so that they are in the processor's cache, as
one that has just come in is. Beside them the transform alone: numpy's ``rfft`` of the same window as it is (float64
within) and scipy's in float32. ``python -m benchmarks.device.stages RELEASE RUNTIME TURNS`` prints JSON.
"""

import contextlib
import importlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.device.turns import Run, Windows, percentiles, take_turns
from fedtiny.model.alarm import AlarmLife
from fedtiny.model.artifact import Release
from fedtiny.model.network import Network
from fedtiny.model.watch import Rules, Watch
from fedtiny.signal.sensor import SensorBaseline, check_windows

SINGLES, BATCH, LEARN = 4, 64, 64
STAGES = ("sensor check", "features", "standardise", "model", "whiten", "score", "vote")
SCORED = STAGES[1:-1]  # window to score


@dataclass
class Clocked(AlarmLife):
    """An alarm that notes when it was told."""

    told: int = 0

    def add(self, *, over: bool, quiet: bool) -> bool:
        self.told += time.perf_counter_ns()
        return super().add(over=over, quiet=quiet)


def watcher(release: Release, runtime: Any, windows: Windows) -> tuple[Run, Clocked]:
    """A function that takes windows (n, window, channels) through all stages and returns the clock (ns) at each."""
    alarm = Clocked(3, 5)
    rules = Rules(rate=0.01, learn=LEARN, keep=4 * LEARN, votes=3, window=5, quiet=0.8, points=1)
    watch = Watch(Network(release, runtime), rules, alarm)
    for row in watch.network.features(windows):
        watch.take(row[None])
    assert watch.watching
    detector, sensor = watch.detectors["0"], SensorBaseline.of(windows)
    network, residuals, now = watch.network, detector.residuals, time.perf_counter_ns
    assert residuals is not None

    def run(windows: Windows) -> list[int]:
        times = [now()]
        check_windows(windows, release.manifest.channels, sensor)
        times.append(now())
        features = network.features(windows)
        times.append(now())
        z = detector.standardisation(features)
        times.append(now())
        z -= network.reconstruct(z)
        times.append(now())
        away = residuals.whiten(z)
        times.append(now())
        alarm.told = begun = done = 0
        for row, whitened in zip(features, away, strict=True):  # one after the other: each may move the drift
            begun += now()
            watch.take(row[None], whitened=whitened)
            done += now()
        scored = times[-1] + alarm.told - begun
        return [*times, scored, scored + done - alarm.told]

    return run, alarm


def measure(path: Path, runtime: str, turns: int) -> dict[str, Any]:
    """One window at a time, and ``BATCH`` of them."""
    release = Release.open(path)
    manifest = release.manifest
    shape = (BATCH, manifest.window, len(manifest.channels))
    windows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    peers: dict[str, Run] = {"numpy": numpy_rfft}
    with contextlib.suppress(ImportError):
        peers["scipy_float32"] = scipy_rfft()
    cases: dict[str, Any] = {}
    for name, parts, count in (
        ("one_window", [windows[i : i + 1] for i in range(SINGLES)], turns),
        (f"batch_of_{BATCH}", [windows], max(10, turns // 50)),
    ):  # each with a watch of its own: a threshold sharpens to what it has met
        run, alarm = watcher(release, runtime, windows)
        cases[name] = case(take_turns({"ours": run} | peers, parts, count))
        if alarm.standing:
            sys.exit("the alarm was raised: what was timed is not the usual way of a window")
    return {"interpreter": Network(release, runtime).interpreter} | cases  # type: ignore[arg-type]


def scipy_rfft() -> Run:
    """In float32, which numpy 1 does not have; ImportError without scipy."""
    rfft = importlib.import_module("scipy.fft").rfft

    def run(windows: Windows) -> None:
        for window in windows:
            rfft(window, axis=0)

    return run


def numpy_rfft(windows: Windows) -> None:
    """One window at a time: all at once is slower, for the pages that its result takes."""
    for window in windows:
        np.fft.rfft(window, axis=0)


def case(times: dict[str, Any]) -> dict[str, Any]:
    """The figures of one case: stages, totals, the transform and its share."""
    stages = times.pop("ours")
    medians = {name: float(np.median(stages[:, i])) for i, name in enumerate(STAGES)}
    score = stages[:, [STAGES.index(name) for name in SCORED]].sum(axis=1)
    rfft = float(np.median(times["numpy"]))
    return {
        "stages_us": {name: percentiles(stages[:, i]) for i, name in enumerate(STAGES)},
        "window_to_alarm_us": percentiles(stages.sum(axis=1)),
        "window_to_score_us": percentiles(score),
        "rfft_us": {name: percentiles(one) for name, one in times.items()},
        "times_numpy_rfft": round(float(np.median(score)) / rfft, 3),
        "rfft_share_of_features": round(rfft / medians["features"], 3),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
