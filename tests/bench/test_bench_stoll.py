"""What the comparison with Stoll 2022 says stands on these: inputs, thresholds, promises, the section."""

import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.lstm_inputs import PEERS, Life, Peer, blocks, rolled, sequences
from benchmarks.page import stoll as page
from benchmarks.stoll import METHODS, jobs, judge, promised
from benchmarks.stoll_agent import cost
from fedtiny.signal.features import BandEnergies
from fedtiny.signal.windows import WindowPlan

EXTRACT = BandEnergies(WindowPlan(window=2560, hop=2560, bands=64), 2, 1e-9)


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
    found = sequences(Peer("stoll", "samples", 10, 1e-3, 16, 1), life, EXTRACT, np.array([5, 26]))
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
    scores = np.random.default_rng(1).normal(1.0, 0.05, 30)
    scores[26:] = 9.0
    found = judge({"m": life}, {"m": scores.tolist()}, 0.01)
    assert found["auc_min"] == 1.0
    assert found["detection_rate"] == 1.0
    assert found["published_rule"] == {"false_alarm_rate": 0.0, "detection_rate": 0.5}  # two late, three in a row


def test_a_machine_left_out_trains_nothing(tmp_path):
    found = jobs(tmp_path, ["a", "b", "c"], ["b"], most=1)
    assert found["stoll_federated without b"].train == ("a", "c")
    assert found["stoll_federated without b"].score == ("b",)
    assert {job.epochs for job in found.values()} == {1}
    assert set(METHODS) <= set(found)


def made_up():
    """Results of a machine called bearing2_1; ours is better and smaller in all but one thing."""
    seen = {"auc_mean": 0.99, "auc_min": 0.9, "auc_one_threshold": 0.95, "false_alarm_rate": 0.02}
    columns = seen | {"detection_rate": 0.8}
    rule = {"false_alarm_rate": 0.1, "detection_rate": 0.5}

    def peer(federated):
        return {
            "detection": columns | {"auc_mean": 0.9, "auc_min": 0.8, "published_rule": rule},
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
        "cpu_s": {"training": 0.1, "scoring": 0.2, "total": 2.0},
        "peak_rss_mb": 70.0,
        "model_bytes": 90_000,
        "bytes_a_round": {"up": 8_000.0, "down": 17_000.0},
        "trainer": {"cpu_s": 20.0, "peak_rss_mb": 700.0},
        "life": [0.5, 5.0],
    }
    return {"ours": ours} | {method: peer(federated) for method, (_, federated) in METHODS.items()}


def test_promises_are_held_against_the_best_peer():
    short = [floor.what for floor in promised(made_up()) if not floor.met]
    assert len(short) == 2
    assert short[0].startswith("false alarms")
    assert short[1].startswith("model")


def test_the_section_shows_every_method_and_its_pictures():
    results = {
        "methods": made_up(),
        "machine": "bearing2_1",
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
