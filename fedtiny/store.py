"""Files that are replaced whole, and folders that one process holds at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fedtiny.errors import ConfigError, StorageError

LOCK_ATTEMPTS = 5


def atomic_write(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace ``path`` by ``data``: after a crash at any instant it holds the old content or the new, whole.

    ``mode``: of the new file from its first byte on, less what the process's umask takes away.
    """
    draft = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)  # one that a crash left behind has a mode of its own
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(folder: Path) -> Iterator[IO[str]]:
    """Hold ``folder`` for this process; ConfigError when another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "lock", "w")  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"state folder {folder}: {error.strerror}") from None
    with file:
        for attempt in range(LOCK_ATTEMPTS):  # somebody may hold it for an instant, to see whether it is held
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == LOCK_ATTEMPTS - 1:
                    raise ConfigError(f"state folder {folder} is in use by another process") from None
                time.sleep(0.02)
        yield file
