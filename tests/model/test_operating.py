import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.model.operating import SAME_SPEED, find_clusters, name_of

SIZE = 40
POINTS = np.zeros((4, SIZE), np.float32)  # a step of all low features, one of all high ones, two of all low ones
POINTS[1, :20], POINTS[2, 20:], POINTS[3, :20] = 3, -3, 6


def at(rng, *points, windows=60):
    """Windows at operating points, some windows at each in turn."""
    order = np.concatenate([np.resize(np.repeat(points, 10), windows)])
    return (POINTS[order] + rng.normal(size=(windows, SIZE))).astype(np.float32), order


@pytest.mark.parametrize("points", [(0, 1), (1, 2), (0, 1, 2), (0, 1, 3), (0, 1, 2, 3)])
def test_operating_points_are_found(rng, points):
    windows, order = at(rng, *points, windows=120)
    clusters = find_clusters(windows, 8)
    labels = clusters(windows)
    assert len(clusters.centres) == len(points)
    assert [len(set(labels[order == point])) for point in points] == [1] * len(points)
    later, order_later = at(rng, *points, windows=90)
    seen = dict(zip(order, labels, strict=True))
    assert clusters(later).tolist() == [seen[point] for point in order_later]


@pytest.mark.parametrize("windows", [60, 480])
@pytest.mark.parametrize("kind", ["gaussian", "skewed", "load", "constant"])
def test_one_operating_point_stays_one(rng, kind, windows):
    """Also where it is skewed, or where a load that varies evenly moves all features."""
    z = {
        "gaussian": rng.normal(size=(windows, SIZE)),
        "skewed": rng.exponential(size=(windows, SIZE)),
        "load": rng.uniform(-3, 3, (windows, 1)) + rng.normal(size=(windows, SIZE)),
        "constant": np.ones((windows, SIZE)),
    }[kind].astype(np.float32)
    clusters = find_clusters(z, 8)
    assert len(clusters.centres) == 1
    assert (clusters(100 * z) == 0).all()


def test_a_single_outlier_is_no_operating_point(rng):
    windows, _ = at(rng, 0, windows=60)
    windows[17] += 50
    assert len(find_clusters(windows, 8).centres) == 1


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.integers(1, 8))
def test_clusters_are_bounded_and_the_same_each_time(seed, windows, most):
    rng = np.random.default_rng(seed)
    z = (rng.normal(size=(windows, SIZE)) + 20 * rng.integers(0, 12, (windows, 1))).astype(np.float32)
    one, other = find_clusters(z, most), find_clusters(z, most)
    assert 1 <= len(one.centres) <= most
    np.testing.assert_array_equal(one.centres, other.centres)
    np.testing.assert_array_equal(one(z), other(z))
    assert (one(z) >= 0).all()


def test_in_between_is_unknown_and_a_fault_is_not(rng):
    """A load halfway, or twice as far, was never seen; what no load does to a machine may be a fault."""
    windows, _ = at(rng, 0, 1, windows=120)
    clusters = find_clusters(windows, 2)
    noise = rng.normal(size=(30, SIZE)).astype(np.float32)
    for share in (0.5, 2, -1):
        assert (clusters(noise + np.float32(share) * POINTS[1]) == -1).mean() > 0.8
    fault = np.zeros(SIZE, np.float32)
    fault[20:] = 8
    at_rest, at_load = clusters(noise + fault), clusters(noise + fault + POINTS[1])
    assert set(at_rest) == {clusters(POINTS[:1])[0]}
    assert (clusters(noise + fault + POINTS[1] / 2) >= 0).all()
    assert set(at_load) == {clusters(POINTS[1:2])[0]}


@pytest.mark.parametrize(
    ("point", "speed_hz", "known", "name"),
    [
        ("", None, [], ""),
        ("load-80", 25, [], "load-80"),
        ("", 24.94, [], "24.94 Hz"),
        ("", 25.9, ["24.94 Hz"], "24.94 Hz"),
        ("", 26.3, ["24.94 Hz"], "26.3 Hz"),
        ("", 0, ["24.94 Hz", "0 Hz"], "0 Hz"),
        ("", 24, ["warm-up", "0", "low Hz", "24 Hz"], "24 Hz"),
    ],
)
def test_tagged_operating_points_have_names(point, speed_hz, known, name):
    assert name_of(point, speed_hz, known) == name


@given(st.lists(st.floats(1, 1000), max_size=20))
def test_speeds_within_the_tolerance_are_one_operating_point(speeds):
    known = []
    for speed in speeds:
        name = name_of("", speed, known)
        assert abs(float(name.removesuffix(" Hz")) - speed) <= (SAME_SPEED + 1e-3) * speed * 1.06
        assert name_of("", speed, [*known, name]) == name
        known += [] if name in known else [name]
