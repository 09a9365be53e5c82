"""The desk on a real ledger, with nobody at the other end of the topics."""

import hashlib
from contextlib import closing

import numpy as np
import pytest

from fedtiny.clock import utc_now
from fedtiny.config import Config
from fedtiny.desk import Desk
from fedtiny.errors import StorageError
from fedtiny.federation.local import LocalUpdate
from fedtiny.federation.rounds import Watching
from fedtiny.federation.strategies import strategy
from fedtiny.federation.updates import pack_delta, pack_statistics
from fedtiny.global_state import GlobalState
from fedtiny.ledger import Ledger, UpdateRow
from fedtiny.model.artifact import Release, sealed
from fedtiny.model.head import statistics
from fedtiny.orders import Block, Forget, PinHead, PublishRelease, RollbackHead, RollbackRelease
from fedtiny.protocol.messages import Base
from fedtiny.round_keeper import RoundKeeper


class Office:
    """A coordinator without its connection, over the ledger in ``folder``."""

    def __init__(self, folder, release, name="fedavg"):
        settings = Config.model_validate({"coordinator": {"strategy": name, "quorum": 1, "rounds": 0}})
        self.ledger, self.sent = Ledger(folder), []
        self.state = GlobalState("plant", self.ledger, None)
        self.state.start(release)
        self.strategy = strategy(name, {})
        self.keeper = RoundKeeper(
            settings, self.ledger, self.strategy, self.state, lambda kind, _: self.sent.append(kind)
        )
        self.desk = Desk(self.ledger, self.state, self.keeper, lambda kind, _: self.sent.append(kind), lambda _: None)

    def close(self):
        self.ledger.close()

    def answer(self, *answers):
        """A round with (device, payload, examples) in it, not yet closed."""
        for device, _, _ in answers:
            self.keeper.rounds.device(device, Watching(self.state.base))
        while self.keeper.rounds.state.value != "open":
            self.keeper._open()
        for device, payload, examples in answers:
            update = LocalUpdate(payload, examples, -1.0, 1.0, 1.0, 0.5)
            row = UpdateRow(
                device=device,
                digest=hashlib.sha256(f"{device} {self.keeper.rounds.number}".encode()).hexdigest(),
                bytes=len(payload),
                received_utc=utc_now(),
                round=self.keeper.rounds.number,
                base_release=self.state.base.release_id,
                base_revision=self.state.base.revision,
                kind=self.strategy.kind,
                **{key: value for key, value in vars(update).items() if key != "payload"},
            )
            self.ledger.add_update(row, payload)
            self.keeper.rounds.accept(device)

    def order(self, what):
        number = self.ledger.give_order(what.model_dump_json(), utc_now())
        try:
            self.desk.work()
        finally:
            self.row = self.ledger.order(number)
        return self.row

    def fates(self, device):
        return [(row.fate, row.reason) for row in self.ledger.updates_of(device, 9)]


@pytest.fixture
def office(tmp_path, release):
    made = []

    def make(name="fedavg", given=release):
        made.append(Office(tmp_path / "ledger", given, name))
        return made[-1]

    yield make
    for one in made:
        one.close()


def delta(release, size):
    return pack_delta(np.full(release.head.weights.shape, size, np.float32))


def local(release, seed):
    outputs, columns = release.head.weights.shape
    chance = np.random.default_rng(seed)
    return pack_statistics(
        statistics(
            chance.standard_normal((40, columns - 1), np.float32), chance.standard_normal((40, outputs), np.float32)
        )
    )


def another(release):
    return Release(sealed(release.data.replace(b'"sample_rate_hz":12800.0', b'"sample_rate_hz":12801.0')))


def test_an_order_whose_head_is_damaged_is_refused_and_the_work_goes_on(office, release, tmp_path):
    here = office()
    here.answer(("a", delta(release, 0.1), 10))
    here.keeper._aggregate()
    row = here.ledger.revision(release.id, 0)
    (tmp_path / "ledger" / "objects" / row.object).unlink()
    here.answer(("a", delta(release, 0.1), 10))
    with pytest.raises(StorageError, match="was taken back"):
        here.order(RollbackHead(revision=0))
    assert here.row.ok is False
    assert "put it back" in here.row.outcome
    assert here.ledger.last_round().outcome is None  # the round that it would have ended is open
    here.close()
    with closing(Office(tmp_path / "ledger", None)) as again:
        assert again.keeper.rounds.answered == {"a"}
        assert again.ledger.next_order() is None


