"""A short run of the fuzz, and what a long one has found: ``make bench-fuzz`` throws a million messages."""

import logging
import zlib

import numpy as np
import pytest

from benchmarks.hardship.fuzz import Worker
from benchmarks.hardship.fuzz_messages import Generator
from benchmarks.hardship.fuzz_receivers import FLEETS, prepare
from fedtiny.errors import ProtocolError
from fedtiny.federation.combine import Entry, check_update, combine
from fedtiny.federation.local import LocalUpdate, compute_update
from fedtiny.federation.strategies import strategy
from fedtiny.federation.updates import pack_delta, pack_statistics, unpack_delta
from fedtiny.model.head import Head, statistics
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import DeviceStatus


@pytest.fixture
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("default:.*:RuntimeWarning")  # of numpy, about numbers that are refused right after
def test_hostile_messages_end_nothing_and_hang_nothing(tmp_path, release, quiet):
    (tmp_path / "prepared").mkdir()
    prepare(tmp_path / "prepared", release)
    tally = Worker(1, tmp_path / "prepared", tmp_path, release).run(900, life=900 // len(FLEETS))
    assert (tally.crashes, tally.hangs) == ([], [])
    assert tally.taken > 300  # so far do some of them get
    assert tally.heads_made > 3


def test_a_seed_gives_the_same_messages(release):
    one, two = (Generator(5, release) for _ in range(2))
    assert [one.message() for _ in range(200)] == [two.message() for _ in range(200)]


# --- what has ended a process before ---

HEAD = Head(np.zeros((4, 3), np.float32), -1.0, 1.0)


def update(payload, **changes):
    figures = {"num_examples": 10, "output_min": -1.0, "output_max": 1.0, "loss_before": 1.0, "loss_after": 0.5}
    return LocalUpdate(payload, **figures | changes)


@pytest.mark.parametrize("loss", ["loss_before", "loss_after"])
def test_a_loss_whose_sum_over_the_windows_is_infinite_is_refused(loss):
    delta = pack_delta(np.ones((4, 3), np.float32))
    fedavg = strategy("fedavg", {})
    check_update(fedavg, update(delta, **{loss: 1e12}), HEAD, HEAD.weights)
    with pytest.raises(ProtocolError, match="a loss beyond"):
        check_update(fedavg, update(delta, **{loss: 1e308}), HEAD, HEAD.weights)


def of_windows(rng, scale):
    hidden = rng.normal(size=(10, 2)).astype(np.float32)
    return pack_statistics(statistics(hidden, scale * rng.normal(size=(10, 4)).astype(np.float32)))


def test_a_payload_that_is_padded_with_empty_blocks_is_refused():
    good = zlib.compress(bytes(28), 0)
    padded = good[:2] + b"\0\0\0\xff\xff" * 1000 + good[2:]
    assert zlib.decompress(padded) == bytes(28)
    assert not unpack_delta(good, (4, 3)).any()
    with pytest.raises(ProtocolError, match="payload of 5039 bytes for 28"):
        unpack_delta(padded, (4, 3))


def statistics_of(rng, scale, *names, new=False):
    return [Entry(name, update(of_windows(rng, scale)), new=new) for name in names]


def combined(entries):
    return combine(strategy("ridge", {}), lambda: entries, HEAD, HEAD.weights, {})


def test_a_round_of_which_the_screening_leaves_nothing_new_makes_no_head(rng):
    entries = [*statistics_of(rng, 1, *"abcdef"), *statistics_of(rng, 300, "wild", new=True)]
    made = combined(entries)
    assert made.head is HEAD
    assert made.left_out.keys() == {"wild"}


def test_older_statistics_that_stand_apart_are_not_left_out_of_this_round(rng):
    others = [*statistics_of(rng, 1, *"abcdef"), *statistics_of(rng, 1, "g", new=True)]
    assert combined([*others, *statistics_of(rng, 300, "wild", new=True)]).left_out.keys() == {"wild"}
    assert combined([*others, *statistics_of(rng, 300, "wild")]).left_out == {}


def test_a_round_with_next_to_no_pull_gets_an_update_all_the_same(rng):
    hidden = np.column_stack([rng.normal(size=20), np.zeros(20)]).astype(np.float32)  # a unit that never fires
    targets = rng.normal(size=(20, 4)).astype(np.float32)
    made = compute_update("delta", np.ones((4, 3), np.float32), hidden, targets, 12, 5e-324)
    assert np.isfinite([made.output_min, made.output_max, made.loss_before, made.loss_after]).all()


def test_half_a_surrogate_pair_is_not_json():
    payload = codec.encode(DeviceStatus(device="pump-1", state="online", rejected={"x": 1}))
    with pytest.raises(ProtocolError, match="not JSON"):
        codec.decode(DeviceStatus, payload.replace(b'"x"', b'"\\ud800"'))


def test_a_shard_has_one_way_to_be_written():
    with pytest.raises(ProtocolError):
        topics.parse("fedtiny/v1/plant/up/\N{ARABIC-INDIC DIGIT ZERO}/pump-1/update")
