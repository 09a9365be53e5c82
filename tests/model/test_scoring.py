import numpy as np
import pytest

from fedtiny.errors import DataError
from fedtiny.metrics import auc
from fedtiny.model.alarm import AlarmVote
from fedtiny.model.scoring import fit_residuals
from fedtiny.model.threshold import calibrate_threshold

FEATURES = 40


def residuals(rng, windows, features=FEATURES):
    """Correlated normal residuals: noise of each feature's own level, and two causes that move all of them."""
    mixing = np.random.default_rng(1).normal(size=(2, features))
    level = np.random.default_rng(2).uniform(0.3, 1, features)
    x = level * rng.normal(size=(windows, features)) + rng.normal(size=(windows, 2)) @ mixing + 0.2
    return x.astype(np.float32)


@pytest.mark.parametrize("windows", [60, 400])
def test_normal_windows_average_about_one(rng, windows):
    model = fit_residuals(residuals(rng, windows))
    assert model.score(residuals(rng, 2000)).mean() == pytest.approx(1, abs=0.3)


def test_scores_do_not_depend_on_the_unit(rng):
    normal, later = residuals(rng, 100), residuals(rng, 50)
    scores = fit_residuals(normal).score(later)
    for factor in (0.5, 40):
        np.testing.assert_allclose(fit_residuals(factor * normal).score(factor * later), scores, rtol=1e-3)


def test_fewer_windows_than_features_are_enough(rng):
    model = fit_residuals(residuals(rng, 12, 128))
    normal, faulty = model.score(residuals(rng, 200, 128)), model.score(residuals(rng, 200, 128) + 1.5)
    assert np.isfinite(normal).all()
    assert auc(normal, faulty) > 0.95


@pytest.mark.parametrize("windows", [2, 3])
def test_two_windows_are_the_fewest(rng, windows):
    assert np.isfinite(fit_residuals(residuals(rng, windows)).score(residuals(rng, 5))).all()
    assert np.isfinite(fit_residuals(residuals(rng, windows, 1)).score(residuals(rng, 5, 1))).all()
    with pytest.raises(DataError, match="1 windows are too few"):
        fit_residuals(residuals(rng, 1))


def test_constant_residuals_score_finitely():
    still = np.full((20, FEATURES), 0.25, np.float32)
    model = fit_residuals(still)
    assert np.isfinite(model.score(still)).all()
    assert model.score(still + 1).min() > model.score(still).max()


def test_a_known_cause_is_less_suspicious_than_an_unknown_one(rng):
    """The same distance, once along what all features do together in normal windows, once across it."""
    model = fit_residuals(residuals(rng, 200))
    along = np.random.default_rng(1).normal(size=(2, FEATURES))[0]
    across = np.abs(along) * np.resize([1, -1], FEATURES)
    known, unknown = (model.score(residuals(rng, 100) + (2 * shift).astype(np.float32)) for shift in (along, across))
    assert np.median(unknown) > 2 * np.median(known)


@pytest.mark.parametrize("sign", [1, -1], ids=["louder", "quieter"])
def test_both_louder_and_quieter_score_higher(rng, sign):
    model = fit_residuals(residuals(rng, 100))
    shift = np.zeros(FEATURES, np.float32)
    shift[:8] = sign * 3
    assert auc(model.score(residuals(rng, 300)), model.score(residuals(rng, 300) + shift)) > 0.97


@pytest.mark.parametrize("windows", [24, 60, 300, 5000])
@pytest.mark.parametrize("budget", [0.01, 0.05])
def test_the_threshold_keeps_the_promised_budget(rng, windows, budget):
    """Mean false-alarm rate over many calibrations on lognormal scores, and few that are far over."""
    rates = []
    for _ in range(200):
        threshold = calibrate_threshold(rng.lognormal(0, 0.3, windows).astype(np.float32), budget)
        rates.append(np.mean(rng.lognormal(0, 0.3, 2000) >= threshold))
    assert 0.3 * budget < np.mean(rates) < 1.5 * budget
    assert np.quantile(rates, 0.9) < 4 * budget


@pytest.mark.parametrize(("windows", "budgets"), [(24, (0.01, 1e-3, 1e-4)), (2000, (0.2, 0.05, 0.01, 2e-3))])
def test_a_smaller_budget_never_lowers_the_threshold(rng, windows, budgets):
    scores = rng.lognormal(0, 0.3, windows).astype(np.float32)
    thresholds = [calibrate_threshold(scores, budget) for budget in budgets]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


def test_heavy_tails_raise_the_threshold_once_there_are_windows_enough(rng):
    scores = rng.lognormal(0, 0.2, 1000).astype(np.float32)
    scores[::25] *= 20  # 4 %, which no lognormal of this spread explains
    later = rng.lognormal(0, 0.2, 20_000)
    later[::25] *= 20
    assert np.mean(later >= calibrate_threshold(scores, 0.01)) < 0.03


def test_many_windows_do_not_lose_the_order_statistic(rng):
    """(1 - rate)^n is below the smallest float here."""
    scores = np.where(np.arange(40_000) % 25 == 0, 50, rng.lognormal(0, 0.05, 40_000)).astype(np.float32)
    assert calibrate_threshold(scores, 0.03) == 50


def test_too_few_windows_to_calibrate():
    with pytest.raises(DataError, match="1 windows are too few"):
        calibrate_threshold(np.ones(1, np.float32), 0.01)
    assert np.isfinite(calibrate_threshold(np.array([0, 1], np.float32), 0.01))


def test_an_alarm_is_raised_held_and_cleared():
    vote = AlarmVote(votes=3, window=5)
    verdicts = [1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0]  # the third vote raises, five windows without one clear
    changes = [vote.add(bool(over)) for over in verdicts]
    assert [i for i, changed in enumerate(changes) if changed] == [4, 9]
    assert not vote.raised


def test_an_alarm_survives_a_restart_and_clears_after_a_whole_window():
    vote = AlarmVote(votes=2, window=3, raised=True)
    assert [vote.add(False) for _ in range(3)] == [False, False, True]


def test_more_votes_than_windows_still_raise():
    vote = AlarmVote(votes=9, window=2)
    assert [vote.add(True) for _ in range(2)] == [False, True]
