import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.federation.combine import Entry, check_update, combine
from fedtiny.federation.local import LocalUpdate, compute_update
from fedtiny.federation.screening import LIMIT, Cohort
from fedtiny.federation.strategies import BUILT_IN, strategy
from fedtiny.federation.updates import pack_delta, pack_statistics, unpack_delta
from fedtiny.model.head import Head, Statistics, solve, statistics

SHAPE = (6, 10)
HEAD = Head(np.zeros(SHAPE, np.float32), -4, 4)


def run(name, entries, head=HEAD, state=None, **keywords):
    return combine(strategy(name, {}), lambda: iter(entries), head, HEAD.weights, state or {}, **keywords)


def fleet(rng, count=8, windows=60, hidden_size=SHAPE[1] - 1):
    """(activations, targets) of machines that have a head in common and are not alike."""
    truth = rng.normal(size=(hidden_size, SHAPE[0]))
    found = []
    for _ in range(count):
        hidden = np.maximum(rng.normal(0.3, 1, (windows, hidden_size)), 0).astype(np.float32)
        own = truth + 0.3 * rng.normal(size=truth.shape)
        found.append((hidden, (hidden @ own + 0.2 * rng.normal(size=(windows, SHAPE[0]))).astype(np.float32)))
    return found


def entries_of(name, machines, head=HEAD):
    kind = BUILT_IN[name][0]
    return [
        Entry(f"pump-{i}", compute_update(kind, head.weights, hidden, targets, 40, 0.3))
        for i, (hidden, targets) in enumerate(machines)
    ]


def delta_entry(value, device="pump", examples=10, **keywords):
    payload = pack_delta(np.full(SHAPE, value, np.float32))
    return Entry(device, LocalUpdate(payload, examples, -1, 1, 1.0, 0.5), **keywords)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_strategy_brings_the_fleet_closer_to_its_machines_over_rounds(name, rng):
    machines = fleet(rng)
    head, state, losses = HEAD, {}, []
    for _ in range(5):
        entries = entries_of(name, machines, head)
        losses.append(np.mean([entry.update.loss_before for entry in entries]))
        done = combine(strategy(name, {}), lambda entries=entries: iter(entries), head, HEAD.weights, state)
        head, state = done.head, done.state
        assert done.left_out == {}
    assert losses[-1] < 0.75 * losses[0]


def test_a_stale_delta_counts_for_less_of_itself_and_the_sum_is_not_rescaled():
    done = run("fedavg", [delta_entry(1.0, "a", staleness=3), delta_entry(1.0, "b")])
    np.testing.assert_allclose(done.head.weights, (1 / math.sqrt(4) + 1) / 2, rtol=1e-6)
    alone = run("fedavg", [delta_entry(1.0, staleness=8)])
    np.testing.assert_allclose(alone.head.weights, 1 / 3, rtol=1e-6)


def test_statistics_are_never_stale_and_old_ones_still_count(rng):
    machines = fleet(rng, 5)
    entries = entries_of("ridge", machines)
    aged = [replace(entry, staleness=i, new=i > 2) for i, entry in enumerate(entries)]
    pooled = statistics(*(np.concatenate([part[:40] for part in both]) for both in zip(*machines, strict=True)))
    np.testing.assert_allclose(run("ridge", aged).head.weights, solve(pooled, HEAD.weights, 0.01), atol=1e-5)


def test_a_forgotten_device_leaves_no_trace(rng):
    machines = fleet(rng)
    without = run("ridge", entries_of("ridge", machines[:-1])).head
    forgotten = run("ridge", entries_of("ridge", machines)[:-1]).head
    np.testing.assert_array_equal(forgotten.weights, without.weights)


@pytest.mark.parametrize("name", ["fedavg", "ridge"])
def test_the_screening_takes_a_hostile_device_out_of_the_head_and_says_why(name, rng):
    machines = fleet(rng)
    entries = entries_of(name, machines)
    kind = BUILT_IN[name][0]
    update = entries[3].update
    if kind == "delta":
        payload = pack_delta(-50 * unpack_delta(update.payload, SHAPE))
    else:
        hidden, targets = machines[3]
        payload = pack_statistics(statistics(hidden[:40], -50 * targets[:40]))
    hostile = [*entries]
    hostile[3] = replace(entries[3], update=replace(update, payload=payload, output_min=-16.0))
    done = run(name, hostile)
    assert done.left_out.keys() == {"pump-3"}
    assert "the cohort's median" in done.left_out["pump-3"]
    honest = run(name, [entry for entry in entries if entry.device != "pump-3"])
    np.testing.assert_allclose(done.head.weights, honest.head.weights, atol=1e-6)
    assert done.head.output_min == honest.head.output_min
    assert np.abs(run(name, hostile, screening=False).head.weights - honest.head.weights).max() > 0.5


