"""The operators' commands on a coordinator's ledger: ``fedtiny fleet``, ``fedtiny release``, ``fedtiny head``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedtiny.cli_base import FILE, Group, echo_json, load

if TYPE_CHECKING:
    from fedtiny.ledger import Ledger
    from fedtiny.orders import Order

ID_SHOWN = 12  # of a release's id
Give = Callable[["Order"], None]
Columns = dict[str, Callable[[dict[str, Any]], Any]]  # heading -> what of a row stands under it


@click.group(cls=Group)
def fleet() -> None:
    """The devices of a fleet."""


@click.group(cls=Group)
def release() -> None:
    """The releases of a fleet."""


@click.group(cls=Group)
def head() -> None:
    """The revisions of the current release's head."""


def _ledger_options(command: Callable[..., None]) -> Callable[..., None]:
    """--json, and where the ledger is: the command gets ``folder``."""

    @wraps(command)
    def found(config_file: Path | None, state: Path | None, **rest: Any) -> None:
        command(folder=load(config_file, state=state).state_folder("coordinator"), **rest)

    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON line a row."),
        click.option("--state", type=FILE, help="The coordinator's folder.  [default: the configuration's]"),
        click.option("--config", "config_file", type=FILE, help="The coordinator's configuration."),
    ):
        found = option(found)
    return found


def _order_options(command: Callable[..., None]) -> Callable[..., None]:
    """Those of the ledger, and how long an order is waited for: the command gets ``give``."""

    @wraps(command)
    def giving(folder: Path, wait: float, as_json: bool, **rest: Any) -> None:
        command(folder=folder, give=partial(_give, folder, wait, as_json), **rest)

    wait = click.option(
        "--wait", type=click.FloatRange(0), default=15.0, show_default=True, help="For its outcome, seconds at most."
    )
    return _ledger_options(wait(giving))


@contextmanager
def _open(folder: Path) -> "Iterator[Ledger]":
    from fedtiny.ledger import Ledger

    with closing(Ledger(folder, guest=True)) as ledger:
        yield ledger


def _give(folder: Path, wait_s: float, as_json: bool, order: "Order") -> None:
    from fedtiny.orders import give

    receipt = give(folder, order, wait_s)
    if as_json:
        echo_json(vars(receipt))
    if receipt.state in ("refused", "late"):
        raise click.ClickException(receipt.outcome)
    if not as_json:
        click.echo(receipt.outcome)


