import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from fedtiny.device_state import DeviceState, Numbers
from fedtiny.errors import ConfigError, StorageError
from fedtiny.federation.local import LocalUpdate
from fedtiny.ledger import Ledger
from fedtiny.model.head import Head
from fedtiny.signal.features import Standardisation
from fedtiny.store import atomic_write, locked

WRITER = """
import sys
from pathlib import Path
from fedtiny.store import atomic_write
version = 0
while True:
    version += 1
    atomic_write(Path(sys.argv[1]), version.to_bytes(4, "big") * (5_000 * (version % 50 + 1)))
    print(version, flush=True)
"""


def whole_version(content: bytes) -> int:
    version = int.from_bytes(content[:4], "big")
    assert content == version.to_bytes(4, "big") * (5_000 * (version % 50 + 1))
    return version


def test_a_reader_and_a_kill_at_any_instant_find_one_whole_version(tmp_path):
    path = tmp_path / "state.bin"
    chance = random.Random(3)
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as child:
            acknowledged = int(child.stdout.readline())
            kill_at = time.monotonic() + chance.uniform(0, 0.1)
            while time.monotonic() < kill_at:
                whole_version(path.read_bytes())
            child.kill()
            acknowledged = int([acknowledged, *child.stdout.read().splitlines()][-1])
        assert whole_version(path.read_bytes()) in (acknowledged, acknowledged + 1)