def test_statistics_of_flipped_targets_are_left_out(rng):
    machines = fleet(rng)
    entries, (hidden, targets) = entries_of("ridge", machines), machines[2]
    flipped = pack_statistics(statistics(hidden[:40], -targets[:40]))
    entries[2] = replace(entries[2], update=replace(entries[2].update, payload=flipped))
    assert run("ridge", entries).left_out.keys() == {"pump-2"}


@pytest.mark.parametrize("name", ["fedavg", "ridge"])
def test_an_update_five_times_as_large_counts_as_three_times_the_median(name, rng):
    machines = fleet(rng)
    kind = BUILT_IN[name][0]

    def stretched(by):
        entries = entries_of(name, machines)
        update, (hidden, targets) = entries[3].update, machines[3]
        if kind == "delta":
            payload = pack_delta(by * unpack_delta(update.payload, SHAPE))
        else:
            payload = pack_statistics(statistics(hidden[:40], by * targets[:40]))
        return [*entries[:3], replace(entries[3], update=replace(update, payload=payload)), *entries[4:]]

    found = run(name, stretched(5))
    assert found.left_out == {}
    np.testing.assert_allclose(found.head.weights, run(name, stretched(7)).head.weights, atol=0.02)
    largest = np.abs(run(name, stretched(7), screening=False).head.weights - found.head.weights).max()
    assert largest > 0.3


def test_a_machine_that_krums_head_is_of_is_not_left_out_for_pointing_away_from_all_others():
    """All want to go up but the one that the last head came from."""
    away = [delta_entry(1.0, f"pump-{i}") for i in range(6)] + [delta_entry(-1.0, "chosen")]
    assert run("krum", away).left_out == {}
    assert run("fedavg", away).left_out.keys() == {"chosen"}


def test_a_claim_of_many_examples_is_taken_up_to_a_multiple_of_the_median():
    entries = [delta_entry(1.0, f"pump-{i}") for i in range(4)] + [delta_entry(2.0, "greedy", examples=100_000)]
    np.testing.assert_allclose(run("fedavg", entries).head.weights, (4 + 2 * LIMIT) / (4 + LIMIT), rtol=1e-5)
    assert run("fedavg", entries, screening=False).head.weights.min() > 1.99


def test_loud_statistics_count_up_to_a_multiple_of_the_median(rng):
    """Activations five times as large are 25 times the weight in a sum of squares, too much to be a machine's."""
    machines = fleet(rng)
    for loud, left_out in ((2, set()), (5, {"pump-7"})):
        other = [*machines[:-1], (loud * machines[-1][0], machines[-1][1])]
        assert run("ridge", entries_of("ridge", other)).left_out.keys() == left_out
    parts = [statistics(hidden[:40], targets[:40]) for hidden, targets in [*machines[:-1], other[-1]]]
    parts[-1] = statistics(2 * machines[-1][0][:40], machines[-1][1][:40])
    share = LIMIT * np.median([np.trace(part.gram) for part in parts]) / np.trace(parts[-1].gram)
    count = int(40 * share)
    limited = Statistics(parts[-1].gram * count / 40, parts[-1].cross * count / 40, count)
    total = Statistics(*(sum(getattr(p, key) for p in [*parts[:-1], limited]) for key in ("gram", "cross", "count")))
    other[-1] = (2 * machines[-1][0], machines[-1][1])
    done = run("ridge", entries_of("ridge", other))
    np.testing.assert_allclose(done.head.weights, solve(total, HEAD.weights, 0.01), atol=1e-5)


def test_a_minority_cannot_widen_the_output_range_step_by_step(rng):
    machines, head = fleet(rng), HEAD
    for _ in range(6):
        entries = entries_of("fedavg", machines, head)
        honest = max(-min(e.update.output_min for e in entries), max(e.update.output_max for e in entries))
        greedy = replace(entries[0].update, output_max=7 * honest)
        head = run("fedavg", [replace(entries[0], update=greedy), *entries[1:]], head).head
        assert head.output_max <= LIMIT * honest


