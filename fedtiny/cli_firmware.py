"""``fedtiny export`` and ``fedtiny head image``: a release, and heads for it, on a microcontroller."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedtiny.cli_base import FILE, Command, echo_json, load
from fedtiny.errors import ReleaseError

if TYPE_CHECKING:
    from fedtiny.model.artifact import Release
    from fedtiny.model.head import Head
    from fedtiny.model.watch import Watch
    from firmware_export.rounding import Profile

TARGETS = ("c", "arduino", "platformio", "zephyr", "esp-idf", "tflm")
PROFILES = ("tflite", "tflm", "xnn")


def _shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--point", help="Which of the machine's operating points, where it has several."),
        click.option("--machine", type=FILE, help="Folder of an agent's state: what it has learned of this machine."),
        click.option("--message", type=FILE, help="The fleet's head: what came on global/head, as a file."),
        click.option(
            "--number",
            type=click.Choice(["float", "fixed"]),
            default="float",
            show_default=True,
            help="Features and score in float32, or in fixed point.",
        ),
        click.option(
            "--profile",
            type=click.Choice(PROFILES),
            help="Whose rounding the int8 network follows, to the bit.  [default: tflite; tflm for that target]",
        ),
        click.option("--config", "config_file", type=FILE, help="Configuration: [edge] of the watch, [trust]."),
    ):
        command = option(command)
    return command


@click.command(cls=Command, epilog="Example: fedtiny export release.tflite --target c --out firmware")
@click.argument("model", type=FILE, metavar="RELEASE")
@click.option("--target", type=click.Choice(TARGETS), default="c", show_default=True, help="The layout.")
@click.option("--out", type=FILE, required=True, help="A folder that does not exist yet, or is empty.")
@click.option("--name", default="fedtiny", show_default=True, help="Prefix in C; several models need several.")
@click.option("--lsb", type=float, help="Samples are int16: the unit of the training data that one count stands for.")
@click.option("--learn-windows", "edge__learn_windows", type=int, help="First windows, taken as normal on the MCU.")
@_shared_options
@click.option("--json", "as_json", is_flag=True, help="What was written, and its sizes, as JSON.")
def export(
    model: Path,
    target: str,
    out: Path,
    machine: Path | None,
    point: str | None,
    message: Path | None,
    config_file: Path | None,
    as_json: bool,
    **rest: Any,
) -> None:
    """Write a release as C99 for a microcontroller: features, int8 network, score, alarm, heads at run time.

    Any other int8 .tflite of dense layers is exported as its network alone.
    """
    if point is not None and machine is None:
        raise click.UsageError("--point chooses an operating point of --machine, which is not given")
    config = load(config_file, edge__learn_windows=rest.pop("edge__learn_windows"))
    from fedtiny.device import rules_of
    from fedtiny.model.artifact import Release
    from firmware_export.export import Options, export_network, export_release, write_folder

    options = Options(rules=rules_of(config.edge), target=target, **rest)
    try:
        release = Release.open(model)
    except ReleaseError:
        if message is not None or machine is not None or not _foreign(model):
            raise
        exported = export_network(model.read_bytes(), str(model), options)
    else:
        head, revision, watch = _head_and_watch(config, release, message, machine)
        exported = export_release(release, options, head=head, revision=revision, watch=watch, point=point)
    write_folder(out, exported.files)
    if as_json:
        echo_json({"out": str(out), "target": target, **exported.describe()})
    else:
        click.echo(exported.summary(out))


def _foreign(model: Path) -> bool:
    """Whether a file is a TFLite model without our manifest, which is no mistake here."""
    from fedtiny.model.artifact import MANIFEST

    data = model.read_bytes()
    return data[4:8] == b"TFL3" and MANIFEST.encode() not in data


@click.command(
    "image", cls=Command, epilog="Example: fedtiny head image --release R --message head.cbor --out head.bin"
)
@click.option("--release", "release_file", type=FILE, required=True, help="The release that the firmware was made of.")
@click.option("--out", type=FILE, required=True, help="The image.")
@click.option("--key", type=FILE, help="Ed25519 key, PEM, to sign it with.")
@_shared_options
def head_image(
    release_file: Path,
    out: Path,
    key: Path | None,
    profile: "Profile | None",
    number: str,
    message: Path | None,
    machine: Path | None,
    point: str | None,
    config_file: Path | None,
) -> None:
    """Make the image of a head for firmware that is running: the fleet's newest, or the one of a machine's agent.

    A gateway saves the fleet's head with any MQTT client: mosquitto_sub -C 1 -N -t fedtiny/v1/FLEET/global/head >
    head.cbor. Where [trust] pins the coordinator's key, its signature is checked.
    """
    if message is None and machine is None:
        raise click.UsageError("give --message, or --machine with the folder of an agent's state")
    if point is not None and machine is None:
        raise click.UsageError("--point chooses an operating point of --machine, which is not given")
    config = load(config_file)
    from fedtiny.model.artifact import Release
    from fedtiny.protocol.signing import load_key
    from fedtiny.store import atomic_write
    from firmware_export.image import write_image
    from firmware_export.machine import machine_bytes, machine_of

    release = Release.open(release_file)
    head, revision, watch = _head_and_watch(config, release, message, machine)
    fixed = number == "fixed"
    learned = b""
    if watch is not None:
        learned = machine_bytes(machine_of(watch, point), fixed_point=fixed)
    signer = None if key is None else load_key(key)
    image = write_image(
        release, head or release.head, revision, profile or "tflite", fixed_point=fixed, machine=learned, key=signer
    )
    atomic_write(out, image)
    click.echo(f"{out}: revision {revision} of release {release.id[:12]}, {len(image):,} bytes")


def _head_and_watch(
    config: Any, release: "Release", message: Path | None, machine: Path | None
) -> "tuple[Head | None, int, Watch | None]":
    """(head or None for the release's own, its revision, what an agent has learned or None)."""
    if message is not None and machine is not None:
        raise click.UsageError("--message and --machine exclude each other: a machine's agent has its own head")
    if message is not None:
        from firmware_export.image import head_from_message

        payload = message.read_bytes()
        if not config.trust.coordinator:
            click.echo(f"{message}: no signature was checked: [trust] coordinator is not set", err=True)
        head, revision = head_from_message(payload, release, fleet=config.fleet, keys=config.trust.coordinator)
        return head, revision, None
    if machine is None:
        return None, 0, None
    from fedtiny.device import STORE, Device
    from fedtiny.store import locked

    if not (machine / STORE).exists():
        raise click.ClickException(f"{machine}: no agent's state is there, expected a folder with {STORE}")
    with locked(machine):
        device = Device(config, machine, config.device or "export")
        device.close()
    if device.watch is None or device.network is None:
        raise click.ClickException(f"{machine}: no agent has learned anything there yet")
    if device.network.release.id != release.id:
        raise click.ClickException(
            f"{machine}: its agent runs release {device.network.release.id[:12]}, not {release.id[:12]}"
        )
    revision = device.in_use.revision if device.in_use else 0
    return device.network.head, revision, device.watch
