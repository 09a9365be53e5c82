"""The disk under the coordinator's ledger: what can be told of it while the coordinator cannot work, too."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedtiny.exposition.series import Series
from fedtiny.health import disk_free, folder_bytes


@dataclass
class LedgerDisk:
    """folder: where the ledger lies. errors: how often it could not be used, since the start of the process."""

    folder: Path
    errors: int = 0


gauge = partial(Series[LedgerDisk], "gauge")
counter = partial(Series[LedgerDisk], "counter")

LEDGER_DISK = (
    counter(
        "fedtiny_coordinator_storage_errors",
        "How often the ledger could not be written or read; each time the coordinator goes on from it after 5 seconds.",
        lambda disk: disk.errors,
    ),
    gauge(
        "fedtiny_coordinator_ledger_bytes",
        "The ledger: its database with the log, and its objects.",
        lambda disk: folder_bytes(disk.folder),
    ),
    gauge(
        "fedtiny_coordinator_disk_free_bytes",
        "Free on the disk of the ledger.",
        lambda disk: disk_free(disk.folder),
    ),
)
