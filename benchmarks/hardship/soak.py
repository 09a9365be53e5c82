"""A million windows through one agent at speed: does its memory or its disk grow, and how fast does it start?

A real ``fedtiny edge run`` over a real broker, 2 channels at 25.6 kHz, windows of 2,560 samples, with rounds at the
beginning, alarms and status throughout (one snapshot in 300 is faulty, so that votes are cast and never suffice). Its
resident memory is sampled twice a second; the slope is the least-squares line over windows after the first tenth. It
runs as ``broker/systemd/fedtiny-edge.service`` runs it (PYTHONOPTIMIZE=2, compiled before); a short run without that
stands beside it.
Then it is started again on the same state, three times: from the start of the process to the first score at the broker.
Writes ``benchmarks/results/soak.json``; needs no data.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import write_results
from fedtiny.broker import EmbeddedBroker
from fedtiny.config import load_config
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import ScoreSummary
from fedtiny.transport import Connection, Received

WINDOWS = 1_000_000
SNAPSHOTS, SAMPLES, RATE_HZ = 300, 2560, 25_600
FLEET, MACHINE = "soak", "pump-03"
STARTS = 3
WARM_UP = 2_000  # windows of a first run, which leaves compiled modules behind
SHORT = 20_000
RSS_FLOOR_MB, RSS_AIM_MB, SLOPE_FLOOR_MB, START_FLOOR_S = 70.0, 60.0, 1.0, 1.0


def make_data(folder: Path) -> None:
    """A fleet folder: three machines of coloured noise and shaft harmonics, each in one npz, and one bad snapshot."""
    (folder / "fleet.toml").write_text(
        f'sample_rate_hz = {RATE_HZ}\nchannels = ["x", "y"]\nbase = ["pump-01", "pump-02"]\n'
    )
    t = np.arange(SAMPLES) / RATE_HZ
    for number in (1, 2, 3):
        rng = np.random.default_rng(number)
        noise = rng.normal(size=(SNAPSHOTS, SAMPLES, 2))
        noise[:, 1:] += 0.7 * noise[:, :-1]
        phases = rng.uniform(0, 6.28, (SNAPSHOTS, 1, 1))
        x = noise + sum(np.sin(2 * np.pi * 25 * k * t[:, None] + k * phases) / k for k in range(1, 6))
        x[SNAPSHOTS // 2, ::200] += 30
        place = folder / f"pump-0{number}" / "normal"
        place.mkdir(parents=True)
        np.savez(place / "life.npz", x=np.round(x / 0.002).astype(np.int16), lsb=np.array(0.002))


def resident_mb(pid: int) -> tuple[float, float]:
    """(now, peak) of a process, MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, peak = (int(lines[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))
    return now, peak


def size_mb(folder: Path) -> float:
    """Of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def agent(folder: Path, port: int, runtime: str, **edge: object) -> list[str]:
    """The command of the agent, its configuration written."""
    config = folder / f"{runtime}-{'-'.join(map(str, edge.values()))}.toml"
    config.write_text(
        f'fleet = "{FLEET}"\ndevice = "{runtime}"\nstate = "{folder / runtime}"\n[broker]\nport = {port}\n'
        f'[source]\nmachine = "{MACHINE}"\ndata = "{folder / "data"}"\nspeed = 0\nrepeat = 0\n'
        f'[edge]\nruntime = "{runtime}"\n' + "".join(f"{key} = {value}\n" for key, value in edge.items())
    )
    return [sys.executable, "-m", "fedtiny.cli", "edge", "run", "--config", str(config)]


def environment(optimise: bool) -> dict[str, str]:
    """As the unit sets it, or as it is typed."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {"OPENBLAS_NUM_THREADS": "1"} | ({"PYTHONOPTIMIZE": "2"} if optimise else {})


def soak(
    folder: Path, port: int, watcher: Connection, runtime: str, windows: int, *, optimise: bool = True
) -> dict[str, Any]:
    """Run until ``windows`` more are done; memory and disk on the way."""
    samples: list[tuple[int, float]] = []
    first = done = 0
    peak = 0.0
    began = time.monotonic()
    disk: list[float] = []
    command = agent(folder, port, runtime)
    with subprocess.Popen(command, env=environment(optimise), stderr=subprocess.DEVNULL) as process:
        try:
            due = 0.0
            while done - first < windows:
                event = watcher.next_event(0.5)
                if isinstance(event, Received):
                    summary = codec.decode(ScoreSummary, event.payload)
                    if summary.device == runtime:
                        first, done = first or summary.first, max(done, summary.first + summary.count)
                if process.poll() is not None:
                    raise SystemExit("the agent ended")
                if time.monotonic() > due:
                    due = time.monotonic() + 0.5
                    now, peak = resident_mb(process.pid)
                    samples.append((done - first, now))
                    disk.append(size_mb(folder / runtime))
        finally:
            process.terminate()
    took = time.monotonic() - began
    seen, memory = (np.array(column, float) for column in zip(*samples, strict=True))
    late = seen > 0.1 * windows
    slope = float(np.polyfit(seen[late] / 1e6, memory[late], 1)[0]) if late.sum() > 2 else None  # of a short run
    return {
        "windows": done - first,
        "seconds": took,
        "windows_per_s": (done - first) / took,
        "peak_rss_mb": peak,
        "rss_mb_after_a_tenth": float(memory[late][0]),
        "rss_mb_at_end": float(memory[-1]),
        "slope_mb_per_million": slope,
        "state_mb_after_a_tenth": disk[int(np.argmax(late))],
        "state_mb_most": max(disk),
        "state_mb_at_end": disk[-1],
    }


def starts(folder: Path, port: int, watcher: Connection, runtime: str) -> list[float]:
    """Seconds from the start of the process to its first score, on a state that has learned."""
    found = []
    for _ in range(STARTS + 1):  # the first one warms the caches
        while watcher.next_event(0.5) is not None:
            pass
        began = time.monotonic()
        command = agent(folder, port, runtime, score_every=1)
        with subprocess.Popen(command, env=environment(True), stderr=subprocess.DEVNULL) as process:
            try:
                while True:
                    event = watcher.next_event(30)
                    if event is None:
                        raise SystemExit("no score came")
                    if isinstance(event, Received) and topics.parse(event.topic).device == runtime:
                        found.append(time.monotonic() - began)
                        break
            finally:
                process.terminate()
    return found[1:]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=WINDOWS, help="the second runtime does a tenth of them")
    windows = parser.parse_args().windows
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        make_data(folder / "data")
        fedtiny = [sys.executable, "-m", "fedtiny.cli"]
        release = str(folder / "release.tflite")
        train = [*fedtiny, "train", "--data", str(folder / "data"), "--out", release, "--epochs", "60"]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        broker = EmbeddedBroker(folder / "broker")
        broker.start()
        topic = topics.device_topic(FLEET, "+", "score")
        watcher = Connection(
            load_config(None, broker__port=broker.port).broker, "soak-watcher", subscriptions=[(topic, 0)]
        )
        watcher.start()
        where = ["--port", str(broker.port), "--fleet", FLEET, "--state", str(folder / "coordinator")]
        coordinator = subprocess.Popen(
            [*fedtiny, "coordinator", "--release", release, *where], stderr=subprocess.DEVNULL
        )
        try:
            for runtime, count in (("litert", windows), ("tflite", windows // 10)):
                soak(folder, broker.port, watcher, runtime, WARM_UP, optimise=False)
                typed = soak(folder, broker.port, watcher, runtime, SHORT, optimise=False)
                soak(folder, broker.port, watcher, runtime, WARM_UP)
                results[runtime] = soak(folder, broker.port, watcher, runtime, count)
                results[runtime]["peak_rss_mb_as_typed"] = typed["peak_rss_mb"]
                results[runtime]["start_s"] = starts(folder, broker.port, watcher, runtime)
        finally:
            coordinator.terminate()
            coordinator.wait()
            watcher.stop()
            broker.stop()
    show(results)
    print(f"\nwritten: {os.path.relpath(write_results('soak', results))}")


def show(results: dict[str, Any]) -> None:
    """Every figure with its floor."""
    for runtime in ("litert", "tflite"):
        one = results[runtime]
        print(f"{runtime}: {one['windows']:,} windows, {one['windows_per_s']:,.0f} a second")
        for words, value, floor in (
            ("peak resident memory, MB", one["peak_rss_mb"], RSS_FLOOR_MB),
            ("slope, MB a million windows", one["slope_mb_per_million"], SLOPE_FLOOR_MB),
            ("start to first score, s (median)", statistics.median(one["start_s"]), START_FLOOR_S),
        ):
            print(f"  {'met  ' if value <= floor else 'SHORT'}  {words}: {value:.3g}, at most {floor:g}")
        print(f"         memory's aim: {RSS_AIM_MB:g} MB; without PYTHONOPTIMIZE: {one['peak_rss_mb_as_typed']:.1f} MB")
        print(f"         state on disk, at most: {one['state_mb_most']:.2f} MB")


if __name__ == "__main__":
    main()
