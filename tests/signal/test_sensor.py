import numpy as np
import pytest

from fedtiny.signal.sensor import SensorBaseline, check_windows
from fedtiny.signal.windows import cut

CHANNELS = ("x", "y")
SIZE, RATE = 2560, 25_600.0
TIME = np.arange(SIZE) / RATE


@pytest.fixture
def healthy(rng):
    """Normal windows as a 16-bit converter gives them, 2 mg a step: tones and noise, with an offset of 1 g."""
    tones = 0.5 * np.sin(2 * np.pi * 137.3 * TIME)[:, None] * [1, 0.6]
    return quantised(1 + tones + 0.3 * rng.normal(size=(40, SIZE, 2)), 0.002)


def quantised(samples, step):
    return (np.rint(samples / step) * step).astype(np.float32)


def fault(window, baseline=None):
    (found,) = check_windows(window[None], CHANNELS, baseline)
    return found


def sine(hz, amplitude):
    return amplitude * np.sin(2 * np.pi * hz * TIME + 0.4)


def test_healthy_windows_are_clean(healthy):
    assert check_windows(healthy, CHANNELS, SensorBaseline.of(healthy)) == [None] * 40
    assert check_windows(healthy[:0], CHANNELS) == []


def test_the_layout_in_memory_does_not_matter(healthy):
    signal = healthy.reshape(-1, 2).copy()
    signal[5 * SIZE : 5 * SIZE + 20, 1] = 5
    windows = cut(signal, SIZE, SIZE // 2)
    found = check_windows(windows, CHANNELS)
    assert [i for i, one in enumerate(found) if one] == [9, 10]
    channel_first = np.ascontiguousarray(windows.swapaxes(1, 2)).swapaxes(1, 2)
    assert check_windows(channel_first, CHANNELS) == found


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(healthy, value):
    healthy[0, 100:120, 1] = value
    found = fault(healthy[0])
    assert found.text == "dropped: 20 of 2560 samples of channel y are no numbers"
    assert not found.usable
    healthy[0] = value
    assert fault(healthy[0]).kind == "dropped"


def test_a_flat_line(healthy):
    healthy[0, :, 0] = 1.25
    found = fault(healthy[0])
    assert found.text == "flat: every sample of channel x is 1.25"
    assert not found.usable


@pytest.mark.parametrize("start", [0, 333, 1917])
def test_a_value_held_for_a_quarter_of_the_window(healthy, start):
    healthy[0, start : start + SIZE // 4, 1] = healthy[0, start, 1]
    found = fault(healthy[0])
    assert found.text.startswith("stuck: channel y stays at")
    assert f"for {SIZE // 4} of {SIZE} samples" in found.text
    assert not found.usable


def test_a_value_held_for_less_is_no_fault(healthy):
    healthy[0, 300 : 300 + SIZE // 5, 1] = 1.0
    assert fault(healthy[0]) is None


def test_a_disconnected_channel_is_told_by_the_other_one(healthy, rng):
    baseline = SensorBaseline.of(healthy)
    window = healthy[0].copy()
    window[:, 1] = 0.002 * rng.normal(size=SIZE)
    assert fault(window) is None, "no baseline, no verdict"
    found = fault(window, baseline)
    assert found.text == "disconnected: channel y is silent, the others are not"
    assert not found.usable


def test_a_machine_that_stands_still_is_no_fault(healthy, rng):
    baseline = SensorBaseline.of(healthy)
    assert fault((1 + 0.002 * rng.normal(size=(SIZE, 2))).astype(np.float32), baseline) is None
    coarse = quantised(1 + 0.02 * rng.normal(size=(SIZE, 2)), 0.1)  # one value nearly always, now and then the next
    coarse[100, :] = 1.1
    assert fault(coarse, baseline) is None


def test_baselines_merge_to_the_lowest_of_both(healthy):
    loud, quiet = SensorBaseline.of(healthy[:20] * 3), SensorBaseline.of(healthy[20:])
    merged = loud.merged(quiet)
    np.testing.assert_array_equal(merged.lowest, quiet.lowest)
    np.testing.assert_allclose(merged.lowest, healthy[20:].var(axis=1).min(axis=0), rtol=1e-4)
    assert merged.lowest.dtype == np.float32


@pytest.mark.parametrize("rail", [0.4, 0.7, 0.9])
@pytest.mark.parametrize("step", [1e-7, 0.002])
def test_a_clipped_tone(rail, step):
    window = quantised(np.stack([sine(137.3, 0.2), np.clip(sine(311.7, 1.0), -rail, rail)], axis=1), step)
    found = fault(window)
    share = 100 * np.mean(np.abs(window[:, 1]) == np.abs(window[:, 1]).max())
    assert found.text == f"clipping: {share:.3g} % of channel y at {-rail:.4g} and {rail:.4g}"
    assert found.usable


def test_a_shock_that_reaches_one_rail_a_few_times(healthy, rng):
    shocks = np.zeros(SIZE)
    shocks[rng.choice(SIZE, 30)] = rng.uniform(40, 90, 30)
    ringing = np.convolve(shocks, np.exp(-np.arange(80) / 12) * np.cos(0.9 * np.arange(80)))[:SIZE]
    healthy[0, :, 0] += quantised(ringing, 0.002)
    assert fault(healthy[0]) is None
    found = fault(np.minimum(healthy[0], np.float32(25)))
    assert found.kind == "clipping"
    assert found.text.endswith("of channel x at 25")


def test_the_gravest_fault_is_named(healthy):
    window = np.clip(healthy[0], 0.5, 1.5)
    assert fault(window).kind == "clipping"
    window[:, 1] = 0
    assert fault(window).kind == "flat"


@pytest.mark.parametrize("step", [0.0005, 0.002, 0.01, 0.05, 0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0])
def test_coarse_steps_are_no_clipping(rng, step, sigma):
    windows = quantised(0.3 + sigma * rng.normal(size=(50, SIZE, 2)), step)
    windows[..., 1] += quantised(sine(137.3, sigma), step)
    kinds = {found.kind for found in check_windows(windows, CHANNELS) if found}
    assert kinds <= {"flat"}


@pytest.mark.parametrize("step", [1e-7, 0.0005, 0.002, 0.01, 0.03])
@pytest.mark.parametrize("hz", [50, 100, 137.3, 640, 1000, 1234.5, 3200, 6400, 8533.3])
def test_peaks_of_a_tone_repeat_without_clipping(hz, step):
    assert fault(quantised(np.stack([sine(hz, 1.0), sine(hz / 3, 0.77)], axis=1), step)) is None


def test_impulses_over_a_quiet_coarse_floor_are_no_clipping(rng):
    window = quantised(0.003 * rng.normal(size=(SIZE, 2)), 0.002)
    window[::97, 0] += quantised(rng.exponential(5, len(window[::97])), 0.002)
    window[::61, 1] -= quantised(rng.exponential(20, len(window[::61])), 0.002)
    assert fault(window) is None


def test_a_noisy_square_wave_is_no_clipping(rng):
    square = np.sign(sine(137.3, 1.0))[:, None] * [1.0, 3.0]
    assert fault(quantised(square, 0.002)) is None
    assert check_windows(quantised(square + 0.02 * rng.normal(size=(50, SIZE, 2)), 0.002), CHANNELS) == [None] * 50


@pytest.mark.parametrize("size", [1, 5, 50, 128, 1000, 4099])
def test_windows_of_any_size(rng, size):
    windows = rng.normal(size=(20, size, 3)).astype(np.float32)
    assert check_windows(windows, ("a", "b", "c"), SensorBaseline.of(windows)) == [None] * 20
