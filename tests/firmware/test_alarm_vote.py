import ctypes

import pytest
from building import RUNTIME, compile_shared, write_config
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.model.alarm import AlarmLife

STATES = ("cleared", "raised", "acknowledged")
OVER_QUIET = {"o": (True, False), "b": (False, False), "q": (False, True), "x": (True, True)}


class Alarm(ctypes.Structure):
    _fields_ = (
        *[("state", ctypes.c_int), ("votes", ctypes.c_uint8), ("window", ctypes.c_uint8)],
        *[("over", ctypes.c_uint32), ("quiet", ctypes.c_uint32)],
    )


@pytest.fixture(scope="module")
def c(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alarm")
    library = compile_shared(folder, [RUNTIME / "fedtiny_alarm.c"], write_config(folder))
    for name in ("add", "acknowledge", "reset", "standing"):
        getattr(library, f"fedtiny_alarm_{name}").restype = ctypes.c_bool
    return library


@given(st.integers(1, 40), st.integers(1, 32), st.text("ooobqqqxAC", max_size=200))
def test_it_lives_as_the_agents_alarm(c, votes, window, course):
    ours, python = Alarm(), AlarmLife(votes, window)
    one = ctypes.byref(ours)
    assert c.fedtiny_alarm_begin(one, votes, window) == 0
    others = {
        "A": (c.fedtiny_alarm_acknowledge, python.acknowledge),
        "C": (c.fedtiny_alarm_reset, python.reset),
    }
    for step in course:
        if step in others:
            in_c, in_python = others[step]
            assert in_c(one) == in_python()
        else:
            over, quiet = OVER_QUIET[step]
            assert c.fedtiny_alarm_add(one, over, quiet) == python.add(over=over, quiet=quiet)
        assert STATES[ours.state] == python.state
        assert c.fedtiny_alarm_standing(one) == python.standing


def test_the_whole_window_of_32_counts(c):
    ours = Alarm()
    assert c.fedtiny_alarm_begin(ctypes.byref(ours), 32, 32) == 0
    assert [c.fedtiny_alarm_add(ctypes.byref(ours), True, False) for _ in range(32)] == [False] * 31 + [True]
    assert [c.fedtiny_alarm_add(ctypes.byref(ours), False, True) for _ in range(32)] == [False] * 31 + [True]


@pytest.mark.parametrize(("votes", "window"), [(0, 5), (1, 0), (1, 33)])
def test_a_vote_that_cannot_be_is_refused(c, votes, window):
    assert c.fedtiny_alarm_begin(ctypes.byref(Alarm()), votes, window) < 0
    assert c.fedtiny_alarm_begin(None, 3, 5) < 0
