import math
import statistics as plain
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import trim_mean

from fedtiny.errors import ProtocolError
from fedtiny.federation.aggregators import LIMIT, ROOM, ExactSum, ridge, weighted_mean
from fedtiny.federation.strategies import BUILT_IN, strategy
from fedtiny.model.head import Statistics, statistics

SHAPE = (5, 8)
DELTA = sorted(name for name, (kind, _) in BUILT_IN.items() if kind == "delta")
EQUAL = ("median", "trimmed-mean", "krum", "multi-krum", "clipping")  # every device counts once


def step(name, updates, state=None, **options):
    made = strategy(name, options)
    return made.function(iter(updates), {} if state is None else state, **made.options)


def deltas(rng, count):
    return [
        ((10.0 ** rng.integers(-4, 3) * rng.normal(size=SHAPE)).astype(np.float32), int(rng.integers(1, 5000)))
        for _ in range(count)
    ]


def parts(rng, count):
    sizes = rng.integers(1, 60, count)
    return [(rng.normal(size=(n, SHAPE[1] - 1)).astype(np.float32), rng.normal(size=(n, SHAPE[0]))) for n in sizes]


@pytest.mark.parametrize("name", DELTA)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
def test_the_order_of_updates_does_not_move_a_bit(name, seed, count):
    rng = np.random.default_rng(seed)
    updates = deltas(rng, count)
    shuffled = [updates[i] for i in rng.permutation(count)]
    once, state = step(name, updates)
    again, same = step(name, shuffled)
    np.testing.assert_array_equal(once, again)
    assert state.keys() == same.keys()
    for key in state:
        np.testing.assert_array_equal(state[key], same[key])


@given(st.lists(st.floats(-LIMIT, LIMIT) | st.floats(-1, 1) | st.just(ROOM), min_size=1, max_size=40))
def test_a_sum_is_that_of_whole_steps_however_large_and_small_numbers_are(numbers):
    total = ExactSum((1,))
    for number in numbers:
        total.add(np.array([number]))
    steps = sum(round(Fraction(number) * 2**40) for number in numbers)
    assert total.value().tolist() == [steps // 2**40 + steps % 2**40 / 2**40]


@pytest.mark.parametrize("name", DELTA)
def test_devices_that_change_nothing_leave_the_head_in_place(name):
    moved, state = step(name, [(np.zeros(SHAPE, np.float32), 5)] * 6)
    assert (moved.dtype, moved.shape) == (np.float32, SHAPE)
    np.testing.assert_array_equal(moved, 0)
    np.testing.assert_array_equal(step(name, [(np.zeros(SHAPE, np.float32), 5)], state)[0], 0)


@pytest.mark.parametrize("name", DELTA)
def test_nothing_to_aggregate_raises(name):
    with pytest.raises(ValueError, match="no updates"):
        step(name, [])


def test_no_weight_raises():
    for weight in (0, -1):
        with pytest.raises(ValueError, match="positive number of examples"):
            weighted_mean([(np.zeros(SHAPE, np.float32), weight)])
    with pytest.raises(ValueError, match="no updates"):
        ridge([], np.zeros(SHAPE, np.float32))


# --- the means ---


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
def test_the_mean_is_that_of_double_precision(seed, count):
    updates = deltas(np.random.default_rng(seed), count)
    expected = np.average([d.astype(np.float64) for d, _ in updates], axis=0, weights=[n for _, n in updates])
    np.testing.assert_allclose(weighted_mean(updates), expected, rtol=1e-6, atol=1e-6)


def test_what_would_overflow_the_sum_is_refused():
    with pytest.raises(ProtocolError, match="beyond"):
        weighted_mean([(np.full(SHAPE, 1e9, np.float32), 10_000_000)])
    with pytest.raises(ProtocolError, match="not finite"):
        weighted_mean([(np.full(SHAPE, np.nan, np.float32), 1)])
    full = [(np.full(SHAPE, 1e8, np.float32), 10_000_000)] * 5000
    np.testing.assert_allclose(weighted_mean(full), 1e8)


def by_hand(name, means, lr):
    """Each server optimiser for one weight, from the papers' formulas; the steps of successive rounds."""
    velocity, m, v = 0.0, 0.0, 0.03**2
    for g in means:
        velocity = 0.4 * velocity + g
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g * g if name == "fedadam" else v - 0.05 * g * g * math.copysign(1, v - g * g)
        yield lr * velocity if name == "fedavgm" else lr * m / (math.sqrt(v) + 0.03)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fedavgm", {"server_lr": 0.7, "momentum": 0.4}),
        ("fedadam", {"server_lr": 0.7, "beta1": 0.8, "beta2": 0.95, "tau": 0.03}),
        ("fedyogi", {"server_lr": 0.7, "beta1": 0.8, "beta2": 0.95, "tau": 0.03}),
    ],
)
def test_server_optimisers_follow_their_formulas_over_rounds(name, options, rng):
    rounds = [
        [(rng.normal(0, 0.2, SHAPE).astype(np.float32), int(rng.integers(1, 99))) for _ in range(4)] for _ in "12345"
    ]
    state, found = {}, []
    for updates in rounds:
        moved, state = step(name, updates, state, **options)
        found.append(moved)
    means = [np.average([d for d, _ in updates], axis=0, weights=[n for _, n in updates]) for updates in rounds]
    for at in np.ndindex(SHAPE):
        expected = list(by_hand(name, [mean[at] for mean in means], 0.7))
        np.testing.assert_allclose([moved[at] for moved in found], expected, rtol=1e-5, atol=1e-7)


