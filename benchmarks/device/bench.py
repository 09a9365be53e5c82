"""One device: from window to alarm by stage, the model's step beside its peers, start-up and memory.

FEMTO's sizes: windows of 2,560 samples of 2 channels, 64 bands a channel, an autoencoder 128-64-16-64-128, one thread.

- Stages, and the transform of the same window as their floor: ``stages``.
- The network alone in int8 and float32 on both interpreters and in numpy, and as a share of what this core's int8
  arithmetic allows: ``network``.
- Start-up and the memory of a whole agent: ``agent``.

Each interpreter has processes of its own; within one, what is compared takes turns. Not measured: a sensor's driver,
other processors. The memory of the thesis's training worker is published, not from this run. Writes
``benchmarks/results/device.json``; ``--quick`` prints a part of it and writes nothing. Needs no data.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import Floor, write_results
from benchmarks.device import agent as device_agent
from benchmarks.hardship import soak
from benchmarks.shared import program

RUNTIMES = ("litert", "tflite")
TURNS, QUICK_TURNS = 5_000, 1_000
WINDOWS, QUICK_WINDOWS = 20_000, 4_000
REPEATS, QUICK_REPEATS = 5, 2
MOST_RFFT, MOST_MB = 2.0, 70.0
BATCH = "batch_of_64"
PUBLISHED = {"worker_rss_mb_mean": 695.0, "worker_rss_mb_max": 769.0, "whose": "Stoll 2022, a federated LSTM worker"}


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    """All figures; in ``folder`` are the models, data and states."""
    (folder / "data").mkdir()
    soak.make_data(folder / "data")
    _process("models", folder / "data", folder)
    release, turns = folder / "release.tflite", QUICK_TURNS if quick else TURNS
    found: dict[str, Any] = {"published": PUBLISHED}
    found["stages"] = {name: _json("stages", release, name, turns) for name in RUNTIMES}
    found["network"] = {name: _json("network", folder, name, turns) for name in RUNTIMES}
    found["floor"] = physical_floor(found["network"])
    repeats = QUICK_REPEATS if quick else REPEATS
    found["start"] = {name: device_agent.start_of_parts(release, name, repeats) for name in RUNTIMES}
    agents = RUNTIMES[:1] if quick else RUNTIMES
    found["agent"] = device_agent.whole(folder, release, agents, QUICK_WINDOWS if quick else WINDOWS)
    return found


def physical_floor(network: dict[str, Any]) -> dict[str, float]:
    """Time of the network's multiply-accumulates at this core's best rate, and its share of LiteRT's step."""
    litert = network["litert"]
    floor_us = litert["macs"] / litert["core_int8_gmac_per_s"] / 1e3
    return {
        "macs": litert["macs"],
        "core_int8_gmac_per_s": litert["core_int8_gmac_per_s"],
        "floor_us": floor_us,
        "share_one_window": floor_us / litert["one_window"]["int8"]["p50"],
        "share_batch": floor_us / litert[BATCH]["int8"]["p50"],
    }


def floors(found: dict[str, Any]) -> list[Floor]:
    """What was asked for."""
    rows = []
    for name, stages in found["stages"].items():
        for case, words in (("one_window", "one window"), (BATCH, "64 windows together")):
            what = f"window to score, {name}, {words}, times numpy's rfft"
            rows.append(Floor(what, stages[case]["times_numpy_rfft"], MOST_RFFT))
    for name, agent in found["agent"].items():
        rows.append(Floor(f"peak RSS of an agent, {name}", agent["peak_rss_mb"], MOST_MB, "MB"))
    return rows


def show(found: dict[str, Any], kept: list[Floor]) -> None:
    """Tables on stdout."""
    for stages in found["stages"].values():
        for name in ("one_window", BATCH):
            case = stages[name]
            print(f"\n{stages['interpreter']}, {name.replace('_', ' ')}; us a window{'p50':>14}{'p99':>10}")
            totals = {key.replace("_us", "").replace("_", " "): case[key] for key in case if key.startswith("window_")}
            transforms = {f"rfft alone, {key.replace('_', ' ')}": row for key, row in case["rfft_us"].items()}
            for words, row in (case["stages_us"] | totals | transforms).items():
                print(f"  {words:30}{row['p50']:20.1f}{row['p99']:10.1f}")
            share = f"rfft is {case['rfft_share_of_features']:.0%} of features"
            print(f"  window to score is {case['times_numpy_rfft']:.2f} times numpy's rfft; {share}")
    print(f"\n{'the network alone, us a window (p50)':40}{'one':>10}{'of 64':>10}")
    for runtime, network in found["network"].items():
        for name, row in network["one_window"].items():
            print(f"  {runtime + ', ' + name:38}{row['p50']:10.2f}{network[BATCH][name]['p50']:10.2f}")
    floor = found["floor"]
    print(
        f"  {floor['macs']:,} MACs at {floor['core_int8_gmac_per_s']:.0f} GMAC/s: {floor['floor_us']:.2f} us; "
        f"{floor['share_one_window']:.0%} of one window's int8 step, {floor['share_batch']:.0%} in a batch"
    )
    for runtime, parts in found["start"].items():
        steps = ", ".join(f"{name} {parts[name]:.0f}" for name in device_agent.PARTS)
        print(f"start, ms, {runtime}: {steps}; {parts['peak_rss_mb']:.1f} MB without a network")
    for runtime, agent in found["agent"].items():
        print(
            f"agent, {runtime}: peak RSS {agent['peak_rss_mb']:.1f} MB (as typed {agent['peak_rss_mb_as_typed']:.1f}), "
            f"first score {statistics.median(agent['start_to_first_score_s']):.2f} s after its start, "
            f"{agent['windows_per_s']:,.0f} windows a second"
        )
    published = found["published"]
    print(f"published, not from this run: {published['worker_rss_mb_mean']:.0f} MB mean, {published['whose']}")
    print(*kept, sep="\n")


def _json(module: str, *arguments: object) -> dict[str, Any]:
    return dict(json.loads(_process(module, *arguments).splitlines()[-1]))


def _process(module: str, *arguments: object) -> str:
    """What a fresh process of one of our modules prints; its words and the end of the program when it fails."""
    command = [sys.executable, "-m", f"benchmarks.device.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{module}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout


def main(*, quick: bool) -> None:
    """Measure, print, write."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), quick=quick)
    kept = floors(found)
    show(found, kept)
    if not quick:
        print(write_results("device", found, kept))


if __name__ == "__main__":
    program.run(main, __doc__, quick="fewer turns, one agent; nothing is written")
