"""Kills a process that writes a Ledger at random instants, and checks what is left; prints what it saw."""

import hashlib
import random
import shutil
import sys
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from killed import killed_after

from fedtiny.ledger import Ledger, RevisionRow, RoundRow, UpdateRow

KILLS, WITHIN_S = 200, 20
FILE = b"release"
RELEASE = hashlib.sha256(FILE).hexdigest()


def content(what, number):
    return f"{what} {number} ".encode() * (100 + number % 50 * 10)


def update(device, number):
    payload = content(device, number)
    known = {"base_release": RELEASE, "base_revision": number - 1, "kind": "delta", "num_examples": 3}
    losses = {"output_min": 0.0, "output_max": 1.0, "loss_before": 1.0, "loss_after": 0.5}
    digest = hashlib.sha256(payload).hexdigest()
    row = UpdateRow(device=device, digest=digest, bytes=len(payload), received_utc="", round=number, **known, **losses)
    return row, payload


def open_round(ledger, number):
    if number == 1:
        ledger.publish_release(ledger.next_serial(), RELEASE, FILE, b"message", "first", "")
        ledger.add_revision(head(ledger, 0), content("head", 0))
    ledger.open_round(
        RoundRow(number=number, release_id=RELEASE, revision=number - 1, strategy="median", opened_utc="", deadline_s=1)
    )


def first_updates(ledger, number):
    for device in ("c", "b", "a"):
        ledger.add_update(*update(device, number))
    row, payload = update("s", number)
    ledger.add_update(replace(row, kind="statistics"), payload)
    ledger.keep_statistics(number, {"s"})


def more(ledger, number):
    ledger.refuse(update("late", number)[0], "late")
    ledger.strike("b", "norm")
    ledger.saw({"a": ("", f'{{"windows":{number}}}')})


def head(ledger, number, **more):
    return RevisionRow(release_id=RELEASE, revision=number, serial=ledger.next_serial(), created_utc="", **more)


def close_round(ledger, number):
    made = head(ledger, number, parent=number - 1, round=number)
    ledger.add_revision(made, content("head", number), {"momentum": np.full(9, number)})
    ledger.settle(number, "left out", "norm", devices={"b"})
    ledger.settle(number, "used")
    ledger.close_round(number, "", "revision", made=number)


PHASES = (open_round, first_updates, more, close_round)


def step(ledger, n):
    """The nth transaction: a round takes four of them."""
    with ledger.transaction():
        PHASES[(n - 1) % 4](ledger, (n - 1) // 4 + 1)
        ledger.set_setting("n", str(n))


def whole_step(ledger):
    """Which transaction was the last, asserting that all of it is there and nothing else is."""
    n = int(ledger.setting("n") or 0)
    closed, phase = divmod(n, 4)
    rounds = ledger.rounds(n + 1)
    assert [row.number for row in rounds] == list(range(closed + (phase > 0), 0, -1)), n
    assert [row.made for row in rounds] == [None] * (phase > 0) + list(range(closed, 0, -1)), n
    revisions = ledger.revisions(RELEASE)
    assert [(row.revision, row.serial) for row in revisions] == [(k, k + 2) for k in range(closed + 1 if n else 0)], n
    for row in revisions[-2:]:
        assert ledger.payload(row) == content("head", row.revision)
        state = ledger.state(row)
        assert (state["momentum"].tolist() == [row.revision] * 9) if row.round else state is None
    waiting = [(device, local.payload) for device, local, _ in ledger.waiting(closed + 1)]
    assert waiting == [(d, content(d, closed + 1)) for d in "abcs" if phase >= 2], n
    summed = closed + (phase >= 2)
    assert [u.payload for _, u, _ in ledger.statistics(RELEASE)] == [content("s", summed)] * (summed > 0), n
    fates = {"a": {"used": closed}, "b": {"left out": closed}, "c": {"used": closed}, "s": {"used": closed}}
    fates["late"] = {"refused": closed + (phase >= 3)}
    for device in "abcs":
        fates[device]["waiting"] = int(phase >= 2)
    counted = ledger.tallies()
    assert counted == {d: some for d, each in fates.items() if (some := {f: k for f, k in each.items() if k})}, n
    strikes = closed + (phase == 3)
    assert [(row.device, row.strikes, row.status) for row in ledger.devices()] == (
        [("a", 0, f'{{"windows":{strikes}}}'), ("b", strikes, None)] if strikes else []
    ), n
    return n


def main(folder):
    chance, end = random.Random(11), time.monotonic() + WITHIN_S
    n = kills = idle = 0
    while kills < KILLS and time.monotonic() < end:
        acknowledged = killed_after(lambda: partial(step, Ledger(folder)), n, chance.uniform(0, 0.07))
        kills += 1
        idle += acknowledged == n
        copy = folder / "copy"  # closing a ledger tidies it up; the next child shall find what the kill left
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in folder.glob("ledger.sqlite*"):
            shutil.copy(file, copy)
        (copy / "objects").symlink_to(folder / "objects")
        with closing(Ledger(copy)) as ledger:
            n = whole_step(ledger)
        assert n in (acknowledged, acknowledged + 1), (n, acknowledged)
    print(kills, idle, n)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