def test_ridge_is_the_least_squares_over_all_data_in_one_place(rng):
    data = parts(rng, 6)
    anchor = rng.normal(size=SHAPE).astype(np.float32)
    found = ridge([statistics(*one) for one in data], anchor, pull=0.3)
    hidden, targets = (np.concatenate(both) for both in zip(*data, strict=True))
    h1 = np.column_stack([hidden, np.ones(len(hidden))])
    hold = math.sqrt(0.3 * len(hidden)) * np.eye(SHAPE[1])  # the pull, as so many more rows
    expected = np.linalg.lstsq(np.vstack([h1, hold]), np.vstack([targets, hold @ anchor.T]), rcond=None)[0].T
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(seed=st.integers(0, 10_000), count=st.integers(2, 12))
def test_the_order_of_statistics_does_not_move_a_bit(seed, count):
    rng = np.random.default_rng(seed)
    anchor = rng.normal(size=SHAPE).astype(np.float32)
    fit: list[Statistics] = [statistics(*one) for one in parts(rng, count)]
    order = rng.permutation(count)
    np.testing.assert_array_equal(ridge(fit, anchor, pull=0.1), ridge([fit[i] for i in order], anchor, pull=0.1))


# --- the robust ones ---


@pytest.mark.parametrize("name", EQUAL)
def test_a_claim_of_many_examples_buys_nothing(name, rng):
    some = [delta for delta, _ in deltas(rng, 7)]
    modest = step(name, [(delta, 1) for delta in some])[0]
    np.testing.assert_array_equal(step(name, [(delta, 10**i) for i, delta in enumerate(some)])[0], modest)


def test_the_median_is_that_of_each_weight(rng):
    for count in (1, 4, 7):
        updates = deltas(rng, count)
        found = step("median", updates)[0]
        for at in np.ndindex(SHAPE):
            assert found[at] == pytest.approx(plain.median(float(d[at]) for d, _ in updates), rel=1e-6)


def test_the_trimmed_mean_is_scipys(rng):
    updates = deltas(rng, 10)
    expected = trim_mean(np.stack([d for d, _ in updates]).astype(np.float64), 0.3, axis=0)
    np.testing.assert_allclose(step("trimmed-mean", updates, share=0.3)[0], expected, rtol=1e-6, atol=1e-9)


def krum_by_hand(vectors, hostile):
    """Scores of Blanchard et al., section 4: squared distances to the n - f - 2 closest others."""
    found = []
    for i, one in enumerate(vectors):
        distances = sorted(
            sum((float(a) - float(b)) ** 2 for a, b in zip(one, other, strict=True))
            for j, other in enumerate(vectors)
            if j != i
        )
        found.append(sum(distances[: len(vectors) - hostile - 2]))
    return found


def test_krum_takes_the_update_closest_to_its_neighbours_and_multi_krum_the_best_of_them(rng):
    for count, hostile in ((7, 2), (10, 2), (11, 3)):
        updates = [(rng.normal(size=SHAPE).astype(np.float32), 1) for _ in range(count)]
        scores = krum_by_hand([d.ravel() for d, _ in updates], hostile)
        best = sorted(range(count), key=scores.__getitem__)
        np.testing.assert_array_equal(step("krum", updates)[0], updates[best[0]][0])
        expected = np.mean([updates[i][0].astype(np.float64) for i in best[: count - hostile]], axis=0)
        np.testing.assert_allclose(step("multi-krum", updates)[0], expected, rtol=1e-5, atol=1e-7)


def test_clipping_cuts_the_longer_half_down_to_the_median_norm(rng):
    updates = deltas(rng, 9)
    bound = plain.median(math.sqrt(sum(float(x) ** 2 for x in d.ravel())) for d, _ in updates)
    expected = np.mean([d * min(1, bound / np.linalg.norm(d.astype(np.float64))) for d, _ in updates], axis=0)
    np.testing.assert_allclose(step("clipping", updates)[0], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", EQUAL)
@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(7, 15), size=st.sampled_from([1.0, 30.0, 1e6]))
def test_a_fifth_of_arbitrary_updates_does_not_take_the_step_beyond_the_honest_ones(name, seed, count, size):
    """Colluding or not, near or far: beyond the honest ones' range in no weight, or beyond their norm for clipping."""
    rng = np.random.default_rng(seed)
    hostile = count // 5
    common = rng.normal(size=SHAPE)
    honest = [(common + 0.3 * rng.normal(size=SHAPE)).astype(np.float32) for _ in range(count - hostile)]
    direction = rng.normal(size=SHAPE)
    bad = [(size * (direction + 0.1 * rng.normal(size=SHAPE))).astype(np.float32) for _ in range(hostile)]
    found = step(name, [(delta, 1) for delta in rng.permutation(np.stack(honest + bad))])[0]
    if name == "clipping":
        assert np.linalg.norm(found) <= 1.0001 * max(np.linalg.norm(delta) for delta in honest)
    elif name in ("median", "trimmed-mean") or size > 1:
        assert (found >= np.min(honest, axis=0) - 1e-6).all()
        assert (found <= np.max(honest, axis=0) + 1e-6).all()
