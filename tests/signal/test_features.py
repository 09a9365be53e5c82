from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.errors import ConfigError
from fedtiny.signal.features import FAR, BandEnergies, Standardisation, adapt_standardisation, fit_standardisation
from fedtiny.signal.windows import WindowPlan, cut, plan_windows

PLAN = WindowPlan(window=1024, hop=512, bands=32)  # 16 bins a band
EXTRACT = BandEnergies(PLAN, channels=2, floor=1e-12)


def tone(bin_number: int, amplitude: float) -> np.ndarray:
    """One window of two channels; the tone is in the second."""
    x = np.zeros((1, 1024, 2))
    x[0, :, 1] = amplitude * np.cos(2 * np.pi * bin_number * np.arange(1024) / 1024 + 0.3)
    return x


@pytest.mark.parametrize("bin_number", [8, 200, 500])
@pytest.mark.parametrize("amplitude", [0.01, 3.0])
def test_a_tone_lands_in_its_band_with_its_power(bin_number, amplitude):
    bands = np.exp(EXTRACT(tone(bin_number, amplitude)).reshape(2, 32).astype(np.float64))
    band = (bin_number - 1) // 16
    # a cosine's mean power is a^2 / 2; the unit-energy window gives half of the 1,024 bins' worth to each half
    assert bands[1, band] * 16 == pytest.approx(amplitude**2 / 2 * 512, rel=1e-3)
    assert np.delete(bands[1], band).max() < 1e-6 * bands[1, band]
    assert bands[0].max() < 1e-11


def test_white_noise_has_its_variance_in_every_band(rng):
    bands = np.exp(EXTRACT(0.5 * rng.normal(size=(400, 1024, 2)))).mean(axis=0)
    np.testing.assert_allclose(bands, 0.25, rtol=0.1)


def test_twice_the_amplitude_shifts_every_band_alike(rng):
    x = rng.normal(size=(5, 1024, 2))
    np.testing.assert_allclose(EXTRACT(2 * x) - EXTRACT(x), 2 * np.log(2), atol=1e-4)


def test_an_offset_has_no_effect(rng):
    x = rng.normal(size=(5, 1024, 2))
    np.testing.assert_allclose(EXTRACT(x + np.array([9.81, -300])), EXTRACT(x), atol=2e-2)


def test_silence_is_the_floor_and_the_input_is_left_alone():
    silence = np.zeros((3, 1024, 2), np.float32)
    np.testing.assert_allclose(EXTRACT(silence), np.log(1e-12), rtol=1e-6)
    x = np.ones((1, 1024, 2), np.float32)
    EXTRACT(x)
    np.testing.assert_array_equal(x, 1)
    assert EXTRACT(np.empty((0, 1024, 2))).shape == (0, 64)


def test_windows_do_not_see_each_other(rng):
    x = rng.normal(size=(4, 1024, 2)).astype(np.float32)
    together = EXTRACT(x)
    assert together.dtype == np.float32
    for i in range(4):
        np.testing.assert_allclose(EXTRACT(x[i : i + 1])[0], together[i], atol=1e-5)


@given(
    rate=st.sampled_from([50, 100, 1000, 12_800, 20_480, 25_600, 51_200]),
    length=st.integers(8, 300_000),
    channels=st.integers(1, 8),
)
def test_sizes_follow_from_rate_and_length(rate, length, channels):
    plan = plan_windows(rate, length)
    assert 8 <= plan.window <= min(length, 8192)
    assert 1 <= plan.hop <= plan.window
    extract = BandEnergies(plan, channels, 1e-9)
    samples = np.random.default_rng(0).normal(size=(min(length, 3 * plan.window), channels))
    features = extract(cut(samples, plan.window, plan.hop)[:2])
    assert features.shape[1] == extract.size == channels * plan.bands
    assert len(features) >= 1
    assert (features > np.log(1e-9) + 1).all()  # every band holds a bin


