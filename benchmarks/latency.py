"""Window to score: how long one takes, stage by stage, beside numpy's own rfft of the same window.

FEMTO's sizes: 2,560 samples of 2 channels, 64 bands a channel, an int8 autoencoder 128-64-16-64-128, one thread.
The two take turns on each window, in changing order, so that a machine that slows down slows both; windows are few, so
that they are in the processor's cache, as one that has just come in is. Each interpreter is measured in a process of
its own. Writes ``benchmarks/results/latency.json``.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import versions, write_results
from fedtiny.model.artifact import Release
from fedtiny.model.interpreter import Interpreter
from fedtiny.model.scoring import fit_residuals

RATE_HZ, WINDOW, SINGLES, BATCH = 25_600, 2_560, 4, 64
TURNS, BATCH_TURNS = 5_000, 100
THRESHOLD = 5.0
MOST = 2.0  # times numpy's rfft that one window may take
STAGES = ("features", "standardise", "model", "whiten", "score")
RUNTIMES = ("litert", "tflite")

Windows = NDArray[np.float32]


def pipeline(release: Release, interpreter: Interpreter, windows: Windows) -> Callable[[Windows], list[int]]:
    """A function that scores windows (n, WINDOW, 2) and returns the clock (ns) before and after each stage."""
    extract, standardise, now = release.features, release.standardisation, time.perf_counter_ns
    z = standardise(extract(windows))
    residuals = fit_residuals(z - interpreter.reconstruct(z))

    def run(windows: Windows) -> list[int]:
        times = [now()]
        features = extract(windows)
        times.append(now())
        z = standardise(features)
        times.append(now())
        z -= interpreter.reconstruct(z)
        times.append(now())
        away = residuals.whiten(z)
        times.append(now())
        for row in away:  # as the agent does: windows meet the threshold one after the other
            _ = float(row.dot(row)) / len(row) >= THRESHOLD
        times.append(now())
        return times

    return run


def take_turns(run: Callable[[Windows], list[int]], parts: list[Windows], turns: int) -> dict[str, Any]:
    """Microseconds a window: ours by stage, and numpy's rfft of the same windows as they are."""
    now, rfft = time.perf_counter_ns, np.fft.rfft
    ours, peers = [], []
    for turn in range(-turns // 20, turns):
        part = parts[turn // 2 % len(parts)]
        if turn % 2:
            times = run(part)
        start = now()
        for window in part:  # one at a time: all at once is slower, for the pages that its result takes
            rfft(window, axis=0)
        peer = now() - start
        if not turn % 2:
            times = run(part)
        if turn >= 0:  # what comes before is to warm up
            ours.append(times)
            peers.append(peer)
    stages = np.diff(np.array(ours), axis=1) / 1e3 / len(parts[0])
    peer_us = np.array(peers) / 1e3 / len(parts[0])
    total = stages.sum(axis=1)
    return {
        "window_to_score_us": spread(total),
        "stages_us": {name: spread(stages[:, i]) for i, name in enumerate(STAGES)},
        "numpy_rfft_us": spread(peer_us),
        "times_numpy_rfft": round(float(np.median(total) / np.median(peer_us)), 2),
    }


def spread(values: NDArray[np.float64]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {f"p{p}": round(float(np.percentile(values, p)), 2) for p in (50, 99)}


def measure(path: Path, runtime: Any) -> dict[str, Any]:
    """The figures of one interpreter."""
    release = Release.open(path)
    interpreter = Interpreter(release.data, runtime, release.hidden_tensor)
    windows = np.random.default_rng(0).normal(size=(BATCH, WINDOW, 2)).astype(np.float32)
    run = pipeline(release, interpreter, windows)
    return {
        "interpreter": interpreter.name,
        "one_window": take_turns(run, [windows[i : i + 1] for i in range(SINGLES)], TURNS),
        f"batch_of_{BATCH}": take_turns(run, [windows], BATCH_TURNS),
    }


def train(path: Path) -> None:
    """A release of FEMTO's sizes, from the simulator."""
    from fedtiny.config import load_config
    from fedtiny.signal.simulator import simulate_fleet
    from fedtiny.trainer.train import train_release

    fleet = simulate_fleet(machines=3, base=2, snapshots=40, sample_rate_hz=RATE_HZ, snapshot_samples=WINDOW)
    path.write_bytes(train_release(fleet, load_config(None, train__epochs=20)).release)


def show(figures: dict[str, Any]) -> None:
    """A table on stdout."""
    for name, result in figures.items():
        for case in ("one_window", f"batch_of_{BATCH}"):
            part = result[case]
            print(f"\n{result['interpreter']}, {case.replace('_', ' ')}: us a window    p50      p99")
            rows = part["stages_us"] | {"window to score": part["window_to_score_us"], "rfft": part["numpy_rfft_us"]}
            for label, row in rows.items():
                print(f"  {label:24s} {row['p50']:20.1f} {row['p99']:8.1f}")
            print(f"  {name}: {part['times_numpy_rfft']:.2f} times numpy's rfft, at most {MOST:g} asked for")


def main() -> None:
    """Train once, measure each interpreter in a process of its own, write and print."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "release.tflite"

        def process(*arguments: str) -> str:
            command = [sys.executable, "-m", "benchmarks.latency", str(path), *arguments]
            return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

        process("train")
        figures = {runtime: json.loads(process(runtime).splitlines()[-1]) for runtime in RUNTIMES}
    show(figures)
    print(write_results("latency", {"versions": versions(), "at_most": MOST, "runtimes": figures}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [path, "train"]:
            train(Path(path))
        case [path, runtime]:
            print(json.dumps(measure(Path(path), runtime)))
        case _:
            main()
