import random
import subprocess
import sys
import time

import pytest

from fedtiny.errors import ConfigError, StorageError
from fedtiny.federation.local import LocalUpdate
from fedtiny.ledger import Ledger
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


def test_an_atomic_write_leaves_nothing_else_behind(tmp_path):
    path = tmp_path / "deep" / "folder" / "file"
    for content in (b"long content", b""):
        atomic_write(path, content)
        assert path.read_bytes() == content
    assert [child.name for child in path.parent.iterdir()] == ["file"]
