import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fedtiny.model.alarm import AlarmLife
from fedtiny.model.drift import WEIGHT, Drift

SIZE, THRESHOLD = 40, 1.8
STEADY = 1 / float(WEIGHT)  # windows: the time constant


def course(rng, per_window, windows, threshold=THRESHOLD):
    """(score, level, share of the bound) of each window while one direction ramps by ``per_window``, in deviations."""
    drift, direction = Drift(SIZE, threshold), np.sqrt(SIZE) * np.eye(SIZE, dtype=np.float32)[3]
    for number in range(windows):
        whitened = (rng.normal(size=SIZE) + number * per_window * direction).astype(np.float32)
        away = drift.away(whitened)
        score, level = (float(np.mean(np.square(x))) for x in (away, whitened))
        if score < threshold:
            drift.follow(away)
        yield score, level, drift.used


def test_a_slow_harmless_drift_raises_nothing_that_a_detector_that_stands_still_would(rng):
    """In a thousand windows to where the drift alone is 0.8 of the threshold, and with the noise is over it."""
    scores, levels, used = np.array(list(course(rng, np.sqrt(0.8 * THRESHOLD) / 1000, 1000))).T
    by_chance = np.mean(np.array(list(course(rng, 0, 1000)))[:, 0] >= THRESHOLD)
    assert np.mean(scores >= THRESHOLD) <= by_chance + 0.005
    assert np.mean(levels[-100:] >= THRESHOLD) > 0.75
    assert 0.5 < used[-1] < 1


@pytest.mark.parametrize("windows_a_deviation", [100, 1000, 5000])
def test_a_fault_that_grows_slowly_alarms_before_it_is_four_thresholds_high(rng, windows_a_deviation):
    """However slow: the centre goes as far as one threshold's distance, the score needs one more, (1 + 1)^2 = 4."""
    assert windows_a_deviation > STEADY
    alarm, level = AlarmLife(votes=3, window=5), 0.0
    windows = course(rng, 1 / windows_a_deviation, 6 * windows_a_deviation)
    while not alarm.standing:
        score, level, _ = next(windows)
        alarm.add(over=score >= THRESHOLD, quiet=False)
    assert level < 4 * THRESHOLD + 1  # the noise itself scores 1


@given(
    st.floats(0.1, 50),
    st.lists(arrays.arrays(np.float32, 3, elements=st.floats(-1e6, 1e6, width=32)), max_size=30),
)
def test_whatever_comes_it_never_goes_beyond_its_bound(threshold, windows):
    drift = Drift(3, threshold)
    for window in windows:
        drift.follow(drift.away(window))
        assert drift.used <= 1.0001
        assert np.mean(np.square(drift.centre)) <= 1.0001 * threshold


def test_it_comes_back_from_its_bound():
    drift = Drift(SIZE, THRESHOLD)
    far, home = np.full(SIZE, 9, np.float32), np.zeros(SIZE, np.float32)
    for _ in range(100):
        drift.follow(drift.away(far))
    assert drift.used == pytest.approx(1, abs=1e-3)
    for _ in range(int(5 * STEADY)):
        drift.follow(drift.away(home))
    assert drift.used < 1e-3
