import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.errors import ProtocolError
from fedtiny.federation.screening import AGREEMENT, APART, FEWEST, LIMIT, Cohort, Contribution, check_statistics
from fedtiny.model.head import Statistics, statistics

SHAPE = (6, 10)


def contribution(device, delta, output=3.0, weight=40.0, power=1.0):
    return Contribution(device, delta.astype(np.float32), output, weight, power)


def cohort(rng, count=10, common=1.0):
    """Honest devices: what they have in common, and as much of their own."""
    direction = rng.normal(size=SHAPE)
    return [contribution(f"pump-{i}", common * direction + rng.normal(size=SHAPE)) for i in range(count)]


def screen(updates, agreement=AGREEMENT):
    """The verdict, and all that are left out."""
    cohort = Cohort()
    for one in updates:
        cohort.add(one)
    out = cohort.outliers()
    verdict = cohort.verdict((one for one in updates if one.device in out), agreement)
    astray = {one.device: verdict.astray(one.delta) for one in updates if one.device not in out}
    return verdict, verdict.left_out | {device: why for device, why in astray.items() if why}


def left_out(updates):
    return screen(updates)[1]


def norm(one):
    return float(np.linalg.norm(one.delta))


@given(seed=st.integers(0, 10_000), count=st.integers(1, 30), common=st.sampled_from([0, 0.5, 3]))
def test_honest_devices_stay_in_whether_they_agree_or_not(seed, count, common):
    assert left_out(cohort(np.random.default_rng(seed), count, common)) == {}


def spoil(one, how):
    match how:
        case "scaled":
            return replace(one, delta=100 * one.delta)
        case "flipped":
            return replace(one, delta=-one.delta)
        case "flipped and scaled":
            return replace(one, delta=-10 * one.delta)
        case "random":
            return replace(one, delta=(50 * np.random.default_rng(1).normal(size=SHAPE)).astype(np.float32))
        case "range":
            return replace(one, output=1e5)
        case _:
            return replace(one, power=1e5)


REASONS = {
    "scaled": r"norm [\d.]+, the cohort's median [\d.]+",
    "flipped": r"points away from the others: cosine -0\.\d\d",
    "flipped and scaled": r"norm [\d.]+, the cohort's median [\d.]+",
    "random": r"norm [\d.]+, the cohort's median [\d.]+",
    "range": r"output 1e\+05, the cohort's median 3",
    "power": r"power of the activations 1e\+05, the cohort's median 1",
}


@pytest.mark.parametrize("how", REASONS)
def test_a_hostile_minority_is_left_out_with_the_reason_and_nobody_else(how, rng):
    updates = cohort(rng)
    updates[2], updates[7] = spoil(updates[2], how), spoil(updates[7], how)
    found = left_out(updates)
    assert found.keys() == {"pump-2", "pump-7"}
    assert all(re.fullmatch(REASONS[how], reason) for reason in found.values()), found


def test_a_cohort_without_a_direction_judges_none_unless_it_is_told_to(rng):
    """Deltas of a fleet that has converged add up to nothing: each points away from what the others make together."""
    updates = cohort(rng, 10, common=0)
    middle = np.mean([one.delta for one in updates], axis=0)
    updates = [replace(one, delta=one.delta - middle) for one in updates]
    assert left_out(updates) == {}
    assert len(screen(updates, agreement=-1.0)[1]) == 10


def test_too_few_cannot_judge_each_other(rng):
    updates = cohort(rng, FEWEST)
    updates[0] = spoil(updates[0], "scaled")
    assert left_out(updates).keys() == {"pump-0"}
    assert left_out(updates[:-1]) == {}


def test_what_passes_counts_up_to_a_multiple_of_the_median(rng):
    updates = cohort(rng, 9)
    updates[0] = replace(updates[0], delta=0.9 * APART * updates[0].delta, weight=1e9)
    verdict, out = screen(updates)
    assert out == {}
    assert verdict.norm == pytest.approx(LIMIT * np.median([norm(one) for one in updates]))
    assert (verdict.output, verdict.weight) == (3 * LIMIT, 40 * LIMIT)


def test_devices_that_change_nothing_do_not_make_others_hostile(rng):
    still = [contribution(f"still-{i}", np.zeros(SHAPE)) for i in range(6)]
    assert left_out([*still, *cohort(rng, 2)]) == {}


@given(seed=st.integers(0, 10_000), data=st.data())
def test_the_verdict_is_the_same_to_the_bit_in_whatever_order_updates_come(seed, data):
    rng = np.random.default_rng(seed)
    updates = cohort(rng, 8)
    updates[2], updates[5] = spoil(updates[2], "scaled"), spoil(updates[5], data.draw(st.sampled_from([*REASONS])))
    verdict, out = screen(updates)
    other, again = screen(data.draw(st.permutations(updates)))
    assert again == out
    assert (other.norm, other.output, other.weight) == (verdict.norm, verdict.output, verdict.weight)
    np.testing.assert_array_equal(other.direction, verdict.direction)


# --- statistics ---


@pytest.fixture
def honest(rng) -> Statistics:
    hidden = np.maximum(rng.normal(size=(40, SHAPE[1] - 1)), 0).astype(np.float32)
    hidden[:, 3] = 0
    return statistics(hidden, rng.normal(size=(40, SHAPE[0])).astype(np.float32))


@given(seed=st.integers(0, 10_000), windows=st.integers(1, 50), loud=st.floats(1e-3, 1e3))
def test_statistics_of_any_data_are_consistent(seed, windows, loud):
    rng = np.random.default_rng(seed)
    hidden = np.maximum(loud * rng.normal(size=(windows, SHAPE[1] - 1)), 0).astype(np.float32)
    check_statistics(statistics(hidden, rng.normal(0, 30, (windows, SHAPE[0]))))


def test_statistics_that_no_data_can_have_are_refused(honest):
    def refused(message, *, gram=honest.gram, cross=honest.cross, count=40):
        with pytest.raises(ProtocolError, match=message):
            check_statistics(Statistics(gram, cross, count))

    check_statistics(honest)
    refused("statistics of 40 windows, said to be 4000", count=4000)
    refused("statistics of 4000 windows, said to be 40", gram=100 * honest.gram, cross=100 * honest.cross)
    beyond = honest.gram.copy()
    beyond[0, 1] = beyond[1, 0] = 2 * np.sqrt(beyond[0, 0] * beyond[1, 1])
    refused("eigenvalue -", gram=beyond)
    refused("targets with a root mean square", cross=1e5 * honest.cross)
    from_nothing = honest.cross.copy()
    from_nothing[3, 0] = 1e-3  # of an activation that is always zero
    refused("targets with a root mean square", cross=from_nothing)
