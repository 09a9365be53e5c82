from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.errors import ReleaseError
from fedtiny.federation.aggregators import ridge
from fedtiny.federation.updates import pack_statistics, unpack_statistics
from fedtiny.model.head import Head, Statistics, loss, output_range, solve, statistics

INPUTS, OUTPUTS = 9, 6


def problem(rng, windows=200):
    """Activations, some of them dead, and targets that depend on them."""
    hidden = np.maximum(rng.normal(0.3, 1, (windows, INPUTS)), 0).astype(np.float32)
    hidden[:, 4] = 0
    targets = hidden @ rng.normal(size=(INPUTS, OUTPUTS)) + rng.normal(0, 0.3, (windows, OUTPUTS)) + 0.5
    anchor = rng.normal(size=(OUTPUTS, INPUTS + 1)).astype(np.float32)
    return hidden, targets.astype(np.float32), anchor


def objective(weights, hidden, targets, anchor, pull):
    residual = hidden @ weights[:, :-1].T + weights[:, -1] - targets
    return np.square(residual).sum() / len(hidden) + pull * np.square(weights - anchor).sum()


@pytest.mark.parametrize("pull", [1e-3, 0.3, 30])
def test_the_solution_is_a_stationary_point(rng, pull):
    data = [part.astype(np.float64) for part in problem(rng)]
    found = solve(statistics(*data[:2]), data[2].astype(np.float32), pull).astype(np.float64)
    step = 1e-4

    def slopes(at):
        for index in np.ndindex(at.shape):
            shift = np.zeros_like(at)
            shift[index] = step
            yield (objective(at + shift, *data, pull) - objective(at - shift, *data, pull)) / (2 * step)

    assert max(map(abs, slopes(found))) < 1e-4 * max(map(abs, slopes(data[2])))


def test_the_pull_decides_between_the_data_and_the_anchor(rng):
    hidden, targets, anchor = problem(rng)
    data = statistics(hidden, targets)
    np.testing.assert_allclose(solve(data, anchor, 1e9), anchor, atol=1e-6)
    h1 = np.column_stack([hidden, np.ones(len(hidden))])
    free = np.linalg.lstsq(np.delete(h1, 4, axis=1), targets, rcond=None)[0].T
    found = solve(data, anchor, 1e-9)
    np.testing.assert_allclose(np.delete(found, 4, axis=1), free, atol=1e-4)
    np.testing.assert_allclose(found[:, 4], anchor[:, 4], atol=1e-6)  # no data speak of a dead activation
    losses = [loss(solve(data, anchor, pull), hidden, targets) for pull in (1e-9, 0.3, 1e9)]
    assert losses == sorted(losses)


def test_statistics_add_up_to_those_of_the_union(rng):
    eighths = rng.integers(-40, 40, (2, 90, INPUTS)).astype(np.float32) / 8  # exact in binary
    whole, parts = statistics(*eighths), [statistics(*eighths[:, a:b]) for a, b in ((0, 7), (7, 50), (50, 90))]
    np.testing.assert_array_equal(sum(part.gram for part in parts), whole.gram)
    np.testing.assert_array_equal(sum(part.cross for part in parts), whole.cross)
    assert sum(part.count for part in parts) == whole.count


@given(cuts=st.lists(st.integers(1, 199), max_size=12, unique=True), seed=st.integers(0, 1000))
def test_ridge_over_any_split_is_ridge_over_the_pooled_data(cuts, seed):
    hidden, targets, anchor = problem(np.random.default_rng(seed))
    edges = [0, *sorted(cuts), len(hidden)]
    parts = []
    for a, b in pairwise(edges):
        part = statistics(hidden[a:b], targets[a:b])
        parts.append(unpack_statistics(pack_statistics(part), anchor.shape, part.count))
    pooled = solve(statistics(hidden, targets), anchor, 1e-2)
    assert np.abs(ridge(parts, anchor, pull=1e-2) - pooled).max() < 1e-5


def test_forward_is_the_dense_layer(rng):
    hidden, targets, weights = problem(rng)
    expected = hidden @ weights[:, :-1].T + weights[:, -1]
    np.testing.assert_allclose(Head(weights, -1, 1).forward(hidden), expected, rtol=1e-6)
    assert loss(weights, hidden, targets) == pytest.approx(np.mean((expected - targets) ** 2), rel=1e-5)


def test_the_output_range_has_room_on_both_sides_and_holds_zero():
    assert output_range(np.array([[1.0, 9.0]], np.float32)) == pytest.approx((-0.9, 9.9))
    low, high = output_range(np.zeros((2, 2), np.float32))
    Head(np.zeros((2, 2), np.float32), low, high)


@pytest.mark.parametrize(
    ("weights", "low", "high"),
    [
        (np.zeros(4, np.float32), -1, 1),
        (np.zeros((2, 2)), -1, 1),
        (np.array([[np.nan]], np.float32), -1, 1),
        (np.array([[1e30]], np.float32), -1, 1),
        (np.zeros((2, 2), np.float32), 1, 1),
        (np.zeros((2, 2), np.float32), 0, 1e-300),
        (np.zeros((2, 2), np.float32), -1, np.inf),
        (np.zeros((2, 2), np.float32), np.nan, 1),
        (np.zeros((2, 2), np.float32), -1, 1e300),
    ],
)
def test_a_head_that_cannot_work_is_refused(weights, low, high):
    with pytest.raises(ReleaseError, match="head"):
        Head(weights, low, high)


def test_empty_statistics_pull_nothing():
    anchor = np.ones((OUTPUTS, INPUTS + 1), np.float32)
    nothing = Statistics(np.zeros((INPUTS + 1,) * 2), np.zeros((INPUTS + 1, OUTPUTS)), 5)
    np.testing.assert_allclose(solve(nothing, anchor, 0.3), anchor)
