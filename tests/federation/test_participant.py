import copy

import pytest

from fedtiny.federation.participant import Participant, Phase
from fedtiny.protocol.messages import Base, RoundMessage

RELEASE = "0" * 64


def at(revision: int, release: str = RELEASE) -> Base:
    return Base(release_id=release, revision=revision)


def round_message(**changes) -> RoundMessage:
    given = {
        "round_number": 3,
        "state": "open",
        "base": at(2),
        "strategy": "fedavg",
        "min_examples": 10,
        "deadline_s": 5,
        "opened_utc": "",
    }
    return RoundMessage(**given | changes)


def buffered(**changes) -> RoundMessage:
    return round_message(**{"mode": "buffered", "max_staleness": 2} | changes)


def asked(device: Participant, message: RoundMessage, *, examples: int = 10, fresh: int = 0) -> bool:
    return device.asked(message, "pump-1", examples, fresh)


@pytest.fixture
def watching() -> Participant:
    device = Participant()
    device.release(RELEASE)
    device.learned()
    device.head(2)
    return device


def test_a_round_asks_a_watching_device_at_its_base_once(watching):
    assert asked(watching, round_message())
    watching.answered(round_message())
    assert not asked(watching, round_message(), fresh=100)
    assert asked(watching, round_message(round_number=4))


@pytest.mark.parametrize("mode", [{}, {"mode": "buffered"}], ids=["rounds", "buffered"])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": "closed"}, False),
        ({"base": at(1)}, False),
        ({"base": at(3)}, False),
        ({"base": at(2, "1" * 64)}, False),
        ({"invited": ("pump-2", "pump-3")}, False),
        ({"invited": ()}, False),
        ({"invited": ("pump-2", "pump-1")}, True),
        ({"min_examples": 11}, False),
        ({"min_examples": 9}, True),
    ],
)
def test_whom_a_round_asks(watching, mode, changes, expected):
    assert asked(watching, round_message(**mode | changes)) is expected


@pytest.mark.parametrize(("revision", "expected"), [(1, False), (2, True), (4, True), (5, False)])
def test_a_buffered_round_asks_who_is_not_too_far_behind_and_not_ahead(watching, revision, expected):
    assert asked(watching, buffered(base=at(revision))) is expected


def test_in_buffered_mode_each_head_asks_once_whatever_round_is_open(watching):
    watching.answered(buffered())
    assert not asked(watching, buffered(), fresh=100)
    assert not asked(watching, buffered(round_number=4, base=at(3)), fresh=100)
    watching.head(3)
    assert asked(watching, buffered(round_number=4, base=at(3)))
    watching.answered(buffered(round_number=4, base=at(3)))
    watching.relearn()
    watching.learned()
    assert not asked(watching, buffered(round_number=4, base=at(3)), fresh=100)


@pytest.mark.parametrize("kind", ["delta", "statistics"])
def test_a_buffered_round_that_was_abandoned_is_answered_again_in_the_next_at_the_same_head(watching, kind):
    watching.answered(buffered(kind=kind))
    assert asked(watching, buffered(kind=kind, round_number=4), fresh=0)
    watching.answered(buffered(kind=kind, round_number=4))
    assert not asked(watching, buffered(kind=kind, round_number=4), fresh=0)


def test_a_fleet_that_changes_to_buffered_mode_is_asked_at_the_head_that_it_has(watching):
    watching.answered(round_message())
    assert asked(watching, buffered(round_number=4))


@pytest.mark.parametrize(("round_number", "fresh", "expected"), [(3, 5, False), (4, 0, False), (4, 5, True)], ids=str)
def test_statistics_are_asked_for_again_while_there_is_more_to_tell(watching, round_number, fresh, expected):
    watching.answered(buffered(kind="statistics"))
    watching.head(3)
    message = buffered(kind="statistics", round_number=round_number, base=at(3))
    assert asked(watching, message, fresh=fresh) is expected


def test_a_new_release_starts_from_its_own_head(watching):
    other = at(0, "1" * 64)
    watching.answered(buffered())
    watching.release(other.release_id)
    assert watching.phase is Phase.LEARNING
    assert watching.base == other
    assert not asked(watching, round_message(base=other))
    watching.learned()
    assert asked(watching, round_message(base=other))  # whatever it answered before
    watching.release(RELEASE)
    watching.learned()
    watching.head(2)
    assert asked(watching, buffered())


def test_relearning_keeps_the_head(watching):
    watching.relearn()
    assert (watching.phase, watching.base.revision) == (Phase.LEARNING, 2)
    watching.learned()
    assert asked(watching, round_message())


def walk(*names):
    device = Participant()
    for name in names:
        getattr(device, name)(*{"release": (RELEASE,), "head": (1,)}.get(name, ()))
    return device


@pytest.mark.parametrize(
    ("path", "illegal"),
    [
        ((), "learned"),
        ((), "relearn"),
        ((), "head"),
        (("release", "learned"), "learned"),
        (("release", "learned", "relearn", "learned"), "learned"),
    ],
)
def test_an_illegal_transition_raises_and_changes_nothing(path, illegal):
    device = walk(*path)
    before = copy.copy(device)
    with pytest.raises(RuntimeError):
        getattr(device, illegal)(*((1,) if illegal == "head" else ()))
    assert device == before
