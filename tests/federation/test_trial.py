import numpy as np
import pytest

from fedtiny.federation.local import PULLS, fit_head
from fedtiny.federation.trial import GAIN, MARGIN, choose_head
from fedtiny.model.head import Head, loss, output_range, solve, statistics

WINDOWS, INPUTS, OUTPUTS, SPLIT = 200, 5, 8, 120


@pytest.fixture
def problem(rng):
    """Activations, targets, and the weights that make them; noise of 1."""
    truth = rng.normal(size=(OUTPUTS, INPUTS + 1)).astype(np.float32)
    hidden = np.maximum(rng.normal(0.3, 1, (WINDOWS, INPUTS)), 0).astype(np.float32)
    targets = head_of(truth).forward(hidden) + rng.normal(size=(WINDOWS, OUTPUTS)).astype(np.float32)
    return hidden, targets, truth


def head_of(weights) -> Head:
    return Head(weights.astype(np.float32), -50, 50)


def off(truth, rng, by) -> Head:
    return head_of(truth + by * rng.normal(size=truth.shape))


def test_a_worse_global_head_is_refused_and_both_losses_are_told(problem, rng):
    hidden, targets, truth = problem
    good, bad = head_of(truth), off(truth, rng, 0.5)
    choice = choose_head(bad, [good, off(truth, rng, 0.1)], hidden, targets, SPLIT, 0.3)
    assert (choice.use, choice.head) == ("kept", None)
    assert choice.loss_known == pytest.approx(loss(truth, hidden[SPLIT:], targets[SPLIT:]))
    assert choice.loss_global > (1 + MARGIN) * choice.loss_known
    assert choice.loss_personal is None


def test_a_head_that_may_say_nothing_is_refused_however_good_its_weights(problem):
    hidden, targets, truth = problem
    mute = Head(truth, -1e-3, 1e-3)
    assert choose_head(mute, [head_of(truth)], hidden, targets, SPLIT, None).use == "kept"


@pytest.mark.parametrize(("worse", "use"), [(0.9, "global"), (1.1, "kept")])
def test_a_little_worse_is_taken_up_to_the_margin(problem, worse, use):
    """A bias that costs ``worse`` times the margin."""
    hidden, targets, truth = problem
    before = loss(truth, hidden[SPLIT:], targets[SPLIT:])
    residual = (targets - head_of(truth).forward(hidden))[SPLIT:].mean()
    bias = -residual + np.sqrt(residual**2 + worse * MARGIN * before)  # (r + b)^2 = r^2 + 2rb + b^2
    weights = truth.copy()
    weights[:, -1] -= bias
    new = head_of(weights)
    choice = choose_head(new, [head_of(truth)], hidden, targets, SPLIT, None)
    assert choice.loss_global == pytest.approx((1 + worse * MARGIN) * before, rel=1e-3)
    assert choice.use == use


def test_a_better_global_head_is_used_with_no_personal_one_where_none_is_wanted(problem, rng):
    hidden, targets, truth = problem
    new = off(truth, rng, 0.3)
    choice = choose_head(new, [off(truth, rng, 1)], hidden, targets, SPLIT, None)
    assert (choice.use, choice.head, choice.loss_personal) == ("global", new, None)


def test_a_personal_head_is_used_where_it_is_better_on_the_windows_kept_out(problem, rng):
    hidden, targets, truth = problem
    new = off(truth, rng, 0.5)
    choice = choose_head(new, [new], hidden, targets, SPLIT, 0.03)
    assert choice.use == "personal"
    assert choice.loss_personal < (1 - GAIN) * choice.loss_global
    assert choice.loss_personal == pytest.approx(loss(choice.head.weights, hidden[SPLIT:], targets[SPLIT:]))
    assert (choice.head.output_min, choice.head.output_max) == output_range(choice.head.forward(hidden))


def test_a_personal_head_that_is_hardly_better_is_not_worth_it(problem, rng):
    hidden, targets, truth = problem
    worse = rng.normal(size=truth.shape)
    heads = [head_of(truth + by * worse) for by in np.linspace(0, 0.2, 100)]
    choices = [choose_head(new, [new], hidden, targets, SPLIT, 0.03) for new in heads]
    gains = [1 - choice.loss_personal / choice.loss_global for choice in choices]
    assert any(0 < gain < GAIN for gain in gains)
    assert [choice.use for choice in choices] == ["personal" if gain >= GAIN else "global" for gain in gains]


def test_a_personal_head_that_only_knows_its_own_windows_is_not_used(problem):
    """Few windows to fit on, and a global head that cannot be bettered."""
    hidden, targets, truth = problem
    new = head_of(truth)
    choice = choose_head(new, [new], hidden[-90:], targets[-90:], 10, 1e-3)
    assert (choice.use, choice.head) == ("global", new)
    assert choice.loss_personal > (1 - GAIN) * choice.loss_global


def test_no_personal_head_is_fitted_on_a_window_that_it_is_measured_on(problem, rng):
    """Whatever the windows kept out are, they do no more than pick one of the same three candidates."""
    hidden, targets, truth = problem
    new = off(truth, rng, 0.5)
    data = statistics(hidden[:SPLIT], targets[:SPLIT])
    candidates = [solve(data, new.weights, pull * 0.03) for pull in PULLS]
    picked = set()
    for scale, bias in ((0, 0), (30, 0), (1, 5), (1, -5)):
        other_hidden, other_targets = hidden.copy(), targets.copy()
        other_targets[SPLIT:] = scale * rng.normal(size=targets[SPLIT:].shape) + bias
        other_hidden[SPLIT:] = np.abs(rng.normal(size=hidden[SPLIT:].shape))
        weights = choose_head(new, [new], other_hidden, other_targets, SPLIT, 0.03)
        if weights.use == "personal":
            picked.add(next(i for i, one in enumerate(candidates) if np.array_equal(one, weights.head.weights)))
    assert picked


def test_how_tightly_a_personal_head_is_held_is_decided_on_the_windows_kept_out(problem, rng):
    """With a handful of windows to fit on, loosely held weights fit these best and the others worst."""
    hidden, targets, truth = problem
    anchor = off(truth, rng, 0.1).weights
    found = fit_head(anchor, hidden[-86:], targets[-86:], 6, 1e-3)
    candidates = [solve(statistics(hidden[-86:-80], targets[-86:-80]), anchor, pull * 1e-3) for pull in PULLS]
    losses = [loss(weights, hidden[-80:], targets[-80:]) for weights in candidates]
    assert losses[2] < losses[0]
    np.testing.assert_array_equal(found, candidates[2])


def test_many_heads_a_little_worse_each_do_not_get_far(problem, rng):
    """The release's head stays among those that a new one is measured by."""
    hidden, targets, truth = problem
    release = trusted = head_of(truth)
    for step in range(30):
        new = head_of(truth + 0.03 * step * np.ones_like(truth))
        if choose_head(new, [release, trusted], hidden, targets, SPLIT, None).use == "global":
            trusted = new
    limit = (1 + MARGIN) * loss(truth, hidden[SPLIT:], targets[SPLIT:])
    assert loss(trusted.weights, hidden[SPLIT:], targets[SPLIT:]) <= limit
    assert trusted is not release
