"""Kills a process that writes a DeviceStore at random instants, and checks what is left; prints what it saw."""

import random
import shutil
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from killed import killed_after

from fedtiny.device_store import DeviceStore

KILLS, WITHIN_S = 150, 20


def message(n):
    return n.to_bytes(4, "big") * (n % 50 * 100 + 1)


def step(store, n):
    """The nth transaction; after it the store holds n, an array full of n, and the last five messages."""
    with store.transaction():
        store.put("n", n)
        store.put_array("array", np.full(5_000, n, np.float32))
        waiting = [waits.id for waits in store.waiting()]
        store.spool("alarm", "a", message(n))
        store.delivered(*waiting[: max(len(waiting) - 4, 0)])


def whole_step(store):
    """Which transaction was the last, asserting that all of it is there and nothing else is."""
    n = store.get("n", 0)
    waiting = [waits.payload for waits in store.waiting()]
    assert waiting == [message(k) for k in range(max(n - 4, 1), n + 1)], n
    if n:
        assert set(store.array("array").tolist()) == {n}, n
        backlog = store.backlog()["alarm"]
        assert (backlog.messages, backlog.bytes) == (len(waiting), sum(map(len, waiting))), n
    return n


def main(folder):
    chance, end = random.Random(11), time.monotonic() + WITHIN_S
    n = kills = idle = 0
    while kills < KILLS and time.monotonic() < end:
        acknowledged = killed_after(
            lambda: partial(step, DeviceStore(folder / "device.db")), n, chance.uniform(0, 0.06)
        )
        kills += 1
        idle += acknowledged == n
        copy = folder / "copy"  # closing a store tidies it up; the next child shall find what the kill left
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in folder.glob("device.db*"):
            shutil.copy(file, copy)
        with closing(DeviceStore(copy / "device.db")) as store:
            n = whole_step(store)
        assert n in (acknowledged, acknowledged + 1), (n, acknowledged)
        assert not list(folder.glob("**/*.damaged*"))
    print(kills, idle, n)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
