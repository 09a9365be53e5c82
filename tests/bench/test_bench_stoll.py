"""What the comparison with Stoll 2022 says stands on these: inputs, thresholds, promises, the section."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.page import stoll as page
from benchmarks.stoll.agent import cost
from benchmarks.stoll.bench import BY_OUR_SCORE, promised
from benchmarks.stoll.inputs import PEERS, Life, Peer, blocks, rolled, sequences
from benchmarks.stoll.jobs import TRAININGS, jobs, run_all
from benchmarks.stoll.judge import by_errors, by_our_score, judge
from benchmarks.stoll.worker import Job
from fedtiny.evaluation import LocalSplit, by_residuals
from fedtiny.signal.features import BandEnergies
from fedtiny.signal.windows import WindowPlan

EXTRACT = BandEnergies(WindowPlan(window=2560, hop=2560, bands=64), 2, 1e-9)


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """Processes find the benchmarks where make starts them."""
    monkeypatch.chdir(Path(__file__).parents[2])


@pytest.fixture
def life():
    """30 snapshots: 2 unlabelled, 20 normal (7 fit, 5 kept, 8 held out), 4 between, 4 failing and ten times louder."""
    rng = np.random.default_rng(0)
    labels = np.repeat([-1, 0, -1, 1], [2, 20, 4, 4]).astype(np.int8)
    loud = np.where(labels == 1, 10.0, 1.0)[:, None, None]
    samples = (rng.normal(3.0, 2.0, (30, 2560, 2)) * loud).astype(np.float32)
    return Life(samples, labels, np.linspace(0, 1, 30, dtype=np.float32))


def test_a_life_is_cut_by_the_protocol_in_time_order(life):
    parts = (life.fit, life.kept, life.held_out)
    assert [len(part) for part in parts] == [7, 5, 8]
    assert np.concatenate(parts).tolist() == list(range(2, 22))
    assert life.failing.tolist() == [26, 27, 28, 29]


def test_blocks_are_means_and_drop_the_rest():
    assert blocks(np.arange(7, dtype=np.float32).reshape(1, 7, 1), 3).ravel().tolist() == [1.0, 4.0]


def test_windows_of_samples_are_those_of_one_channel(life):
    found = sequences(Peer("stoll", "tanh", "samples", 10, 1e-3, 16, 1), life, EXTRACT, np.array([5, 26]))
    assert found.shape == (2, 4, 100, 1)  # 256 samples of each channel: two windows of each
    channel = blocks(life.samples, 10)[:, :, 1]
    fitted = channel[life.fit]
    assert found[0, 2, :, 0] == pytest.approx((channel[5, :100] - fitted.mean()) / fitted.std(), abs=1e-5)


def test_a_snapshot_is_seen_with_those_before_it(life):
    found = sequences(PEERS["ahmad"], life, EXTRACT, np.array([0, 15]))
    assert found.shape == (2, 1, 10, 5120)
    scaled = sequences(PEERS["ahmad"], life, EXTRACT, np.arange(30))[:, 0, -1]
    assert np.array_equal(found[1, 0], scaled[6:16])
    assert np.array_equal(found[0, 0], np.repeat(scaled[:1], 10, axis=0))  # nothing before the first


def test_bands_are_standardised_by_what_weights_are_fitted_on(life):
    found = sequences(PEERS["stoll_bands"], life, EXTRACT, life.fit)
    assert found.shape == (7, 1, 64, 2)
    assert found.mean(axis=0) == pytest.approx(0, abs=1e-3)


def test_the_published_rule_wants_three_scores_in_a_row():
    assert rolled(np.array([5, 1, 9, 9, 9, 2], np.float32)).tolist() == [5, 1, 1, 1, 9, 2]


def test_scores_are_judged_at_both_thresholds(life):
    scores = np.random.default_rng(1).normal(1.0, 0.05, 30).astype(np.float32)
    scores[26:] = 9.0
    found = judge({"m": life}, {"m": by_errors(scores, life, 0.01)})
    assert found["auc_min"] == 1.0
    assert found["detection_rate"] == 1.0
    assert found["published_false_alarm_rate"] == 0.0
    assert found["published_detection_rate"] == 0.5  # two late: three in a row


def test_our_score_of_a_life_is_that_of_the_protocol(life):
    residuals = np.random.default_rng(2).normal(0, np.linspace(1, 50, 6), (30, 6)).astype(np.float32)
    residuals[26:, 0] += 10.0  # lost in the plain error, beside the loud features
    data = LocalSplit(residuals[life.local], residuals[life.held_out], residuals[life.failing])
    expected, found = by_residuals(lambda x: x, data, 0.01), by_our_score(residuals, life, 0.01)
    assert found.threshold == expected.threshold
    assert found.scores[life.failing] == pytest.approx(expected.anomalous)
    plain = by_errors(np.square(residuals).mean(axis=1), life, 0.01)
    assert judge({"m": life}, {"m": found})["auc_min"] > judge({"m": life}, {"m": plain})["auc_min"]


def test_a_machine_left_out_trains_nothing(tmp_path):
    found = jobs(tmp_path, ["a", "b", "c"], ["b"], "a", most=1)
    assert found["stoll_federated without b"].train == ("a", "c")
    assert found["stoll_federated without b"].score == ("b",)
    assert found["stoll_federated client"].train == ("a",)
    assert {job.epochs for job in found.values()} == {1}
    assert set(TRAININGS) <= set(found)


def test_a_worker_trains_what_its_peer_says(tmp_path):
    rng, steps = np.random.default_rng(0), np.arange(256)
    for machine in ("base", "one"):
        for kind, louder in (("normal", 1), ("anomalous", 10)):
            (tmp_path / machine / kind).mkdir(parents=True)
            signal = np.sin(steps / 3)[:, None] + rng.normal(0, 0.3 * louder, (30, 256, 2))
            np.save(tmp_path / machine / kind / "all.npy", signal.astype(np.float32))
    (tmp_path / "fleet.toml").write_text('sample_rate_hz = 2560\nchannels = ["x", "y"]\nbase = ["base"]\n')
    job = Job(str(tmp_path), "stoll_bands", True, ("one",), ("one",), 3)
    found = run_all({"job": job.command()}, at_once=1)["job"]
    assert found["activations"] == ["tanh"]
    assert found["losses"][-1] < found["losses"][0]
    assert {len(one["one"]["scores"]) for one in found["scored"].values()} == {60}


def test_processes_run_side_by_side_and_none_is_left():
    both = {name: [sys.executable, "-c", f"print({number})"] for number, name in enumerate("abc")}
    assert run_all(both, at_once=2) == {"a": 0, "b": 1, "c": 2}
    began = time.monotonic()
    with pytest.raises(SystemExit, match=r"bad: the process ended with 3:\nwhy"):
        run_all(
            {
                "long": [sys.executable, "-c", "import time; time.sleep(60)"],
                "bad": [sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"],
            },
            at_once=2,
        )
    assert time.monotonic() - began < 30


def test_an_interrupt_ends_what_runs(tmp_path):
    mark = tmp_path / "pid"
    child = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid()) + '.'); time.sleep(60)"
    code = (
        "import sys; from benchmarks.stoll.jobs import run_all\n"
        f"try: run_all({{'a': [sys.executable, '-c', {child!r}]}}, 1)\n"
        "except KeyboardInterrupt: sys.exit('interrupted')"
    )
    bench = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (mark.exists() and mark.read_text().endswith(".")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    bench.send_signal(signal.SIGINT)
    assert bench.communicate(timeout=30)[1] == "interrupted\n"
    assert not Path(f"/proc/{mark.read_text()[:-1]}").exists()


def test_a_mistyped_option_starts_nothing():
    done = subprocess.run([sys.executable, "-m", "benchmarks.stoll.bench", "--quik"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--quik" in done.stderr


def made_up():
    """Results of a machine called bearing2_1; ours is better and smaller in all but one thing."""
    seen = {"auc_mean": 0.99, "auc_min": 0.9, "auc_one_threshold": 0.95, "false_alarm_rate": 0.02}
    rule = {"published_false_alarm_rate": 0.1, "published_detection_rate": 0.5}
    columns = seen | {"detection_rate": 0.8} | rule

    def peer(federated):
        return {
            "detection": columns | {"auc_mean": 0.9, "auc_min": 0.8},
            "transfer": {"bearing2_1": columns} if federated else {},
            "per_device": {"bearing2_1": 0.9},
            "weights": 150_209,
            "model_bytes": 600_836,
            "bytes_a_round": {"up": 601_500, "down": 601_500} if federated else None,
            "recordings_bytes": None if federated else 3_000_000,
            "cpu_s": {"start": 5.0, "training": 40.0, "scoring": 2.0, "total": 47.0},
            "peak_rss_mb": 800.0,
            "losses": [1.0, 0.8],
            "life": [0.5, 3.0],
        }

    ours = {
        "detection": columns | {"false_alarm_rate": 0.03},
        "transfer": {"bearing2_1": columns, "bearing2_2": columns},
        "per_device": {"bearing2_1": 0.99},
        "measured": "one agent",
        "cpu_s": {"total": 2.0},
        "peak_rss_mb": 70.0,
        "model_bytes": 90_000,
        "bytes_a_round": {"up": 8_000.0, "down": 17_000.0},
        "trainer": {"cpu_s": 20.0, "peak_rss_mb": 700.0},
        "life": [0.5, 5.0],
    }
    trained = {name: peer(federated) for name, (_, federated) in TRAININGS.items()}
    trained["ahmad_central"]["detection"] |= {"auc_mean": 0.6, "false_alarm_rate": 0.0}  # it detects hardly anything
    return {"ours": ours} | trained | {method: trained[name] for method, name in BY_OUR_SCORE.items()}


def test_promises_are_held_against_the_best_peer():
    short = [floor.what for floor in promised(made_up()) if not floor.met]
    assert len(short) == 2
    assert short[0].startswith("false alarms, beside the peer with the best AUC, mean of the machines, stoll_federated")
    assert short[1].startswith("model")


def test_the_section_shows_every_method_and_its_pictures():
    results = {
        "methods": made_up(),
        "machine": "bearing2_1",
        "wall_s": 800.0,
        "positions": [0.1, 1.0],
        "labels": [0, 1],
        "transferred": ["bearing2_1"],
        "published": {
            "worker_memory_mb": {"mean": 695, "max": 769},
            "worker_training_s": 2413,
            "rounds": 25,
            "bytes_up_a_round_4_workers": 2.3e6,
        },
    }
    section = page.section(results)
    assert all(words in section.body for words in page.WORDS.values())
    assert "70 MB, 2.0 s" in section.lead
    assert section.figures["bytes_up_peer"] == "601.5 kB"
    for picture in section.pictures:
        picture.figure.draw_without_rendering()


def test_a_process_costs_what_it_took_until_its_end():
    code = "import time; held = bytearray(50_000_000)\nwhile time.process_time() < 0.3: pass"
    found = cost(subprocess.Popen([sys.executable, "-c", code]), lambda: time.sleep(0.01))
    assert 0.28 <= found["cpu_s"] < 2
    assert 50 < found["peak_rss_mb"] < 100


def test_a_process_that_fails_is_no_figure():
    with pytest.raises(SystemExit, match="exit status 3"):
        cost(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]), lambda: time.sleep(0.01))
