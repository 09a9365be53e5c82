import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.errors import ProtocolError
from fedtiny.federation.combine import Entry, check_update, combine
from fedtiny.federation.local import LocalUpdate, compute_update
from fedtiny.federation.strategies import strategy
from fedtiny.federation.updates import pack_delta, pack_statistics, unpack_delta, unpack_statistics
from fedtiny.model.head import Head, Statistics, loss, solve, statistics

SHAPE = (6, 10)
FEDAVG, RIDGE = strategy("fedavg", {}), strategy("ridge", {})


def combined(how, updates, head):
    entries = [Entry(f"pump-{i}", update) for i, update in enumerate(updates)]
    return combine(how, lambda: iter(entries), head, head.weights, {}).head


@pytest.fixture
def local_data(rng):
    hidden = np.maximum(rng.normal(size=(80, SHAPE[1] - 1)), 0).astype(np.float32)
    targets = hidden @ rng.normal(size=(SHAPE[1] - 1, SHAPE[0])).astype(np.float32)
    return hidden, targets


def triangle(data: Statistics) -> np.ndarray:
    """What travels: the Gram matrix's upper triangle and the cross-product."""
    return np.concatenate([data.gram[np.triu_indices(SHAPE[1])], data.cross.ravel()]).astype("<f8")


@given(seed=st.integers(0, 10_000), size=st.floats(1e-6, 1e3))
def test_a_delta_arrives_within_half_a_step(seed, size):
    rng = np.random.default_rng(seed)
    delta = (size * rng.normal(size=SHAPE) * rng.uniform(0, 1, (SHAPE[0], 1))).astype(np.float32)
    delta[0] = 0
    arrived = unpack_delta(pack_delta(delta), SHAPE)
    half_step = np.abs(delta).max(axis=1, keepdims=True) / 254
    assert (np.abs(arrived - delta) <= 1.001 * half_step).all()


def test_statistics_arrive_to_the_bit(local_data):
    sent = statistics(*local_data)
    arrived = unpack_statistics(pack_statistics(sent), SHAPE, sent.count)
    np.testing.assert_array_equal(np.triu(arrived.gram), np.triu(sent.gram))
    np.testing.assert_array_equal(arrived.gram, arrived.gram.T)
    np.testing.assert_array_equal(arrived.cross, sent.cross)
    assert arrived.count == sent.count


def test_global_plus_delta_is_local(local_data, rng):
    """A single device's aggregate is that device's head: the delta's sign is local minus global."""
    hidden, targets = local_data
    head = Head(rng.normal(size=SHAPE).astype(np.float32), -1, 1)
    update = compute_update("delta", head.weights, hidden, targets, 60, 0.3)
    local = solve(statistics(hidden[:60], targets[:60]), head.weights, 0.3)
    new = combined(FEDAVG, [update], head)
    step = np.abs(local - head.weights).max(axis=1, keepdims=True) / 127
    assert (np.abs(new.weights - local) <= 0.51 * step + 1e-6).all()
    assert (update.num_examples, update.loss_after < update.loss_before) == (60, True)


@pytest.mark.parametrize("how", [FEDAVG, RIDGE], ids=["fedavg", "ridge"])
def test_the_new_range_covers_what_every_device_reconstructs(how, local_data, rng):
    hidden, targets = local_data
    head = Head(rng.normal(size=SHAPE).astype(np.float32), -9, 9)
    updates = [compute_update(how.kind, head.weights, k * hidden, k * targets, 60, 0.3) for k in (1, 2)]
    for update in updates:
        check_update(how, update, head, head.weights)
    new = combined(how, updates, head)
    assert new.output_min == min(u.output_min for u in updates)
    assert new.output_max == max(u.output_max for u in updates)


def test_with_few_windows_the_local_step_does_not_run_from_the_global_head(rng):
    """Eight windows for a hundred weights: fitting them freely would be worse than not moving at all."""
    hidden = np.maximum(rng.normal(size=(14, 60)), 0).astype(np.float32)
    head = rng.normal(size=(4, 61)).astype(np.float32)
    targets = hidden @ head[:, :-1].T + head[:, -1] + rng.normal(size=(14, 4)).astype(np.float32)
    update = compute_update("fedavg", head, hidden, targets, 8, 0.01)
    free = solve(statistics(hidden[:8], targets[:8]), head, 0.01)
    assert update.loss_after < loss(free, hidden[8:], targets[8:])
    assert update.loss_after < 1.1 * update.loss_before