def _show(rows: Sequence[dict[str, Any]], columns: Columns, as_json: bool) -> None:
    """Rows as JSON lines, or as a table."""
    if as_json:
        for row in rows:
            echo_json(row)
        return
    cells = [list(columns), *([_text(cell(row)) for cell in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return "".join(letter if letter.isprintable() else "?" for letter in text)  # a terminal obeys some of the others


# --- fleet ---


@fleet.command("list", epilog="Example: fedtiny fleet list --state state/coordinator")
@_ledger_options
def fleet_list(folder: Path, as_json: bool) -> None:
    """Show every device: how it stands, where it is, what became of its updates."""
    from fedtiny.ledger.views import fleet_view

    with _open(folder) as ledger:
        rows = fleet_view(ledger)
    columns: Columns = {
        "DEVICE": lambda row: row["device"],
        "STANDING": lambda row: row["standing"],
        "LAST SEEN": lambda row: row["last_seen_utc"],
        "PHASE": lambda row: "offline" if row["state"] == "offline" else row["phase"],
        "REVISION": lambda row: row["revision"],
        "HEAD": lambda row: row["head"],
        "USED": lambda row: row["counts"].get("used", 0),
        "LEFT OUT": lambda row: row["counts"].get("left out", 0),
        "REFUSED": lambda row: row["counts"].get("refused", 0),
        "REASON": lambda row: row["reason"] or "",
    }
    _show(rows, columns, as_json)


@fleet.command("show", epilog="Example: fedtiny fleet show pump-07")
@click.argument("device")
@_ledger_options
def fleet_show(device: str, folder: Path, as_json: bool) -> None:
    """Show one device: standing, newest status, its last updates with their fate and the reason."""
    from fedtiny.ledger.views import device_view

    with _open(folder) as ledger:
        view = device_view(ledger, device)
    if as_json:
        echo_json(view)
        return
    updates, status, counts = view.pop("updates"), view.pop("status"), view.pop("counts")
    counted = ", ".join(f"{count} {fate}" for fate, count in counts.items()) or "none"
    told = {key: value for key, value in status.items() if key not in view and value not in (None, "", {})}
    for name, value in {**view, "updates": counted, **told}.items():
        click.echo(f"{name:16} {_text(value)}")
    if updates:
        click.echo()
    columns: Columns = {
        "RECEIVED": lambda row: row["received_utc"],
        "ROUND": lambda row: row["round"] or row["round_claimed"],
        "BASE": lambda row: row["base_revision"],
        "KIND": lambda row: row["kind"],
        "EXAMPLES": lambda row: row["num_examples"],
        "LOSS BEFORE": lambda row: row["loss_before"],
        "AFTER": lambda row: row["loss_after"],
        "BYTES": lambda row: row["bytes"],
        "FATE": lambda row: row["fate"],
        "REASON": lambda row: row["reason"] or "",
    }
    if updates:
        _show(updates, columns, as_json=False)


@fleet.command("forget", epilog="Example: fedtiny fleet forget pump-07")
@click.argument("device")
@_order_options
def fleet_forget(device: str, folder: Path, give: Give) -> None:
    """Take out of the fleet's model what it holds of a device.

    Statistics (strategy ridge) are taken out exactly. Deltas that earlier heads were made of cannot be.
    """
    from fedtiny.ledger.views import device_view
    from fedtiny.orders import Forget

    with _open(folder) as ledger:
        device_view(ledger, device)  # which says so where there is none
    give(Forget(device=device))


@fleet.command("block", epilog="Example: fedtiny fleet block pump-07 --reason 'sensor fell off'")
@click.argument("device")
@click.option("--reason", help="Shown with the device.")
@_order_options
def fleet_block(device: str, reason: str | None, folder: Path, give: Give) -> None:
    """Refuse a device's updates from now on."""
    from fedtiny.orders import Block
    from fedtiny.protocol.topics import check_id

    give(Block(device=check_id(device, "device"), reason=reason))


@fleet.command("unblock", epilog="Example: fedtiny fleet unblock pump-07 --reason 'sensor mounted anew'")
@click.argument("device")
@click.option("--reason", help="Shown with the device.")
@_order_options
def fleet_unblock(device: str, reason: str | None, folder: Path, give: Give) -> None:
    """Take the updates of a blocked or quarantined device again; its strikes are forgotten."""
    from fedtiny.ledger.views import device_view
    from fedtiny.orders import Unblock

    with _open(folder) as ledger:
        if device_view(ledger, device)["standing"] == "active":
            raise click.ClickException(f"device {device!r} is neither blocked nor quarantined")
    give(Unblock(device=device, reason=reason))


# --- release ---


@release.command("publish", epilog="Example: fedtiny release publish release.tflite")
@click.argument("release_file", type=FILE, metavar="FILE")
@_order_options
def release_publish(release_file: Path, folder: Path, give: Give) -> None:
    """Publish a release to the fleet in place of the current one."""
    from fedtiny.model.artifact import Release
    from fedtiny.orders import PublishRelease

    data = Release.open(release_file).data
    with _open(folder) as ledger:
        order = PublishRelease(release=ledger.put_object(data))
    give(order)


@release.command("list", epilog="Example: fedtiny release list")
@_ledger_options
def release_list(folder: Path, as_json: bool) -> None:
    """Show every release there was, and which one is current."""
    from fedtiny.ledger.views import releases_view

    with _open(folder) as ledger:
        rows = releases_view(ledger)
    columns: Columns = {
        "": lambda row: "*" if row["current"] else "",
        "RELEASE": lambda row: row["release_id"][:ID_SHOWN],
        "PUBLISHED": lambda row: row["published_utc"],
        "REVISION": lambda row: row["revision"],
        "WHY": lambda row: row["why"],
    }
    _show(rows, columns, as_json)


@release.command("rollback", epilog="Example: fedtiny release rollback 3f9a")
@click.argument("release_id", required=False, metavar="[ID]")
@_order_options
def release_rollback(release_id: str | None, folder: Path, give: Give) -> None:
    """Publish an older release again, with its newest head: the one whose id begins with ID, or the one before."""
    from fedtiny.orders import RollbackRelease

    with _open(folder) as ledger:
        found = None if release_id is None else ledger.known_release(release_id)
    give(RollbackRelease(release_id=found))


# --- head ---


@head.command("list", epilog="Example: fedtiny head list")
@click.option("--release", "release_id", help="Beginning of a release's id.  [default: the current one]")
@_ledger_options
def head_list(release_id: str | None, folder: Path, as_json: bool) -> None:
    """Show every revision of a release's head, newest first: what it was made of, and how good that was."""
    from fedtiny.ledger.views import heads_view

    with _open(folder) as ledger:
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
    _show(rows, columns, as_json)


def _current(ledger: "Ledger") -> str:
    row = ledger.current_release()
    if row is None:
        raise click.ClickException("no release was published yet")
    return row.release_id


def _known_revision(folder: Path, revision: int) -> None:
    with _open(folder) as ledger:
        current = _current(ledger)
        newest = ledger.newest_revision(current)
        if ledger.revision(current, revision) is None:
            has = f"its newest is {newest.revision}" if newest else "it has none"
            raise click.ClickException(f"release {current[:ID_SHOWN]} has no revision {revision}; {has}")


@head.command("rollback", epilog="Example: fedtiny head rollback 4")
@click.argument("revision", type=click.IntRange(0))
@_order_options
def head_rollback(revision: int, folder: Path, give: Give) -> None:
    """Bring an older revision of the head back, as a new revision."""
    from fedtiny.orders import RollbackHead

    _known_revision(folder, revision)
    give(RollbackHead(revision=revision))


@head.command("pin", epilog="Example: fedtiny head pin 4")
@click.argument("revision", type=click.IntRange(0), required=False)
@_order_options
def head_pin(revision: int | None, folder: Path, give: Give) -> None:
    """Keep a revision of the head, or the newest one: no round opens until it is unpinned."""
    from fedtiny.orders import PinHead

    if revision is not None:
        _known_revision(folder, revision)
    give(PinHead(revision=revision))


@head.command("unpin", epilog="Example: fedtiny head unpin")
@_order_options
def head_unpin(folder: Path, give: Give) -> None:
    """Let rounds make new heads again."""
    from fedtiny.orders import UnpinHead

    give(UnpinHead())
