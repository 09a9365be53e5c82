"""A folder of files under the SHA-256 of their content."""

import hashlib
from pathlib import Path

from fedtiny.errors import DamagedError
from fedtiny.store import atomic_write


class Objects:
    """What is large and never changes: releases, published messages, the state of strategies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __len__(self) -> int:
        return sum(1 for _ in self._folder.glob("[0-9a-f]" * 64)) if self._folder.exists() else 0

    def put(self, data: bytes) -> str:
        """Keep ``data`` and return its name; a damaged copy of it is made whole."""
        name = hashlib.sha256(data).hexdigest()
        path = self._folder / name
        if not path.exists() or path.read_bytes() != data:
            atomic_write(path, data)
        return name

    def get(self, name: str) -> bytes:
        """What was kept under ``name``; DamagedError when it is gone or no longer what it was."""
        path = self._folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{path}: {error.strerror}; put it back from a copy of the folder") from None
        if hashlib.sha256(data).hexdigest() != name:
            raise DamagedError(f"{path}: damaged; put it back from a copy of the folder")
        return data