def delta_bytes(step=1.0, rows=SHAPE[0], columns=SHAPE[1]):
    return np.full(rows, step, "<f4").tobytes() + bytes(rows * columns)


HOSTILE_DELTAS = {
    "not zlib": b"garbage",
    "empty": b"",
    "a byte short": zlib.compress(delta_bytes()[:-1]),
    "a byte long": zlib.compress(delta_bytes() + b"\0"),
    "trailing data": zlib.compress(delta_bytes()) + b"more",
    "truncated": zlib.compress(delta_bytes())[:-5],
    "NaN": zlib.compress(delta_bytes(np.nan)),
    "infinite": zlib.compress(delta_bytes(np.inf)),
    "huge": zlib.compress(delta_bytes(1e30)),
    "another shape": zlib.compress(delta_bytes(rows=7)),
}


@pytest.mark.parametrize("payload", HOSTILE_DELTAS.values(), ids=HOSTILE_DELTAS)
def test_a_hostile_delta_is_refused(payload):
    with pytest.raises(ProtocolError):
        unpack_delta(payload, SHAPE)
    unpack_delta(zlib.compress(delta_bytes()), SHAPE)


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e12])
def test_hostile_statistics_are_refused(local_data, bad):
    numbers = triangle(statistics(*local_data))
    unpack_statistics(zlib.compress(numbers.tobytes()), SHAPE, 80)
    for at in (0, 7, -1):
        spoiled = numbers.copy()
        spoiled[at] = bad
        with pytest.raises(ProtocolError, match="statistic"):
            unpack_statistics(zlib.compress(spoiled.tobytes()), SHAPE, 80)
    numbers[0] = -1  # the first of the diagonal
    with pytest.raises(ProtocolError, match="negative diagonal"):
        unpack_statistics(zlib.compress(numbers.tobytes()), SHAPE, 80)


def test_a_bomb_is_not_unpacked():
    bomb = zlib.compress(bytes(200_000_000), 9)  # 200 kB that claim 200 MB
    tracemalloc.start()
    try:
        for unpack in (lambda: unpack_delta(bomb, SHAPE), lambda: unpack_statistics(bomb, SHAPE, 1)):
            with pytest.raises(ProtocolError):
                unpack()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def update(payload: bytes, low=-1.0, high=1.0) -> LocalUpdate:
    return LocalUpdate(payload, 10, low, high, 1.0, 0.5)


@pytest.mark.parametrize(
    ("how", "hostile"),
    [
        (FEDAVG, update(zlib.compress(delta_bytes()), 1, -1)),
        (FEDAVG, update(zlib.compress(delta_bytes()), 0, 1e-200)),
        (FEDAVG, update(zlib.compress(delta_bytes(1e5).replace(b"\0" * 60, b"\x7f" * 60)))),
        (RIDGE, update(zlib.compress(delta_bytes()))),
    ],
    ids=["empty range", "narrow range", "huge weights", "a delta for ridge"],
)
def test_an_update_that_makes_no_head_is_refused_before_it_is_stored(how, hostile):
    with pytest.raises(ProtocolError):
        check_update(how, hostile, Head(np.zeros(SHAPE, np.float32), -1, 1), np.zeros(SHAPE, np.float32))


def test_a_wild_range_widens_the_fleets_at_most_fourfold():
    head = Head(np.zeros(SHAPE, np.float32), -1, 2)
    wild = update(zlib.compress(delta_bytes()), -1e300, 1e300)
    new = combined(FEDAVG, [wild], head)
    assert (new.output_min, new.output_max) == (-8, 8)


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_a_delta(garbage):
    for payload in (garbage, zlib.compress(garbage.ljust(84, b"\x01")[:84])):
        with suppress(ProtocolError):
            assert np.isfinite(unpack_delta(payload, SHAPE)).all()
