"""The coordinator's memory: an SQLite ledger beside a folder of objects under their SHA-256.

Every method is one transaction that has reached the disk on return; ``transaction()`` makes several into one.
"""

from pathlib import Path

from fedtiny.errors import StorageError
from fedtiny.ledger.devices import Devices
from fedtiny.ledger.history import Histories
from fedtiny.ledger.objects import Objects
from fedtiny.ledger.orders import Orders
from fedtiny.ledger.releases import Releases
from fedtiny.ledger.rounds import Rounds
from fedtiny.ledger.rows import (
    PINNED,
    AlarmRow,
    DeviceRow,
    Fate,
    OrderRow,
    ReleaseRow,
    ResourceRow,
    RevisionRow,
    RoundRow,
    ScoreRow,
    Standing,
    UpdateRow,
)
from fedtiny.ledger.updates import Updates

__all__ = [
    "PINNED",
    "AlarmRow",
    "DeviceRow",
    "Fate",
    "Ledger",
    "OrderRow",
    "ReleaseRow",
    "ResourceRow",
    "RevisionRow",
    "RoundRow",
    "ScoreRow",
    "Standing",
    "UpdateRow",
]


class Ledger(Releases, Rounds, Updates, Devices, Orders, Histories):
    """What a coordinator must never forget; see ``fedtiny.ledger.database`` for its errors and promises.

    The coordinator opens it under the lock of its folder. A guest is any other process: it reads, and gives orders.
    """

    def __init__(self, folder: Path, *, guest: bool = False) -> None:
        self._objects = Objects(folder / "objects")
        path = folder / "ledger.sqlite"
        if not guest and len(self._objects) and (not path.exists() or path.stat().st_size == 0):
            raise StorageError(
                f"{path}: gone, but its objects are there; put {folder} back from a copy, or move it away to begin "
                "anew from the fleet's newest head"
            )
        super().__init__(path, guest=guest)

    def put_object(self, data: bytes) -> str:
        """Keep ``data`` under its SHA-256, which is returned."""
        return self._objects.put(data)

    def get_object(self, name: str) -> bytes:
        """What was kept under ``name``; StorageError when it is gone or no longer what it was."""
        return self._objects.get(name)
