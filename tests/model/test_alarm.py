import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fedtiny.model.alarm import AlarmLife
from fedtiny.watch_state import alarm_state, restored_alarm

VERDICTS = {"o": (True, False), "b": (False, False), "q": (False, True)}  # over, between, quiet


def told(life: AlarmLife, verdicts: str) -> list[str]:
    """The state after each change."""
    changes = [(life.add(over=VERDICTS[v][0], quiet=VERDICTS[v][1]), life.state) for v in verdicts]
    return [state for changed, state in changes if changed]


@pytest.mark.parametrize(
    ("verdicts", "changes"),
    [
        ("qqoqo", []),  # two votes of three
        ("oqoqo", ["raised"]),
        ("oqqoqqoqqo", []),  # never three of five
        ("ooo" + "o" * 20, ["raised"]),  # once
        ("ooo" + "q" * 4, ["raised"]),
        ("ooo" + "q" * 5, ["raised", "cleared"]),
        ("ooo" + "qqqqb" * 9, ["raised"]),
        ("ooo" + "qqqqo" * 9, ["raised"]),
        ("ooo" + "b" * 50, ["raised"]),  # hovering below the threshold neither clears
        ("ooo" + "q" * 5 + "b" * 50, ["raised", "cleared"]),  # nor raises
        ("ooo" + "q" * 5 + "oqoqo", ["raised", "cleared", "raised"]),
    ],
)
def test_three_votes_of_five_raise_and_five_quiet_windows_clear(verdicts, changes):
    assert told(AlarmLife(votes=3, window=5), verdicts) == changes


def test_only_a_raised_alarm_is_acknowledged_and_it_clears_all_the_same():
    life = AlarmLife(votes=1, window=2)
    assert not life.acknowledge()
    assert life.raise_now()
    assert not life.raise_now()
    assert life.acknowledge()
    assert not life.acknowledge()
    assert not life.raise_now()
    assert life.state == "acknowledged"
    assert told(life, "ooqbqq") == ["cleared"]


def test_an_alarm_raised_without_a_vote_stays_for_a_whole_window():
    life = AlarmLife(votes=3, window=5)
    told(life, "qqqqq")
    life.raise_now()
    assert told(life, "qqqq") == []
    assert told(life, "q") == ["cleared"]


def test_more_votes_than_windows_still_raise():
    assert told(AlarmLife(votes=9, window=2), "oo") == ["raised"]


def test_a_reset_says_whether_an_alarm_stood_and_forgets_the_votes():
    life = AlarmLife(votes=2, window=3)
    told(life, "o")
    assert not life.reset()
    assert told(life, "o") == []
    life.raise_now()
    assert life.reset()
    assert life.state == "cleared"


@given(st.text("obqa", max_size=40), st.integers(0, 40), st.integers(1, 6), st.integers(1, 6))
def test_a_restart_at_any_instant_keeps_the_votes(verdicts, cut, votes, window):
    one = other = AlarmLife(votes, window)
    for number, verdict in enumerate(verdicts):
        if number == cut:
            other = restored_alarm(votes, window, alarm_state(one))
        for life in {id(one): one, id(other): other}.values():
            life.acknowledge() if verdict == "a" else told(life, verdict)
        assert alarm_state(one) == alarm_state(other)


class AnyCourse(RuleBasedStateMachine):
    """An alarm beside the whole course of verdicts since it was last cleared or made."""

    def __init__(self):
        super().__init__()
        self.life, self.seen = AlarmLife(votes=2, window=3), ""

    @rule(verdict=st.sampled_from("obq"))
    def window(self, verdict):
        before = self.life.state
        self.seen += verdict
        (changed,) = told(self.life, verdict) or [None]
        last = self.seen[-3:]
        if before == "cleared":
            assert changed == ("raised" if last.count("o") >= 2 else None)
        else:
            assert changed == ("cleared" if last == "qqq" else None)

    @rule()
    def acknowledge(self):
        before = self.life.state
        assert self.life.acknowledge() == (before == "raised")
        assert self.life.standing == (before != "cleared")

    @rule()
    def raise_now(self):
        before = self.life.state
        assert self.life.raise_now() == (before == "cleared")
        assert self.life.state == ("raised" if before == "cleared" else before)
        self.seen = ""

    @invariant()
    def remembers_no_more_than_it_votes_on(self):
        assert len(self.life.recent) <= 3


TestAnyCourse = AnyCourse.TestCase
