import numpy as np
import pytest

from fedtiny.errors import DataError
from fedtiny.signal.features import Standardisation
from fedtiny.signal.given import GivenFeatures, check_rows, fit_columns
from fedtiny.signal.windows import cut

NAMES = ("rms", "kurtosis", "energy")


def test_rows_come_out_as_they_went_in(rng):
    rows = rng.normal(size=(7, 3))
    extract = GivenFeatures(NAMES)
    features = extract(cut(rows, extract.plan.window, extract.plan.hop))
    assert features.dtype == np.float32
    assert features.shape == (7, extract.size)
    np.testing.assert_array_equal(features, rows.astype(np.float32))
    assert len(extract(cut(rows[:0], 1, 1))) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_by_its_column(value):
    rows = np.ones((4, 1, 3), np.float32)
    rows[2, 0, 1] = value
    with pytest.raises(DataError, match=f"feature 'kurtosis' is {value}, expected a finite number"):
        GivenFeatures(NAMES)(rows)


def test_units_do_not_matter(rng):
    """A feature of a millionth and one of a million weigh the same; bands share a unit and a floor, these do not."""
    rows = rng.normal(5, 1, (500, 3)).astype(np.float32)
    units = np.array([1e-7, 1, 1e6], np.float32)
    np.testing.assert_allclose(
        fit_columns(rows * units, NAMES)(rows * units), fit_columns(rows, NAMES)(rows), atol=1e-4
    )


@pytest.mark.parametrize("value", [0.0, 990.0, 1e-7])
def test_a_feature_that_never_moves_is_named(rng, value):
    rows = rng.normal(size=(50, 3)).astype(np.float32)
    rows[:, 2] = value
    with pytest.raises(DataError, match=r"feature 'energy' is .* in every normal row of the base: leave it out"):
        fit_columns(rows, NAMES)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, -9.9e37])
def test_a_code_for_missing_is_a_fault_of_the_sensor(rng, value):
    rows = rng.normal(1e4, 1, size=(3, 1, 3)).astype(np.float32)
    rows[1, 0, 2] = value
    scale = Standardisation(np.full(3, 1e4, np.float32), np.ones(3, np.float32))
    found = check_rows(rows, scale)
    assert [fault and fault.kind for fault in found] == [None, "dropped", None]
    assert not found[1].usable
