import numpy as np
import pytest

from fedtiny.errors import DataError
from fedtiny.metrics import auc
from fedtiny.model.scoring import fit_residuals

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


def test_what_features_contribute_adds_up_to_the_score(rng):
    model, later = fit_residuals(residuals(rng, 100)), residuals(rng, 20)
    later[:, 5] += 4
    contributions = np.square(model.whiten(later)) / FEATURES
    np.testing.assert_allclose(contributions.sum(axis=1), model.score(later), rtol=1e-5)
    assert (contributions.argmax(axis=1) == 5).mean() > 0.9


def test_normal_residuals_are_whitened(rng):
    """Of equal variation, and in no direction of more than a little beyond it."""
    whitened = fit_residuals(residuals(rng, 2000)).whiten(residuals(rng, 2000))
    assert np.abs(whitened.mean(axis=0)).max() < 0.2
    widest = np.linalg.eigvalsh(np.cov(residuals(rng, 2000).T))[-1]
    assert np.linalg.eigvalsh(np.cov(whitened.T))[-1] < 3 < widest
