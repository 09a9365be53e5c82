"""``fedtiny release`` and ``fedtiny head``: what a coordinator publishes, and how it is taken back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedtiny.cli_base import FILE, Group
from fedtiny.cli_ledger import Columns, Give, ledger_options, open_ledger, order_options, show

if TYPE_CHECKING:
    from fedtiny.ledger import Ledger

ID_SHOWN = 12  # of a release's id


@click.group(cls=Group)
def release() -> None:
    """The releases of a fleet."""


@click.group(cls=Group)
def head() -> None:
    """The revisions of the current release's head."""


# --- release ---


@release.command("publish", epilog="Example: fedtiny release publish release.tflite")
@click.argument("release_file", type=FILE, metavar="FILE")
@order_options
def release_publish(release_file: Path, folder: Path, give: Give) -> None:
    """Publish a release to the fleet in place of the current one."""
    from fedtiny.model.artifact import Release
    from fedtiny.orders import PublishRelease

    data = Release.open(release_file).data
    with open_ledger(folder) as ledger:
        order = PublishRelease(release=ledger.put_object(data))
    give(order)


@release.command("list", epilog="Example: fedtiny release list")
@ledger_options
def release_list(folder: Path, as_json: bool) -> None:
    """Show every release there was, and which one is current."""
    from fedtiny.ledger.views import releases_view

    with open_ledger(folder) as ledger:
        rows = releases_view(ledger)
    columns: Columns = {
        "": lambda row: "*" if row["current"] else "",
        "RELEASE": lambda row: row["release_id"][:ID_SHOWN],
        "PUBLISHED": lambda row: row["published_utc"],
        "REVISION": lambda row: row["revision"],
        "WHY": lambda row: row["why"],
    }
    show(rows, columns, as_json)


@release.command("rollback", epilog="Example: fedtiny release rollback 3f9a")
@click.argument("release_id", required=False, metavar="[ID]")
@order_options
def release_rollback(release_id: str | None, folder: Path, give: Give) -> None:
    """Publish an older release again, with its newest head: the one whose id begins with ID, or the one before."""
    from fedtiny.orders import RollbackRelease

    with open_ledger(folder) as ledger:
        found = None if release_id is None else ledger.known_release(release_id)
    give(RollbackRelease(release_id=found))


# --- head ---


@head.command("list", epilog="Example: fedtiny head list")
@click.option("--release", "release_id", help="Beginning of a release's id.  [default: the current one]")
@ledger_options
def head_list(release_id: str | None, folder: Path, as_json: bool) -> None:
    """Show every revision of a release's head, newest first: what it was made of, and how good that was."""
    from fedtiny.ledger.views import heads_view

    with open_ledger(folder) as ledger:
        rows = heads_view(ledger, _current(ledger) if release_id is None else ledger.known_release(release_id))
    columns: Columns = {
        "REVISION": lambda row: row["revision"],
        "": lambda row: "pinned" if row["pinned"] else "",
        "CREATED": lambda row: row["created_utc"],
        "PARENT": lambda row: row["parent"],
        "RESTORES": lambda row: row["restores"],
        "ROUND": lambda row: row["round"],
        "STRATEGY": lambda row: row["strategy"],
        "LOSS BEFORE": lambda row: row["loss_before"],
        "AFTER": lambda row: row["loss_after"],
    }
    show(rows, columns, as_json)


def _current(ledger: "Ledger") -> str:
    row = ledger.current_release()
    if row is None:
        raise click.ClickException("no release was published yet")
    return row.release_id


def _known_revision(folder: Path, revision: int) -> None:
    with open_ledger(folder) as ledger:
        current = _current(ledger)
        newest = ledger.newest_revision(current)
        if ledger.revision(current, revision) is None:
            has = f"its newest is {newest.revision}" if newest else "it has none"
            raise click.ClickException(f"release {current[:ID_SHOWN]} has no revision {revision}; {has}")


@head.command("rollback", epilog="Example: fedtiny head rollback 4")
@click.argument("revision", type=click.IntRange(0))
@order_options
def head_rollback(revision: int, folder: Path, give: Give) -> None:
    """Bring an older revision of the head back, as a new revision.

    Where [coordinator] rounds is not 0, rounds begin again only with new data; fedtiny head pin keeps it for good.
    """
    from fedtiny.orders import RollbackHead

    _known_revision(folder, revision)
    give(RollbackHead(revision=revision))


@head.command("pin", epilog="Example: fedtiny head pin 4")
@click.argument("revision", type=click.IntRange(0), required=False)
@order_options
def head_pin(revision: int | None, folder: Path, give: Give) -> None:
    """Keep a revision of the head, or the newest one: no round opens until it is unpinned."""
    from fedtiny.orders import PinHead

    if revision is not None:
        _known_revision(folder, revision)
    give(PinHead(revision=revision))


@head.command("unpin", epilog="Example: fedtiny head unpin")
@order_options
def head_unpin(folder: Path, give: Give) -> None:
    """Let rounds make new heads again."""
    from fedtiny.orders import UnpinHead

    give(UnpinHead())
