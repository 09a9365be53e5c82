import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.model.artifact import Gate, Manifest
from fedtiny.model.explain import Band, band_edges, contributions, top_bands
from fedtiny.model.scoring import fit_residuals
from fedtiny.signal.features import BandEnergies
from fedtiny.signal.windows import WindowPlan

RATE, WINDOW, BANDS = 12_800.0, 1000, 32


def manifest(channels=("x", "y"), **changes):
    fields = {
        "name": "pumps",
        "sample_rate_hz": RATE,
        "channels": channels,
        "window": WINDOW,
        "hop": WINDOW,
        "bands": BANDS,
        "floor": 1e-9,
        "mean": (0.0,),
        "deviation": (1.0,),
        "layers": (1,),
        "trainable": (0,),
        "output_min": -1,
        "output_max": 1,
        "training": {},
        "gate": Gate(rank_correlation=1, windows=1),
        "made_with": {},
    }
    return Manifest(**{**fields, **changes})


def given_features(*names):
    return manifest(names, feature="given", window=1, hop=1, bands=0, floor=0)


@pytest.fixture(scope="module")
def machine():
    """Normal windows (200, WINDOW, 2), the feature extractor and the residual model learned from them."""
    normal = np.random.default_rng(3).normal(size=(200, WINDOW, 2)).astype(np.float32)
    extract = BandEnergies(WindowPlan(WINDOW, WINDOW, BANDS), 2, 1e-9)
    return normal, extract, fit_residuals(extract(normal))


@given(seed=st.integers(0, 10_000), windows=st.integers(1, 5), features=st.integers(2, 40))
def test_contributions_sum_to_the_mean_score(seed, windows, features):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(features, features)).astype(np.float32)
    model = fit_residuals(rng.normal(size=(60, features)).astype(np.float32) @ mixing)
    residuals = (3 * rng.normal(size=(windows, features))).astype(np.float32)
    found = contributions(model.whiten(residuals))
    assert found.shape == (features,)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(model.score(residuals).mean(), rel=1e-4)


def test_a_single_window_may_come_without_its_axis(rng):
    row = rng.normal(size=12).astype(np.float32)
    np.testing.assert_array_equal(contributions(row), contributions(row[None]))


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("hz", [40.0, 333.3, 1777.0, 4096.0, 6350.0])
def test_an_injected_tone_is_named(machine, channel, hz):
    normal, extract, model = machine
    windows = normal[:8].copy()
    windows[:, :, channel] += 3 * np.sin(2 * np.pi * hz * np.arange(WINDOW) / RATE)
    first, *rest = top_bands(contributions(model.whiten(extract(windows))), manifest(), speed_hz=20.0)
    assert first.channel == "xy"[channel]
    assert first.low_hz <= hz <= first.high_hz
    assert first.high_hz - first.low_hz < 3 * RATE / 2 / BANDS
    assert first.share > 0.5
    assert first.share > 4 * sum(band.share for band in rest)
    assert (first.low_order, first.high_order) == (first.low_hz / 20, first.high_hz / 20)


@pytest.mark.parametrize(("window", "bands"), [(1000, 32), (2560, 64), (257, 31), (128, 64)])
def test_the_edges_are_those_of_the_features(window, bands):
    """A tone in the middle of what is said to be a band has its power there."""
    extract = BandEnergies(WindowPlan(window, window, bands), 1, 1e-12)
    edges = band_edges(manifest(window=window, hop=window, bands=bands))
    assert len(edges) == bands + 1
    assert edges[-1] <= RATE / 2
    for band, hz in enumerate((edges[:-1] + edges[1:]) / 2):
        tone = np.cos(2 * np.pi * hz * np.arange(window) / RATE + 0.5).astype(np.float32)
        assert extract(tone[None, :, None])[0].argmax() == band


def test_neighbours_that_stand_out_are_one_band_of_their_channel():
    table = np.full((2, BANDS), 0.01, np.float32)
    table[0, 4:7] = 0.4, 1.0, 0.5
    table[0, -1] = table[1, 0] = 0.6  # neighbours in memory only
    table[1, 9] = 0.2  # under a quarter of the largest
    edges = band_edges(manifest())
    found = top_bands(table.ravel(), manifest())
    assert [(band.channel, band.low_hz, band.high_hz) for band in found] == [
        ("x", edges[4], edges[7]),
        ("x", edges[-2], edges[-1]),
        ("y", edges[0], edges[1]),
    ]
    assert found[0].share == pytest.approx(1.9 / table.sum(), rel=1e-5)
    assert found[0].low_order is None
    assert top_bands(table.ravel(), manifest(), count=1) == found[:1]


def test_given_features_are_named_without_frequencies():
    found = top_bands(np.array([0.1, 3.0, 0.5, 1.0], np.float32), given_features("rms", "kurtosis", "skew", "max"))
    assert [band.channel for band in found] == ["kurtosis", "max"]
    assert found[1] == Band("max", pytest.approx(1 / 4.6))


def test_nothing_stands_out_of_nothing():
    assert top_bands(np.zeros(2 * BANDS, np.float32), manifest()) == ()
