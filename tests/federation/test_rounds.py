import copy
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedtiny.federation.rounds import GRACES, LATEST_S, RESUME_S, SETTLE_S, Rounds, Rules, State, Step, Watching
from fedtiny.protocol.messages import Base, UpdateMessage

DEVICES = [f"pump-{i}" for i in range(5)]
RELEASE = "0" * 64


def base(revision: int) -> Base:
    return Base(release_id=RELEASE, revision=revision)


def update(device: str, number: int, at: Base, examples: int = 1) -> UpdateMessage:
    return UpdateMessage(
        device=device,
        round_number=number,
        base=at,
        kind="delta",
        num_examples=examples,
        payload=b"",
        output_min=-1,
        output_max=1,
        loss_before=1,
        loss_after=1,
    )


class Fleet(RuleBasedStateMachine):
    """A coordinator that does what is due after whatever happens, beside a plain account of what must be true."""

    def __init__(self):
        super().__init__()
        self.rules = Rules(quorum=2, devices=3, deadline_s=10, pause_s=1, rounds=4)
        self.rounds = Rounds(self.rules, base(0))
        self.now, self.opened, self.latest = 100.0, None, None
        self.online, self.answered, self.outcomes = {}, set(), []

    @rule(seconds=st.sampled_from([0.1, 1.0, SETTLE_S, 4.0, 10.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(device=st.sampled_from(DEVICES), behind=st.booleans())
    def a_device_watches(self, device, behind):
        at = base(max(0, self.rounds.base.revision - behind))
        self.online[device] = at
        self.rounds.device(device, Watching(at))

    @rule()
    def all_devices_catch_up(self):
        for device in DEVICES:
            self.a_device_watches(device, behind=False)

    @rule(count=st.integers(1, len(DEVICES)))
    def several_answer(self, count):
        for device in DEVICES[:count]:
            self.an_update_comes(device, older=0, behind=0)
            self.do_what_is_due()

    @rule(device=st.sampled_from(DEVICES))
    def a_device_leaves(self, device):
        self.online.pop(device, None)
        self.rounds.device(device, None)

    @rule(device=st.sampled_from(DEVICES), older=st.integers(0, 1), behind=st.integers(0, 1))
    def an_update_comes(self, device, older, behind):
        number, at = self.rounds.number - older, base(abs(self.rounds.base.revision - behind))
        if self.opened is None or older:
            expected = "late"
        elif at != self.rounds.base:
            expected = "stale"
        else:
            expected = "duplicate" if device in self.answered else None
        reason = self.rounds.judge(update(device, max(number, 0), at))
        assert reason == expected
        if reason is None:
            self.rounds.accept(device)
            self.answered.add(device)

    @rule()
    def the_coordinator_is_killed_and_resumes(self):
        fresh = Rounds(self.rules, self.rounds.base, self.rounds.number, self.rounds.completed)
        if self.opened is not None:
            fresh.resume(self.answered, None, self.rules.deadline_s - (self.now - self.opened))
            self.latest = None  # closes nothing before the connection stands
        self.rounds, self.online = fresh, {}

    @rule()
    def the_connection_stands(self):
        self.rounds.listening(self.now)
        if self.opened is not None:
            resumed = self.opened + self.rules.deadline_s if self.latest is None else self.latest
            least = self.now + max(0, min(RESUME_S, resumed - self.now + LATEST_S))
            if self.latest is None:
                self.latest, self.graces = max(resumed, least), GRACES
            elif self.graces and self.latest < self.now + RESUME_S:
                self.latest, self.graces = self.now + RESUME_S, self.graces - 1

    @precondition(lambda self: self.opened is None)
    @rule()
    def what_needs_an_open_round_raises(self):
        self.refuses(lambda: self.rounds.close(None, self.now), lambda: self.rounds.accept("pump-0"))

    @precondition(lambda self: self.opened is not None)
    @rule()
    def what_needs_no_open_round_raises(self):
        self.refuses(lambda: self.rounds.open(self.now), lambda: self.rounds.resume(set(), None, 1))

    def refuses(self, *transitions):
        before = copy.deepcopy(self.rounds)
        for transition in transitions:
            with pytest.raises(RuntimeError, match="expected"):
                transition()
        assert self.rounds == before

    @invariant()
    def what_is_due_is_done_and_the_account_agrees(self):
        self.do_what_is_due()
        assert (self.rounds.state is State.OPEN) == (self.opened is not None)
        assert self.rounds.number == len(self.outcomes) + (self.opened is not None)
        made = self.outcomes.count(Step.AGGREGATE)
        assert (self.rounds.base.revision, self.rounds.completed) == (made, made)
        assert made <= self.rules.rounds
        if self.opened is not None:
            assert self.rounds.answered == self.answered
            assert self.latest is None or self.now < self.latest  # a round never outlives its deadline

    def do_what_is_due(self):
        while (step := self.rounds.due(self.now)) is not None:
            if step is Step.OPEN:
                assert self.opened is None
                assert sum(at == self.rounds.base for at in self.online.values()) >= self.rules.devices
                assert len(self.outcomes) == self.rounds.number
                self.rounds.open(self.now)
                self.opened, self.answered = self.now, set()
                self.latest = self.now + self.rules.deadline_s
                self.graces = GRACES
                continue
            overdue = self.latest is not None and self.now >= self.latest
            if step is Step.AGGREGATE:
                assert len(self.answered) >= self.rules.quorum
                assert overdue or self.answered >= set(self.online)
                self.rounds.close(base(self.rounds.base.revision + 1), self.now)
            else:
                assert overdue
                assert len(self.answered) < self.rules.quorum
                self.rounds.close(None, self.now)
            self.outcomes.append(step)
            self.opened = None


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=100, stateful_step_count=40)


def watched(rules: Rules, *devices: str) -> Rounds:
    rounds = Rounds(rules, base(0))
    for device in devices:
        rounds.device(device, Watching(base(0)))
    return rounds


def test_a_round_opens_at_once_when_everybody_is_ready_and_settles_otherwise():
    rounds = watched(Rules(devices=2), "a", "b")
    assert rounds.due(0) is Step.OPEN
    rounds.device("c", Watching(base(7)))  # on its way to the current revision
    assert rounds.due(0) is None
    assert rounds.due(SETTLE_S) is Step.OPEN
    rounds.device("b", None)
    assert rounds.due(SETTLE_S) is None


def test_a_round_closes_early_when_all_that_are_still_online_have_answered():
    rounds = watched(Rules(quorum=1, devices=3), "a", "b", "c")
    rounds.open(0)
    rounds.accept("a")
    assert rounds.due(1) is None
    rounds.device("b", None)
    rounds.device("c", None)
    assert rounds.due(1) is Step.AGGREGATE


@pytest.mark.parametrize(("answers", "step"), [(1, Step.ABANDON), (2, Step.AGGREGATE)])
def test_the_deadline_closes_a_round_with_or_without_a_quorum(answers, step):
    rounds = watched(Rules(quorum=2, deadline_s=5), "a", "b", "c")
    rounds.open(100)
    for device in ("a", "b")[:answers]:
        rounds.accept(device)
    assert rounds.due(104.9) is None
    assert rounds.due(105) is step


def test_a_pause_and_the_number_of_rounds_are_kept():
    rounds = watched(Rules(pause_s=3, rounds=1), "a")
    rounds.open(0)
    rounds.close(None, 1)
    assert rounds.due(3.9) is None
    assert rounds.due(4) is Step.OPEN  # an abandoned round does not count
    rounds.open(4)
    rounds.accept("a")
    rounds.close(base(1), 5)
    rounds.device("a", Watching(base(1)))
    assert rounds.due(1e9) is None
    assert not rounds.wanted(1e9)


@pytest.mark.parametrize("mode", ["rounds", "buffered"])
def test_nothing_is_wanted_while_the_pause_lasts(mode):
    rounds = watched(Rules(mode=mode, pause_s=7200), "a")
    assert rounds.wanted(0)
    rounds.open(0)
    rounds.close(None, 1)
    assert not rounds.wanted(7200.9)
    assert rounds.wanted(7201)


def test_a_resumed_round_hears_who_is_there_before_it_calls_itself_complete():
    rounds = Rounds(Rules(quorum=1, deadline_s=60), base(0), number=3)
    rounds.resume({"a"}, None, 20)
    assert rounds.due(150) is None  # no broker yet
    rounds.listening(150)
    assert rounds.due(149.9 + RESUME_S) is None
    assert rounds.due(150 + RESUME_S) is Step.AGGREGATE
    rounds.device("b", Watching(base(0)))
    assert rounds.due(150 + RESUME_S) is None
    assert rounds.due(169.9) is None
    assert rounds.due(170) is Step.AGGREGATE


@pytest.mark.parametrize(("left", "closes"), [(-1e9, 0), (-50, RESUME_S), (3, RESUME_S), (30, 30), (1e9, 60)])
def test_a_resumed_round_never_waits_longer_than_it_was_given_whatever_the_clock_says(left, closes):
    rounds = Rounds(Rules(quorum=2, deadline_s=60), base(0), number=3)
    rounds.resume(set(), None, left)
    rounds.listening(100)
    assert closes == 0 or rounds.due(100 + closes - 0.1) is None
    assert rounds.due(100 + closes) is Step.ABANDON


def test_what_waits_at_the_broker_is_heard_before_the_deadline_that_passed_meanwhile():
    rounds = watched(Rules(quorum=2, deadline_s=10), "a", "b")
    rounds.open(0)
    rounds.listening(50)  # the broker was away
    assert rounds.due(50) is None
    for device in "ab":
        rounds.accept(device)
    assert rounds.due(50) is Step.AGGREGATE


def test_only_those_invited_are_awaited_and_taken():
    rounds = watched(Rules(quorum=2, devices=2, invite=3), *"abcdefgh")
    invited = rounds.invitation(random.Random(5))
    assert len(invited) == 3
    assert invited < set("abcdefgh")
    rounds.open(0, invited)
    outsider = min(set("abcdefgh") - invited)
    assert rounds.judge(update(outsider, 1, base(0))) == "uninvited"
    for device in invited:
        assert rounds.due(1) is None
        assert rounds.judge(update(device, 1, base(0))) is None
        rounds.accept(device)
    assert rounds.due(1) is Step.AGGREGATE


def test_a_device_with_too_little_data_is_neither_asked_nor_taken():
    rounds = Rounds(Rules(quorum=1, min_examples=50), base(0))
    rounds.device("poor", Watching(base(0), examples=49))
    assert rounds.due(0) is None
    rounds.device("rich", Watching(base(0), examples=50))
    assert rounds.due(0) is Step.OPEN
    rounds.open(0)
    assert rounds.judge(update("poor", 1, base(0), examples=49)) == "few"
    assert rounds.judge(update("rich", 1, base(0), examples=50)) is None
    rounds.accept("rich")
    assert rounds.due(0) is Step.AGGREGATE


def test_rounds_begin_again_only_when_there_is_new_data():
    rounds = watched(Rules(rounds=2, new_windows=100), "a", "b")
    for revision in (1, 2):
        assert rounds.due(0) is Step.OPEN
        rounds.open(0)
        rounds.accept("a")
        rounds.close(base(revision), 0)
        for device in "ab":
            rounds.device(device, Watching(base(revision), fresh=0))
    assert rounds.due(1e9) is None
    rounds.device("a", Watching(base(2), fresh=60))
    assert rounds.due(1e9) is None
    rounds.device("b", Watching(base(2), fresh=40))
    assert rounds.due(1e9) is Step.OPEN
    rounds.open(1e9)
    assert rounds.completed == 0


def test_the_buffer_makes_a_head_of_every_quorum_of_updates_however_old_their_bases():
    rounds = Rounds(Rules(mode="buffered", quorum=2, max_staleness=1), base(0))
    taken = []
    for number, (device, at) in enumerate([("a", 0), ("b", 0), ("c", 0), ("a", 1), ("d", 0), ("b", 1), ("e", 0)]):
        if rounds.due(number) is Step.OPEN:
            rounds.open(number)
        reason = rounds.judge(update(device, 1, base(at)))
        if reason is None:
            rounds.accept(device)
        taken.append(reason)
        if rounds.due(number) is Step.AGGREGATE:
            assert len(rounds.answered) == 2
            rounds.close(base(rounds.base.revision + 1), number)
    assert taken == [None, None, None, None, "stale", None, "stale"]
    assert rounds.base.revision == 2


def test_nothing_opens_while_the_head_is_pinned():
    rounds = watched(Rules(), "a")
    rounds.pinned = True
    assert rounds.due(1e9) is None
    assert not rounds.wanted(1e9)
    rounds.pinned = False
    assert rounds.due(1e9) is Step.OPEN
    assert rounds.wanted(1e9)
    rounds.open(0)
    assert rounds.wanted(1e9)
    rounds.device("a", None)
    assert not rounds.wanted(1e9)


def test_a_buffer_that_does_not_fill_is_emptied_at_the_deadline_so_that_all_are_asked_again():
    rounds = Rounds(Rules(mode="buffered", quorum=3, deadline_s=10), base(0))
    rounds.open(0)
    rounds.accept("a")
    assert rounds.due(9.9) is None
    assert rounds.due(10) is Step.ABANDON
    rounds.close(None, 10)
    assert rounds.due(10) is Step.OPEN


def test_devices_of_another_release_are_neither_awaited_nor_counted():
    other = Base(release_id="1" * 64, revision=0)
    rounds = watched(Rules(quorum=1, rounds=1, new_windows=50, deadline_s=300), "a")
    rounds.device("stuck", Watching(other, fresh=60))
    assert rounds.due(0) is Step.OPEN
    rounds.open(0)
    rounds.accept("a")
    assert rounds.due(0) is Step.AGGREGATE
    rounds.close(base(1), 0)
    rounds.device("a", Watching(base(1), fresh=0))
    assert rounds.due(1e9) is None


def test_a_connection_that_keeps_breaking_holds_no_round_open():
    rounds = watched(Rules(quorum=2, deadline_s=10), "a", "b")
    rounds.open(0)
    now = 10.0
    for _ in range(GRACES):
        rounds.listening(now)
        assert rounds.due(now) is None
        now += RESUME_S
    rounds.listening(now)
    assert rounds.due(now) is Step.ABANDON
