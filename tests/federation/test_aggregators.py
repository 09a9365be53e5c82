import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.errors import ProtocolError
from fedtiny.federation.aggregators import ridge, weighted_mean
from fedtiny.model.head import Statistics, statistics

SHAPE = (5, 8)


def deltas(rng, count):
    return [
        ((10.0 ** rng.integers(-4, 3) * rng.normal(size=SHAPE)).astype(np.float32), int(rng.integers(1, 5000)))
        for _ in range(count)
    ]


def parts(rng, count) -> list[Statistics]:
    sizes = rng.integers(1, 60, count)
    return [
        statistics(rng.normal(size=(n, SHAPE[1] - 1)).astype(np.float32), rng.normal(size=(n, SHAPE[0]))) for n in sizes
    ]


@given(seed=st.integers(0, 10_000), count=st.integers(2, 12))
def test_the_order_of_updates_does_not_move_a_bit(seed, count):
    rng = np.random.default_rng(seed)
    anchor = rng.normal(size=SHAPE).astype(np.float32)
    mean, fit = deltas(rng, count), parts(rng, count)
    order = rng.permutation(count)
    np.testing.assert_array_equal(weighted_mean(mean), weighted_mean(mean[i] for i in order))
    np.testing.assert_array_equal(ridge(fit, anchor, 0.1), ridge([fit[i] for i in order], anchor, 0.1))


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
def test_the_mean_is_that_of_double_precision(seed, count):
    updates = deltas(np.random.default_rng(seed), count)
    expected = np.average([d.astype(np.float64) for d, _ in updates], axis=0, weights=[n for _, n in updates])
    np.testing.assert_allclose(weighted_mean(updates), expected, rtol=1e-6, atol=1e-6)


def test_a_device_with_more_examples_counts_for_more():
    zero, one = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    np.testing.assert_allclose(weighted_mean([(zero, 1), (one, 3)]), 0.75)


def test_nothing_to_aggregate_raises():
    for weight in (0, -1):
        with pytest.raises(ValueError, match="positive number of examples"):
            weighted_mean([(np.zeros(SHAPE, np.float32), weight)])
    with pytest.raises(ValueError, match="no updates"):
        weighted_mean([])
    with pytest.raises(ValueError, match="no updates"):
        ridge([], np.zeros(SHAPE, np.float32), 1.0)


def test_what_would_overflow_the_sum_is_refused():
    with pytest.raises(ProtocolError, match="beyond"):
        weighted_mean([(np.full(SHAPE, 1e9, np.float32), 10_000_000)])
    with pytest.raises(ProtocolError, match="not finite"):
        weighted_mean([(np.full(SHAPE, np.nan, np.float32), 1)])
    full = [(np.full(SHAPE, 1e8, np.float32), 10_000_000)] * 5000
    np.testing.assert_allclose(weighted_mean(full), 1e8)