@given(window=st.integers(8, 600), data=st.data())
def test_any_plan_that_is_accepted_has_no_empty_band(window, data):
    bands = data.draw(st.integers(1, window // 2))
    extract = BandEnergies(WindowPlan(window, window, bands), 1, 1e-9)
    features = extract(np.random.default_rng(window).normal(size=(1, window, 1)))
    assert features.shape == (1, bands)
    assert np.isfinite(features).all()


def test_the_sizes_that_are_asked_for_are_kept():
    assert plan_windows(50, 50) == WindowPlan(50, 50, 12)
    assert plan_windows(25_600, 2560, window=256, hop=100, bands=8) == WindowPlan(256, 100, 8)
    assert plan_windows(12_800, 60 * 12_800) == WindowPlan(2048, 1024, 64)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: plan_windows(1000, 100, window=256), "window: 256 samples asked, but the shortest recording has 100"),
        (lambda: plan_windows(1000, 7), "recordings of 7 samples are too short"),
        (lambda: plan_windows(1000, 256, bands=200), "bands: 200 asked, but a window of 256 samples has 128 bins"),
        (lambda: plan_windows(1000, 256, hop=300), "hop: 300 samples, expected 1 to 256"),
        (lambda: BandEnergies(PLAN, 1, 0.0), "floor"),
    ],
)
def test_impossible_sizes_are_named(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_windows_overlap_and_what_is_left_over_is_left_out():
    samples = np.column_stack([np.arange(10), -np.arange(10)])
    windows = cut(samples, 4, 3)
    np.testing.assert_array_equal(windows[:, :, 0], [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    np.testing.assert_array_equal(windows[:, :, 1], -windows[:, :, 0])
    assert cut(samples, 11, 3).shape == (0, 11, 2)


def test_standardisation_has_a_floor_for_bands_that_stand_still(rng):
    features = rng.normal(3, 2, (500, 8)).astype(np.float32)
    features[:, 0] = 1
    scale = fit_standardisation(features)
    z = scale(features)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(z[:, 1:].std(axis=0), 1, rtol=1e-3)
    assert scale.deviation[0] == pytest.approx(0.5, rel=0.1)  # a quarter of the median
    assert fit_standardisation(np.ones((3, 4), np.float32)).deviation.min() == np.float32(0.02)


def test_only_a_machine_far_from_the_base_gets_its_own_level(rng):
    base = Standardisation(np.zeros(8, np.float32), np.ones(8, np.float32))
    for shift, adapted in ((FAR - 0.5, False), (FAR + 0.5, True), (-FAR - 0.5, True)):
        normal = (shift + 0.1 * rng.normal(size=(40, 8))).astype(np.float32)
        scale = adapt_standardisation(base, normal)
        assert (scale is not base) == adapted
        np.testing.assert_array_equal(scale.deviation, base.deviation)
        np.testing.assert_allclose(scale(normal).mean(), 0 if adapted else shift, atol=0.05)


def by_the_book(windows: np.ndarray, plan: WindowPlan, floor: float) -> np.ndarray:
    """The definition, a step a line and nothing shared with the code: float64 (n, channels * bands)."""
    n = plan.window
    x = windows.astype(np.float64).swapaxes(1, 2)
    x = x - x.mean(axis=2, keepdims=True)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    power = np.abs(np.fft.rfft(x * hann / np.sqrt(np.square(hann).sum()), axis=2)) ** 2
    edges = np.round(np.linspace(1, n // 2 + 1, plan.bands + 1)).astype(int)
    bands = [power[:, :, a:b].mean(axis=2) for a, b in pairwise(edges)]
    return np.log(np.stack(bands, axis=2) + floor).reshape(len(windows), -1)


@pytest.mark.parametrize(
    ("window", "channels", "bands", "count"), [(2560, 2, 64, 30), (50, 1, 12, 3), (127, 3, 20, 200), (8192, 8, 64, 2)]
)
@pytest.mark.parametrize("offset", [0.0, 9.81])
def test_fast_is_the_same_as_by_the_book(rng, window, channels, bands, count, offset):
    """Tones from loud to faint on noise, more windows than fit the buffer, channels apart in memory."""
    plan = WindowPlan(window, window, bands)
    t = np.arange(count * window)[:, None]
    signal = 0.1 * rng.normal(size=(len(t), channels)) + 10.0 ** -np.arange(channels) * np.sin(0.7 * t) + offset
    windows = cut(signal.astype(np.float32), window, window)
    extract = BandEnergies(plan, channels, 1e-9)
    expected = by_the_book(windows, plan, 1e-9)
    np.testing.assert_allclose(extract(windows), expected, rtol=1e-5, atol=1e-5)
    one_by_one = np.concatenate([extract(windows[i : i + 1]) for i in range(count)])
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-5, atol=1e-5)
