import itertools
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.sources import chunks
from fedtiny.sources.chunks import Chunks


def ramp(start: int, count: int) -> np.ndarray:
    return np.arange(2 * start, 2 * (start + count), dtype=np.float32).reshape(count, 2)


@given(st.lists(st.tuples(st.integers(0, 700), st.sampled_from(["", "", "", "dropped: 1"])), max_size=8))
def test_nothing_is_lost_and_every_fault_stands_before_its_samples(parts) -> None:
    made, out, at, faults = Chunks("s", 1000, ("x", "y")), [], 0, []
    for count, fault in parts:
        out += made.add(ramp(at, count), fault)
        faults += [at] if fault else []
        at += count
    out += made.flush()
    starts = np.cumsum([0] + [len(one.samples) for one in out])
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 2)), *(one.samples for one in out)]), ramp(0, at))
    assert all(len(one.samples) <= 250 for one in out)
    assert [int(start) for start, one in zip(starts, out, strict=False) if one.fault] == faults
    for before, one in itertools.pairwise(out):
        assert one.follows == (not one.fault and len(before.samples) > 0)


def test_times_are_those_of_the_first_samples() -> None:
    made = Chunks("s", 1000, ("x", "y"))
    assert [one.at for one in made.add(ramp(0, 600), at=1e9)] == [1e9, 1e9 + 0.25]
    assert [one.at for one in made.flush()] == [1e9 + 0.5]
    before = time.time()
    (one,) = made.add(ramp(0, 250))
    assert before - 0.25 <= one.at <= time.time() - 0.25


def test_values_that_are_none_stay_in_their_place() -> None:
    samples = ramp(0, 3)
    samples[1] = [np.inf, np.nan]
    made = Chunks("s", 1000, ("x", "y"))
    ((one,), (fault,)) = (list(made.add(samples)) + list(made.flush()), [chunks.NOT_FINITE])
    assert one.fault == fault
    np.testing.assert_array_equal(one.samples, [[0, 1], [np.nan, np.nan], [4, 5]])


def test_what_comes_after_a_pause_does_not_follow(monkeypatch) -> None:
    monkeypatch.setattr(chunks, "PAUSE_S", 0.0)
    slow, made = Chunks("s", 0.1, ("x", "y")), Chunks("s", 1e6, ("x", "y"))
    for one, follows in ((slow, True), (made, False)):
        first = [*one.add(ramp(0, 1)), *one.flush()]
        until = time.monotonic() + 0.01
        while time.monotonic() < until:
            pass
        second = [*one.add(ramp(1, 1)), *one.flush()]
        assert [recording.follows for recording in first + second] == [False, follows]
