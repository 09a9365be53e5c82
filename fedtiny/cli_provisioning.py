"""``fedtiny fleet init | add | operator | renew | revoke``: who belongs to a fleet, by certificate."""

from pathlib import Path

import click

from fedtiny.cli_base import FILE
from fedtiny.cli_fleet import fleet

__all__ = ["fleet"]

IN = click.option("--in", "folder", type=FILE, default=Path("fleet"), show_default=True, help="The fleet's folder.")
YEARS = click.option(
    "--years", type=click.FloatRange(0, 30, min_open=True), default=10.0, show_default=True, help="It is good for."
)


@fleet.command("init", epilog="Example: fedtiny fleet init plant --host broker.plant.example")
@click.argument("name")
@click.option("--host", required=True, help="Name or address under which everybody reaches the broker.")
@click.option("--port", type=click.IntRange(1, 65535), default=8883, show_default=True, help="For devices.")
@click.option("--staff-port", type=click.IntRange(1, 65535), default=8884, show_default=True, help="For the others.")
@click.option("--embedded", is_flag=True, help="For the embedded broker, which has one port for all.")
@click.option("--out", type=FILE, default=Path("fleet"), show_default=True, help="The folder to make.")
@YEARS
def init(name: str, host: str, port: int, staff_port: int, embedded: bool, out: Path, years: float) -> None:
    """Make a fleet's authorities, and the folders of its broker, coordinator and operator.

    The folder can let anybody into the fleet: keep it on a machine that is not on the network.
    """
    from fedtiny.provisioning.fleet import init_fleet

    init_fleet(out, name, host, port=port, staff_port=port if embedded else staff_port, years=years)
    mosquitto = "certificate, access lists, mosquitto.conf"
    broker = f"fedtiny broker --host 0.0.0.0 --fleet-folder {out}" if embedded else mosquitto
    click.echo(
        f"{out}/ca           both certificate authorities; never leaves this machine\n"
        f"{out}/broker       to the broker's machine: {broker}\n"
        f"{out}/coordinator  to the coordinator's: fedtiny coordinator --config fedtiny.toml --release FILE\n"
        f"{out}/operator     to an operator's: fedtiny monitor --config fedtiny.toml\n"
        f"Next: fedtiny fleet add DEVICE --in {out}"
    )


@fleet.command("add", epilog="Example: fedtiny fleet add pump-07 --source iio")
@click.argument("device")
@IN
@click.option("--source", default="replay", show_default=True, help="replay, folder, iio, mqtt, serial, stdin, rows.")
@YEARS
def add(device: str, folder: Path, source: str, years: float) -> None:
    """Make the one folder that a new device needs: certificate, key, pinned keys, fedtiny.toml."""
    from fedtiny.provisioning.fleet import add_device

    home = add_device(folder, device, source=source, years=years)
    click.echo(f"{home}  to the device; look through [source] there, then: fedtiny edge check --config fedtiny.toml")


@fleet.command("operator", epilog="Example: fedtiny fleet operator night-shift")
@click.argument("name")
@IN
@YEARS
def operator(name: str, folder: Path, years: float) -> None:
    """Make the folder of one more operator; coordinator and devices that are there do not know his key yet."""
    from fedtiny.provisioning.fleet import add_operator

    home = add_operator(folder, name, years=years)
    click.echo(
        f"{home}  to the operator; the key under [trust] operator to the coordinator and each device that is there"
    )


@fleet.command("renew", epilog="Example: fedtiny fleet renew pump-07")
@click.argument("name")
@IN
@YEARS
def renew(name: str, folder: Path, years: float) -> None:
    """Make a new certificate for the key that a device, an operator, the coordinator or the broker has."""
    from fedtiny.provisioning.fleet import renew as renew_certificate

    click.echo(f"{renew_certificate(folder, name, years=years)}  takes the place of the old one")


@fleet.command("revoke", epilog="Example: fedtiny fleet revoke pump-07")
@click.argument("name")
@IN
def revoke(name: str, folder: Path) -> None:
    """Let the certificates of a device or an operator count no more."""
    from fedtiny.provisioning.fleet import revoke as revoke_certificate

    revoke_certificate(folder, name)
    click.echo(
        f"{name} is out. An embedded broker on this folder notices; to Mosquitto bring {folder}/broker and restart it. "
        f"What the fleet has learned from it: fedtiny fleet forget {name}"
    )
