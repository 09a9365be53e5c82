from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.device_store import DeviceStore
from fedtiny.model.head import Head
from fedtiny.model.network import Network
from fedtiny.model.watch import Rules, Watch
from fedtiny.watch_state import load_watch, save_watch

RULES = Rules(rate=0.05, learn=24, keep=60, votes=3, window=5, quiet=0.8, points=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("device") / "device.db"


def restarted(path, watch, rules=None) -> Watch:
    """What the next process finds."""
    with closing(DeviceStore(path)) as store, store.transaction():
        save_watch(store, watch)
    network = watch.network
    with closing(DeviceStore(path)) as store:
        return load_watch(store, Network(network.release, network.runtime, network.head), rules or watch.rules)


def scaled(head, factor) -> Head:
    return Head((factor * head.weights).astype(np.float32), factor * head.output_min, factor * head.output_max)


def course(machine, kind):
    """(features, operating point, speed in Hz, head's factor or None) of each window of a machine's life."""
    scale = 1 + 0.1 * (np.arange(len(machine.features)) // 10 % 2)[:, None]
    features = machine.features * (scale if kind == "clusters" else 1)
    features[60:63] -= 20  # at a standstill
    for number, window in enumerate(features.astype(np.float32)):
        point, speed = {
            "one": ("", None),
            "tags": (("slow", "a/b fast")[number // 7 % 2], None),
            "speeds": ("", (24.9, 41.3)[number // 7 % 2]),
            "clusters": ("", None),
        }[kind]
        yield window[None], point, speed, 1.1 if number == 70 else None


@settings(max_examples=8)
@pytest.mark.parametrize("kind", ["one", "tags", "speeds", "clusters"])
@given(cuts=st.sets(st.integers(0, 119), max_size=12), untrusted=st.sets(st.integers(0, 119), max_size=20))
def test_restarts_at_any_instants_change_no_finding(release, machine, path, kind, cuts, untrusted):
    rules = replace(RULES, points=2 if kind == "clusters" else 1)
    # the head that a patched file holds, so that both watches run the same bytes
    watch, other = (Watch(Network(release, head=release.head), rules) for _ in range(2))
    for number, (window, point, speed, factor) in enumerate(course(machine, kind)):
        if number in cuts:
            other = restarted(path, other)
        if factor is not None:
            watch.set_head(scaled(release.head, factor))
            other.set_head(scaled(release.head, factor))
        one, found = (w.take(window, point, speed, trusted=number not in untrusted) for w in (watch, other))
        np.testing.assert_equal(found.__dict__, one.__dict__)
        assert (other.alarm.state, other.learned, other.promised) == (watch.alarm.state, watch.learned, watch.promised)
    assert watch.watching
    for one, again in zip(watch.local_data(), other.local_data(), strict=True):
        np.testing.assert_array_equal(one, again)


def test_another_budget_in_the_configuration_counts_at_once(release, machine, path):
    watch = Watch(Network(release, head=release.head), RULES)
    for window in machine.normal:
        watch.take(window[None])
    stricter = restarted(path, watch, replace(RULES, rate=0.001))
    assert stricter.detectors["0"].threshold > watch.detectors["0"].threshold
    assert stricter.promised < watch.promised == 1
    back = restarted(path, stricter, RULES)
    assert back.detectors["0"].threshold == pytest.approx(watch.detectors["0"].threshold, rel=0.2)
    assert back.promised == 1


@pytest.mark.parametrize("kind", ["one", "tags", "clusters"])
def test_a_watch_that_is_forgotten_leaves_nothing_behind(release, machine, path, kind):
    """While it is still collecting its first windows, and when it is watching."""
    rules = replace(RULES, points=2 if kind == "clusters" else 1)
    for windows in (10, 100):
        watch = Watch(Network(release), rules)
        for window, point, speed, _ in list(course(machine, kind))[:windows]:
            watch.take(window, point, speed)
        restarted(path, watch)
        with closing(DeviceStore(path)) as store:
            save_watch(store, None)
            fresh = load_watch(store, Network(release), rules)
        assert (fresh.learned, fresh.detectors, fresh.first, fresh.clusters) == (0, {}, [], None)


def test_an_operating_point_that_is_gone_takes_its_arrays_with_it(release, machine, path):
    watch = Watch(Network(release), RULES)
    for window, point, *_ in course(machine, "tags"):
        watch.take(window, point)
    restarted(path, watch)
    del watch.detectors["slow"]
    assert list(restarted(path, watch).detectors) == ["a/b fast"]
    with closing(DeviceStore(path)) as store:
        assert store.array("slow/baseline") is None