def test_a_roll_back_sends_the_head_and_not_the_release_and_what_is_so_already_makes_no_revision(office, release):
    here = office()
    here.answer(("a", delta(release, 0.1), 10))
    here.keeper._aggregate()
    here.sent.clear()
    assert here.order(RollbackHead(revision=0)).outcome.startswith("revision 2 brings revision 0 back")
    assert here.sent == ["head"]
    for revision in (0, 2):
        row = here.order(RollbackHead(revision=revision))
        assert (row.ok, row.outcome) == (True, f"already so: revision 2 has the head of revision {revision}")
    assert here.order(PinHead(revision=0)).outcome == "pinned at revision 2"
    assert here.sent == ["head"]
    here.sent.clear()
    assert here.order(PublishRelease(release=here.ledger.put_object(another(release).data))).ok
    assert here.sent == ["release", "head"]


def test_a_roll_back_for_another_release_than_the_current_one_is_refused(office, release):
    here = office()
    here.answer(("a", delta(release, 0.1), 10))
    here.keeper._aggregate()
    row = here.order(RollbackHead(revision=0, release_id="ab" * 32))
    assert row.ok is False
    assert row.outcome == f"it is for release abababababab, and {release.id[:12]} is the current one"
    assert here.order(RollbackHead(revision=0, release_id=release.id)).ok


def test_every_outcome_of_a_command_is_told_and_none_of_an_order_of_the_cli(office, release):
    here = office()
    for command in ("x", "y"):
        here.ledger.give_order(RollbackHead(revision=9, command=command).model_dump_json(), utc_now())
    here.order(Block(device="pump-98", reason="sold"))
    assert [(told.command, told.order, told.ok) for told in here.desk.outcomes()] == [
        ("x", "roll back head", False),
        ("y", "roll back head", False),
    ]
    assert "has no revision 9" in here.desk.outcomes()[0].outcome


def test_forgetting_under_another_strategy_than_the_statistics_came_by_keeps_the_head(office, release):
    here = office("ridge")
    here.answer(("a", local(release, 1), 40))
    here.keeper._aggregate()
    here.close()
    here = office("fedavg", None)
    before = here.state.base.revision, here.state.head.weights
    row = here.order(Forget(device="a"))
    assert row.ok
    assert "cannot be taken out" in row.outcome
    assert (here.state.base.revision, here.state.head.weights) == before
    assert not list(here.ledger.statistics(release.id))


def test_what_is_forgotten_does_not_come_back_with_an_older_release(office, release):
    here = office("ridge")
    here.answer(("a", local(release, 1), 40))
    here.keeper._aggregate()
    without = here.state.head.weights
    here.answer(("b", local(release, 2), 40))
    here.keeper._aggregate()
    assert not np.array_equal(here.state.head.weights, without)
    other = another(release)
    assert here.order(PublishRelease(release=here.ledger.put_object(other.data))).ok
    assert here.order(Forget(device="b")).ok
    assert here.order(RollbackRelease()).ok
    assert here.state.base.release_id == release.id
    assert np.array_equal(here.state.head.weights, without)


def test_a_blocked_device_counts_for_nothing_from_now_on(office, release):
    here = office("ridge")
    here.answer(("a", local(release, 1), 40))
    here.keeper._aggregate()
    without = here.state.head.weights
    here.answer(("b", local(release, 2), 40))
    here.keeper._aggregate()
    here.answer(("b", local(release, 3), 40), ("a", local(release, 1), 40))
    assert here.order(Block(device="b", reason="sold")).ok
    here.keeper._aggregate()
    assert np.array_equal(here.state.head.weights, without)
    assert here.fates("b")[0] == ("refused", "blocked")
    assert Base(release_id=release.id, revision=3) == here.state.base
