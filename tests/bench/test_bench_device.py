"""What the figures of a device stand on: stages that are the agent's, turns, promises, the section."""

import copy

import numpy as np
import pytest

from benchmarks.device.bench import floors, physical_floor
from benchmarks.device.stages import STAGES, case, watcher
from benchmarks.device.turns import take_turns
from benchmarks.page.device import section
from benchmarks.page.style import save

TIMES = {"ours": np.tile([1.0, 2, 3, 4, 5, 6, 7], (9, 1)), "numpy": np.full(9, 8.0), "scipy_float32": np.full(9, 6.0)}
VARIANTS = ("int8", "int8 as deployed", "float32", "numpy float32")


@pytest.fixture
def results():
    one = case(copy.deepcopy(TIMES))
    stages = {"interpreter": "litert 2", "one_window": one, "batch_of_64": one}
    network = {case: {name: {"p50": 2.0, "p99": 3.0} for name in VARIANTS} for case in ("one_window", "batch_of_64")}
    litert = network | {"macs": 18_432, "core_int8_gmac_per_s": 36.864}
    agent = {
        "windows": 20_000,
        "windows_per_s": 3000.0,
        "peak_rss_mb": 69.0,
        "peak_rss_mb_as_typed": 72.0,
        "start_to_first_score_s": [0.5, 0.7, 0.6],
    }
    networks = {"litert": litert, "tflite": network}
    return {
        "published": {"worker_rss_mb_mean": 695.0, "worker_rss_mb_max": 769.0, "whose": "Stoll 2022"},
        "stages": {"litert": stages, "tflite": stages},
        "network": networks,
        "floor": physical_floor(networks),
        "start": {name: {"python": 20.0, "numpy": 100.0, "peak_rss_mb": 55.0} for name in networks},
        "agent": {"litert": agent, "tflite": agent | {"peak_rss_mb": 75.0}},
    }


def test_turns_change_order_and_the_warm_up_is_not_counted():
    seen = []
    runs = {name: lambda part, name=name: seen.append(name) for name in "ab"}
    runs["c"] = lambda part: [0, 2000, 5000]
    times = take_turns(runs, [np.zeros((2, 1), np.float32)], 40)
    assert seen.count("a") == seen.count("b") == 42
    assert {seen[i] for i in range(0, len(seen), 2)} == {"a", "b"}
    assert times["a"].shape == (40,)
    assert times["c"].tolist() == [[1.0, 1.5]] * 40  # us a window, of two


def test_a_window_goes_through_every_stage_and_the_vote(release):
    channels, window = len(release.manifest.channels), release.manifest.window
    windows = np.random.default_rng(0).normal(size=(64, window, channels)).astype(np.float32)
    run, alarm = watcher(release, "litert", windows)
    stamps = run(windows[:3])
    assert len(stamps) == len(STAGES) + 1
    assert (np.diff(stamps) > 0).all()
    assert len(alarm.recent) == 3


def test_window_to_score_is_without_the_sensor_check_and_the_vote():
    found = case(copy.deepcopy(TIMES))
    assert found["window_to_alarm_us"]["p50"] == 28
    assert found["window_to_score_us"]["p50"] == 20
    assert found["times_numpy_rfft"] == 2.5
    assert found["rfft_share_of_features"] == 4.0


def test_floors_name_what_is_short(results):
    assert results["floor"]["floor_us"] == pytest.approx(0.5)
    assert results["floor"]["share_one_window"] == pytest.approx(0.25)
    short = [floor.what for floor in floors(results) if not floor.met]
    assert len(short) == 5
    assert "peak RSS of an agent, tflite" in short


def test_the_section_draws_itself_also_without_scipy(results, tmp_path):
    for one in results["stages"].values():
        one["one_window"]["rfft_us"].pop("scipy_float32", None)
    made = section(results)
    assert made.figures["agent_rss"] == "69 MB"
    assert made.figures["rss_ratio"] == "10"
    assert made.figures["start"] == "0.6 s"
    assert "rfft, numpy" in made.body
    assert "scipy" not in made.body
    for picture in made.pictures:
        save(picture.figure, tmp_path / picture.name)
        assert (tmp_path / picture.name).stat().st_size > 1000