def test_half_against_half_nobody_is_the_cohort():
    wide = [replace(delta_entry(0.0, f"wide-{i}").update, output_max=1e5) for i in range(2)]
    entries = [
        *(Entry(f"wide-{i}", update) for i, update in enumerate(wide)),
        delta_entry(1.0, "a"),
        delta_entry(1.0, "b"),
    ]
    assert run("fedavg", entries).left_out == {}
    assert run("fedavg", [*entries, delta_entry(1.0, "c")]).left_out.keys() == {"wide-0", "wide-1"}


@pytest.mark.parametrize("name", BUILT_IN)
@settings(max_examples=25)
@given(data=st.data())
def test_hostile_numbers_raise_nothing_but_the_errors_that_are_announced(name, data):
    kind = BUILT_IN[name][0]
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    sizes = st.sampled_from([0.0, 1e-12, 1.0, -1e3, 1e6, -1e6])
    entries = []
    for i in range(data.draw(st.integers(1, 6))):
        count = data.draw(st.sampled_from([1, 10, 100_000]))
        if kind == "delta":
            payload = pack_delta((data.draw(sizes) * rng.normal(size=SHAPE)).astype(np.float32))
        else:
            gram = data.draw(sizes) * rng.normal(size=(SHAPE[1], SHAPE[1]))
            payload = pack_statistics(Statistics(gram @ gram.T, data.draw(sizes) * rng.normal(size=SHAPE[::-1]), count))
        low, high = data.draw(sizes), data.draw(sizes)
        entries.append(Entry(f"pump-{i}", LocalUpdate(payload, count, low, high, 1.0, 1.0)))
    for entry in entries:
        try:
            check_update(strategy(name, {}), entry.update, HEAD, HEAD.weights)
        except ProtocolError:
            continue
    for screening in (True, False):
        try:
            head = run(name, entries, screening=screening).head
        except (ProtocolError, ReleaseError, ValueError):
            continue
        assert np.isfinite(head.weights).all()


@pytest.mark.parametrize("name", ["fedavg", "fedadam", "trimmed-mean", "ridge"])
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), data=st.data())
def test_what_is_noted_as_updates_come_in_any_order_makes_the_same_head_to_the_bit(name, seed, data):
    """Some came in an earlier life and are noted at the end; two are hostile and taken out again."""
    entries = entries_of(name, fleet(np.random.default_rng(seed)))
    entries = [replace(entry, staleness=i % 3) for i, entry in enumerate(entries)]
    for i, larger in ((2, 60.0), (6, -60.0)):
        update = entries[i].update
        entries[i] = replace(entries[i], update=replace(update, output_max=abs(larger) * update.output_max))
        if BUILT_IN[name][0] == "delta":
            payload = pack_delta(larger * unpack_delta(update.payload, SHAPE))
            entries[i] = replace(entries[i], update=replace(entries[i].update, payload=payload))
    how, cohort = strategy(name, {}), Cohort()
    for entry in data.draw(st.permutations(entries))[: data.draw(st.integers(0, len(entries)))]:
        cohort.add(check_update(how, entry.update, HEAD, HEAD.weights, device=entry.device, staleness=entry.staleness))
    done, plain = run(name, entries, cohort=cohort), run(name, entries)
    np.testing.assert_array_equal(done.head.weights, plain.head.weights)
    assert (done.head.output_min, done.head.output_max) == (plain.head.output_min, plain.head.output_max)
    assert done.left_out == plain.left_out
    assert {"pump-2", "pump-6"} <= done.left_out.keys()


def test_statistics_that_no_data_can_have_are_refused_when_they_arrive(rng):
    entry = entries_of("ridge", fleet(rng, 1))[0]
    check_update(strategy("ridge", {}), entry.update, HEAD, HEAD.weights)
    with pytest.raises(ProtocolError, match="statistics of 40 windows, said to be 400"):
        check_update(strategy("ridge", {}), replace(entry.update, num_examples=400), HEAD, HEAD.weights)


def test_the_updates_of_many_devices_are_not_held_at_a_time():
    shape = (64, 65)
    head = Head(np.zeros(shape, np.float32), -4, 4)
    rng = np.random.default_rng(0)
    payload = pack_delta(rng.normal(size=shape).astype(np.float32))
    update = LocalUpdate(payload, 10, -1, 1, 1.0, 0.5)
    tracemalloc.start()
    try:
        how = strategy("fedavg", {})
        combine(how, lambda: (Entry(f"pump-{i}", update) for i in range(400)), head, head.weights, {})
        assert tracemalloc.get_traced_memory()[1] < 2_000_000  # all of them: 7 MB
    finally:
        tracemalloc.stop()
