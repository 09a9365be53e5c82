import random
import subprocess
import sys
import time

import pytest

from fedtiny.errors import ConfigError
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


def test_an_atomic_write_leaves_nothing_else_behind(tmp_path):
    path = tmp_path / "deep" / "folder" / "file"
    for content in (b"long content", b""):
        atomic_write(path, content)
        assert path.read_bytes() == content
    assert [child.name for child in path.parent.iterdir()] == ["file"]
