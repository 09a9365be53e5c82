import json
from itertools import count, pairwise

from hypothesis import given
from hypothesis import strategies as st

from fedtiny.alarms import SPANS, AlarmBook

STEPS = st.tuples(
    st.sampled_from(["machine", "sensor"]), st.sampled_from(["raised", "held", "acknowledged", "cleared"])
)


def test_one_alarm_from_its_raising_to_its_end():
    book = AlarmBook("pump-1")
    book.trend.extend([0.5, 0.9])
    raised = book.tell("machine", "raised", "10:00", "3 of 5", "alarm-000001.npz", window=7, score=2.5, threshold=1.5)
    held = book.tell("machine", "held", "11:00", "still", window=9)
    seen = book.tell("machine", "acknowledged", "11:30", "seen", window=10)
    cleared = book.tell("machine", "cleared", "12:00", "quiet", window=12)
    told = [raised, held, seen, cleared]
    assert [alarm.number for alarm in told] == [1, 2, 3, 4]
    assert [alarm.at_utc for alarm in told] == ["10:00", "11:00", "11:30", "12:00"]
    assert {alarm.raised_utc for alarm in told} == {"10:00"}
    assert {alarm.evidence for alarm in told} == {"alarm-000001.npz"}
    assert {alarm.trend for alarm in told} == {(0.5, 0.9)}
    assert (raised.score, raised.threshold, raised.window) == (2.5, 1.5, 7)
    assert [[(one.state, one.reason) for one in alarm.standing] for alarm in told] == [
        [("raised", "3 of 5")],
        [("raised", "3 of 5")],
        [("acknowledged", "3 of 5")],
        [],
    ]
    again = book.tell("machine", "raised", "13:00", "3 of 5", window=20)
    assert (again.raised_utc, again.evidence) == ("13:00", None)


def test_the_machine_and_its_sensor_stand_side_by_side():
    book = AlarmBook("pump-1")
    book.tell("machine", "raised", "10:00", "3 of 5", "alarm-000001.npz", window=1)
    both = book.tell("sensor", "raised", "10:01", "flat: channel 0", window=2)
    assert [(one.kind, one.raised_utc) for one in both.standing] == [("machine", "10:00"), ("sensor", "10:01")]
    assert (both.evidence, both.trend) == (None, ())
    left = book.tell("machine", "cleared", "10:02", "quiet", window=3)
    assert [one.kind for one in left.standing] == ["sensor"]


def test_the_trend_is_bounded():
    book = AlarmBook("pump-1")
    book.trend.extend(map(float, range(SPANS + 3)))
    assert book.tell("machine", "raised", "10:00", "", window=1).trend == tuple(map(float, range(3, SPANS + 3)))


@given(st.lists(STEPS, max_size=20), st.integers(0, 20))
def test_a_restart_at_any_instant_changes_no_message(steps, cut):
    book = other = AlarmBook("pump-1")
    clock, told = count(), []
    for number, (kind, state) in enumerate(steps):
        if number == cut:
            other = AlarmBook("pump-1", json.loads(json.dumps(book.saved())))
        at = str(next(clock))
        evidence = f"{at}.npz" if state == "raised" else ""
        told.append(book.tell(kind, state, at, "why", evidence, window=number))
        if other is not book:
            assert other.tell(kind, state, at, "why", evidence, window=number) == told[-1]
    assert all(after.number == before.number + 1 for before, after in pairwise(told))