HOLDER = """
import sys
from pathlib import Path
from fedtiny.store import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_belongs_to_one_process_until_it_ends(tmp_path):
    command = [sys.executable, "-c", HOLDER, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match="in use by another process"), locked(tmp_path):
            pass
        holder.kill()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"state folder .*file"), locked(tmp_path / "file"):
        pass


RELEASE = "ab" * 32


def update(payload: bytes, examples: int = 5) -> LocalUpdate:
    return LocalUpdate(payload, examples, -1.5, 2.5, 0.75, 0.5)


def test_a_reopened_ledger_has_everything(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add_revision(RELEASE, 0, b"head 0", "then")
    ledger.open_round(1, RELEASE, 0, "fedavg", "then")
    ledger.add_update(1, "pump-2", update(b"two"))
    ledger.add_update(1, "pump-1", update(b"first"))
    ledger.add_update(1, "pump-1", update(b"again", 6))
    ledger.close()

    ledger = Ledger(tmp_path)
    assert ledger.updates(1) == {"pump-1": update(b"again", 6), "pump-2": update(b"two")}
    assert list(ledger.updates(1)) == ["pump-1", "pump-2"]
    assert (ledger.last_round().number, ledger.last_round().outcome) == (1, None)
    assert ledger.newest_revision(RELEASE) == (0, b"head 0")
    ledger.close_round(1, "now", "revision 1", losses=(0.75, 0.5), bytes_up=8, revision=(RELEASE, 1, b"head 1"))
    ledger.open_round(2, RELEASE, 1, "fedavg", "now")
    ledger.close_round(2, "now", "abandoned")
    ledger.close()

    ledger = Ledger(tmp_path)
    assert ledger.newest_revision(RELEASE) == (1, b"head 1")
    assert ledger.newest_revision("cd" * 32) is None
    assert ledger.completed(RELEASE) == 1
    assert (ledger.last_round().number, ledger.last_round().outcome) == (2, "abandoned")
    ledger.add_revision(RELEASE, 0, b"another head 0", "later")  # what is known stays
    assert ledger.newest_revision(RELEASE) == (1, b"head 1")
    ledger.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from fedtiny.federation.local import LocalUpdate
from fedtiny.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
ledger.open_round(1, "ab" * 32, 0, "fedavg", "then")
ledger.add_update(1, "pump-1", LocalUpdate(b"kept", 5, -1.5, 2.5, 0.75, 0.5))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_stored_survives_a_kill(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path])
    ledger = Ledger(tmp_path)
    assert ledger.updates(1) == {"pump-1": update(b"kept")}
    ledger.close()


def test_a_revision_and_the_close_of_its_round_come_together(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.open_round(1, RELEASE, 0, "fedavg", "then")
    ledger.add_revision(RELEASE, 1, b"head", "then")
    with pytest.raises(Exception, match="UNIQUE"):
        ledger.close_round(1, "now", "revision 1", revision=(RELEASE, 1, b"other"))
    assert ledger.last_round().outcome is None
    ledger.close()


def test_damage_to_the_ledger_is_named(tmp_path):
    ledger = Ledger(tmp_path)
    name = ledger.put_object(b"content")
    assert ledger.get_object(name) == b"content"
    (tmp_path / "objects" / name).write_bytes(b"c0ntent")
    with pytest.raises(StorageError, match=f"{name}: missing or damaged"):
        ledger.get_object(name)
    ledger.close()
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match=r"ledger\.sqlite"):
        Ledger(tmp_path)


@pytest.fixture
def state(rng) -> DeviceState:
    scale = Standardisation(rng.normal(size=6).astype(np.float32), np.ones(6, np.float32))
    head = Head(rng.normal(size=(6, 4)).astype(np.float32), -1.25, 3.5)
    buffer = rng.normal(size=(20, 6)).astype(np.float32)
    return DeviceState(Numbers(RELEASE, 3, "watching", 4, 100, 50, True), buffer, scale, head)


def same(a: DeviceState, b: DeviceState) -> bool:
    return (
        a.numbers == b.numbers
        and np.array_equal(a.buffer, b.buffer)
        and np.array_equal(a.head.weights, b.head.weights)
        and (a.head.output_min, a.head.output_max) == (b.head.output_min, b.head.output_max)
        and np.array_equal(a.standardisation.mean, b.standardisation.mean)
        and np.array_equal(a.standardisation.deviation, b.standardisation.deviation)
    )


def test_a_device_remembers(tmp_path, state):
    path = tmp_path / "new folder" / "device.npz"
    assert DeviceState.load(path).numbers == Numbers()
    state.save(path)
    assert same(DeviceState.load(path), state)
    DeviceState().save(path)
    assert DeviceState.load(path).head is None


def test_a_damaged_state_is_put_aside_and_said(tmp_path, state, caplog):
    """Whatever byte is hit: the state as it was, or a fresh one beside the damaged file."""
    path = tmp_path / "device.npz"
    state.save(path)
    whole = path.read_bytes()
    chance = random.Random(5)
    damaged = [whole[:size] for size in range(0, len(whole), 61)]
    for _ in range(400):
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= chance.randrange(1, 256)
        damaged.append(bytes(flipped))
    fresh = 0
    for content in damaged:
        path.write_bytes(content)
        caplog.clear()
        loaded = DeviceState.load(path)
        if loaded.numbers == Numbers():
            fresh += 1
            assert not path.exists()
            assert path.with_suffix(".damaged").read_bytes() == content
            assert "damaged" in caplog.text
        else:
            assert same(loaded, state)
    assert fresh > len(damaged) / 2


def test_a_state_with_an_impossible_head_starts_afresh(tmp_path, state):
    """Whole as a file, yet not a state: no restart may end in the same error for ever."""
    path = tmp_path / "device.npz"
    state.save(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    for changes in (
        {"weights": arrays["weights"] * np.float32(np.nan)},
        {"output_range": np.array([1.0, -1.0])},
        {"numbers": np.array(json.dumps({"unknown": 1}))},
        {"numbers": np.array("not json")},
    ):
        np.savez(path, **arrays | changes)
        assert DeviceState.load(path).numbers == Numbers()


def test_an_atomic_write_leaves_nothing_else_behind(tmp_path):
    path = tmp_path / "deep" / "folder" / "file"
    for content in (b"long content", b""):
        atomic_write(path, content)
        assert path.read_bytes() == content
    assert [child.name for child in path.parent.iterdir()] == ["file"]
