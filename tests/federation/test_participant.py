import copy

import pytest

from fedtiny.federation.participant import Participant, Phase
from fedtiny.protocol.messages import Base, RoundMessage

RELEASE = "0" * 64


def round_message(**changes) -> RoundMessage:
    given = {
        "round_number": 3,
        "state": "open",
        "base": Base(release_id=RELEASE, revision=2),
        "strategy": "fedavg",
        "min_examples": 10,
        "deadline_s": 5,
        "opened_utc": "",
    }
    return RoundMessage(**given | changes)


@pytest.fixture
def watching() -> Participant:
    device = Participant()
    device.release(RELEASE)
    device.learned()
    device.head(2)
    return device


def test_a_round_asks_a_watching_device_at_its_base_once(watching):
    assert watching.asked(round_message())
    watching.last_answered = 3
    assert not watching.asked(round_message())
    assert watching.asked(round_message(round_number=4))


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "closed"},
        {"base": Base(release_id=RELEASE, revision=1)},
        {"base": Base(release_id="1" * 64, revision=2)},
    ],
)
def test_a_round_that_is_not_for_this_device(watching, changes):
    assert not watching.asked(round_message(**changes))


def test_a_new_release_starts_from_its_own_head(watching):
    watching.release("1" * 64)
    assert watching.phase is Phase.LEARNING
    assert watching.base == Base(release_id="1" * 64, revision=0)
    assert not watching.asked(round_message(base=watching.base))
    watching.learned()
    assert watching.asked(round_message(base=watching.base, round_number=1))  # whatever it answered before


def test_relearning_keeps_the_head(watching):
    watching.relearn()
    assert (watching.phase, watching.base.revision) == (Phase.LEARNING, 2)
    watching.learned()
    assert watching.asked(round_message())


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
