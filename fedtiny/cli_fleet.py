"""``fedtiny fleet``: the devices, as a coordinator's ledger has them."""

from pathlib import Path

import click

from fedtiny.cli_base import Group, echo_json
from fedtiny.cli_ledger import Columns, Give, ledger_options, open_ledger, order_options, show, text


@click.group(cls=Group)
def fleet() -> None:
    """The devices of a fleet."""


@fleet.command("list", epilog="Example: fedtiny fleet list --state state/coordinator")
@ledger_options
def fleet_list(folder: Path, as_json: bool) -> None:
    """Show every device: how it stands, where it is, what became of its updates."""
    from fedtiny.ledger.views import fleet_view

    with open_ledger(folder) as ledger:
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
    show(rows, columns, as_json)


@fleet.command("show", epilog="Example: fedtiny fleet show pump-07")
@click.argument("device")
@ledger_options
def fleetshow(device: str, folder: Path, as_json: bool) -> None:
    """Show one device: standing, newest status, its last updates with their fate and the reason."""
    from fedtiny.ledger.views import device_view

    with open_ledger(folder) as ledger:
        view = device_view(ledger, device)
    if as_json:
        echo_json(view)
        return
    updates, status, counts = view.pop("updates"), view.pop("status"), view.pop("counts")
    counted = ", ".join(f"{count} {fate}" for fate, count in counts.items()) or "none"
    told = {key: value for key, value in status.items() if key not in view and value not in (None, "", {})}
    for name, value in {**view, "updates": counted, **told}.items():
        click.echo(f"{name:16} {text(value)}")
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
        show(updates, columns, as_json=False)


@fleet.command("forget", epilog="Example: fedtiny fleet forget pump-07")
@click.argument("device")
@order_options
def fleet_forget(device: str, folder: Path, give: Give) -> None:
    """Take out of the fleet's model what it holds of a device.

    Statistics (strategy ridge) are taken out exactly. Deltas that earlier heads were made of cannot be.
    """
    from fedtiny.ledger.views import device_view
    from fedtiny.orders import Forget

    with open_ledger(folder) as ledger:
        device_view(ledger, device)  # which says so where there is none
    give(Forget(device=device))


@fleet.command("block", epilog="Example: fedtiny fleet block pump-07 --reason 'sensor fell off'")
@click.argument("device")
@click.option("--reason", help="Shown with the device.")
@order_options
def fleet_block(device: str, reason: str | None, folder: Path, give: Give) -> None:
    """Refuse a device's updates from now on."""
    from fedtiny.orders import Block
    from fedtiny.protocol.topics import check_id

    give(Block(device=check_id(device, "device"), reason=reason))


@fleet.command("unblock", epilog="Example: fedtiny fleet unblock pump-07 --reason 'sensor mounted anew'")
@click.argument("device")
@click.option("--reason", help="Shown with the device.")
@order_options
def fleet_unblock(device: str, reason: str | None, folder: Path, give: Give) -> None:
    """Take the updates of a blocked or quarantined device again; its strikes are forgotten."""
    from fedtiny.ledger.views import device_view
    from fedtiny.orders import Unblock

    with open_ledger(folder) as ledger:
        if device_view(ledger, device)["standing"] == "active":
            raise click.ClickException(f"device {device!r} is neither blocked nor quarantined")
    give(Unblock(device=device, reason=reason))
