import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.metrics import auc, fleet_auc, rank_correlation, ranks, rate

SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(lambda values: np.array(values, np.float32))


@given(SCORES, SCORES)
def test_auc_is_the_share_of_pairs_in_order(normal, anomalous):
    pairs = np.sign(anomalous[:, None] - normal[None, :])
    assert auc(normal, anomalous) == pytest.approx((pairs + 1).mean() / 2)


def test_auc_of_the_extremes():
    low, high = np.array([1.0, 2]), np.array([3.0, 4, 5])
    assert auc(low, high) == 1
    assert auc(high, low) == 0
    assert auc(low, low) == 0.5
    assert auc(low, np.empty(0)) is None
    assert auc(np.empty(0), high) is None


def test_ties_share_their_mean_rank():
    np.testing.assert_array_equal(ranks(np.array([10.0, 20, 20, 5])), [2, 3.5, 3.5, 1])


def test_rank_correlation_sees_order_only(rng):
    a = rng.normal(size=50)
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -(a**3)) == pytest.approx(-1)
    assert abs(rank_correlation(a, rng.permutation(a))) < 0.5
    d = ranks(a) - ranks(b := rng.normal(size=50))
    assert rank_correlation(a, b) == pytest.approx(1 - 6 * np.square(d).sum() / (50 * (50**2 - 1)))


def test_rank_correlation_of_constants():
    flat = np.ones(4)
    assert rank_correlation(flat, 2 * flat) == 1
    assert rank_correlation(flat, np.arange(4.0)) == 0


def test_rate_counts_the_threshold_itself():
    assert rate(np.array([1.0, 2, 3, 4]), 3) == 0.5
    assert rate(np.empty(0), 3) is None


def test_fleet_auc_keeps_one_threshold_apart_from_each_machines_own():
    quiet, loud = (np.array([1.0, 2]), np.array([3.0, 4])), (np.array([11.0, 12]), np.array([13.0, 14]))
    figures = fleet_auc([quiet, loud])
    assert figures == {"per_device_mean": 1, "per_device_min": 1, "one_threshold": 0.75}
    without_faults = (np.array([20.0]), np.empty(0))
    assert fleet_auc([quiet, without_faults])["per_device_min"] == 1
    assert fleet_auc([quiet, without_faults])["one_threshold"] == pytest.approx(2 / 3)
    assert set(fleet_auc([]).values()) == {None}
