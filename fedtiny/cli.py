"""The command line: parse, call one function, print. Heavy imports stay inside the commands."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fedtiny import __version__
from fedtiny.cli_base import FILE, Group, echo_json, load
from fedtiny.cli_firmware import export, head_image
from fedtiny.cli_heads import head, release
from fedtiny.cli_provisioning import fleet
from fedtiny.cli_report import report

SEED = click.IntRange(0, 2**32 - 1)


@click.group(
    cls=Group,
    epilog="Start with: fedtiny demo",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="fedtiny")
def main() -> None:
    """Federated condition monitoring for rotating machines: int8 on the device, deltas over MQTT."""


def _config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--port", "broker__port", type=int, help="Port of the MQTT broker."),
        click.option("--host", "broker__host", help="Host of the MQTT broker."),
        click.option("--fleet", help="Id of the fleet."),
        click.option("--config", "config_file", type=FILE, help="Configuration; flags go over it."),
    ):
        command = option(command)
    return command


def _spare_memory() -> None:
    """Before numpy comes in: no threads of its BLAS, and nothing that an agent never uses."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from fedtiny.late import spare_imports

    spare_imports()


def _stop_on_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


@main.command(epilog="Example: fedtiny train --data femto.npz --out release.tflite")
@click.option("--data", type=FILE, help="Fleet data: a file or folder. The simulator where none is given.")
@click.option("--out", type=FILE, default=Path("release.tflite"), show_default=True, help="The release.")
@click.option("--seed", "train__seed", type=int, help="Of the training, and of the simulator.")
@click.option("--epochs", "train__epochs", type=int, help="At most.")
@click.option("--config", "config_file", type=FILE, help="Configuration; flags go over it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line an epoch, then one with the release.")
def train(data: Path | None, out: Path, config_file: Path | None, as_json: bool, **overrides: Any) -> None:
    """Train an autoencoder on the base machines and make a release of it (needs the [train] extra)."""
    config = load(config_file, **overrides)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from fedtiny.signal.fleet import open_fleet

    fleet = open_fleet(data, seed=config.train.seed)
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        raise click.ClickException("training needs TensorFlow: pip install 'fedtiny[train]'") from None
    from fedtiny.store import atomic_write
    from fedtiny.trainer.train import train_release

    def progress(epoch: int, loss: float, validation: float) -> None:
        if as_json:
            echo_json({"epoch": epoch, "loss": loss, "validation_loss": validation})
        elif sys.stderr.isatty():
            click.echo(f"\repoch {epoch}: loss {loss:.4f}, validation {validation:.4f} ", err=True, nl=False)

    training = train_release(fleet, config, progress)
    atomic_write(out, training.release)
    gate = training.manifest.gate
    if as_json:
        echo_json({"release": str(out), "size_bytes": len(training.release), "gate": gate.model_dump()})
        return
    if sys.stderr.isatty():
        click.echo(err=True)
    aucs = f", AUC {gate.auc_float:.4f} float, {gate.auc_int8:.4f} int8" if gate.auc_int8 is not None else ""
    click.echo(
        f"{out}: {len(training.release):,} bytes, {len(training.trained.losses)} epochs; gate passed: rank "
        f"correlation of int8 and float {gate.rank_correlation:.4f} on {gate.windows} held-out windows{aucs}"
    )


@main.group()
def edge() -> None:
    """The agent on a device."""


@edge.command("init", epilog="Example: fedtiny edge init --device pump-07 --host broker.example --source iio")
@click.option("--out", type=FILE, default=Path("fedtiny.toml"), show_default=True, help="The file to write.")
@click.option("--device", required=True, help="Id of this device.")
@click.option("--fleet", help="Id of the fleet.")
@click.option("--host", help="Host of the MQTT broker.")
@click.option("--port", type=int, help="Port of the MQTT broker.")
@click.option("--source", default="replay", show_default=True, help="replay, folder, iio, mqtt, serial, stdin, rows.")
def edge_init(out: Path, device: str, fleet: str | None, host: str | None, port: int | None, source: str) -> None:
    """Write a fedtiny.toml with every setting of a device explained."""
    from fedtiny.scaffold import write_config

    write_config(out, {"device": device, "fleet": fleet, "broker.host": host, "broker.port": port}, source)
    click.echo(f"{out}: written; look through [source], then: fedtiny edge check --config {out}")


@edge.command("check", epilog="Example: fedtiny edge check --config fedtiny.toml")
@_config_options
@click.option("--device", help="Id of this device.")
@click.option("--state", type=FILE, help="Folder for what must survive a restart.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a check.")
def edge_check(config_file: Path | None, as_json: bool, **overrides: Any) -> None:
    """Say whether the agent could start here: state folder, interpreter, source, broker."""
    config = load(config_file, **overrides)
    from fedtiny.preflight import preflight

    wrong = 0
    for one in preflight(config):
        wrong += not one.fine
        if as_json:
            echo_json({"what": one.what, "fine": one.fine, "text": one.text})
        else:
            click.echo(f"{'ok   ' if one.fine else 'WRONG'} {one.what:12} {one.text}")
    if wrong:
        raise click.ClickException(f"{wrong} of the checks failed")


@edge.command("run", epilog="Example: fedtiny edge run --config fedtiny.toml")
@_config_options
@click.option("--device", help="Id of this device.")
@click.option("--data", "source__data", type=FILE, help="Fleet data to replay. The simulator where none is given.")
@click.option("--machine", "source__machine", help="Machine of the data; the device's id where it is not given.")
@click.option("--seed", "source__seed", type=SEED, help="Of the simulator.")
@click.option("--speed", "source__speed", type=click.FloatRange(0), help="Of a replay; 1: real time, 0: at once.")
@click.option("--skip", "source__skip", type=click.IntRange(0), help="Recordings of a replay to leave out.")
@click.option("--state", type=FILE, help="Folder for what must survive a restart.")
@click.option("--runtime", "edge__runtime", type=click.Choice(["auto", "litert", "tflite"]), help="Interpreter.")
@click.option("--learn-windows", "edge__learn_windows", type=int, help="First windows, taken as normal.")
@click.option("--hold-for-revision", type=click.IntRange(0), default=0, help="Replay: wait for it after learning.")
@click.option("--scores", type=FILE, help="CSV to append every window's score to.")
@click.option("--exit-at-end", is_flag=True, help="End with the source instead of serving on.")
@click.option("--metrics-port", "metrics__port", type=int, help="Serve figures for Prometheus on it.")
def edge_run(
    config_file: Path | None, hold_for_revision: int, scores: Path | None, exit_at_end: bool, **overrides: Any
) -> None:
    """Score a machine's vibration, take part in the fleet's rounds, raise alarms.

    Samples come from [source] of the configuration: a sensor, a stream, a folder, or data to replay. A broker that is
    away is tried again and again; what must survive a restart is in --state.
    """
    _spare_memory()
    config = load(config_file, **overrides)
    from fedtiny.edge import Run, run_agent
    from fedtiny.sources import open_source

    if config.device is None:
        raise click.UsageError("give this device an id: --device, or device = ... in the configuration")
    run_agent(config, open_source(config), Run(hold_for_revision, scores, exit_at_end), _stop_on_signals())


@edge.command("tell", epilog="Example: fedtiny edge tell pump-07 acknowledge")
@click.argument("device")
@click.argument("action", type=click.Choice(["acknowledge", "re-baseline"]))
@_config_options
def edge_tell(device: str, action: str, config_file: Path | None, **overrides: Any) -> None:
    """Tell a device that its alarms were seen, or to learn anew what is normal after maintenance.

    A device that is away, and was there before, finds the message when it comes back.
    """
    config = load(config_file, **overrides)
    from fedtiny.tell import tell

    tell(config, device, action)
    click.echo(f"{device}: {action}, handed to the broker")


@edge.command("score", epilog="Example: fedtiny edge score recordings/ --release release.tflite --json")
@click.argument("recordings", type=FILE)
@click.option("--release", "release_file", type=FILE, help="The release; the state folder's where none is given.")
@click.option("--state", type=FILE, help="State folder of a device whose learning is used.")
@click.option("--learn-windows", "edge__learn_windows", type=int, help="First windows, taken as normal.")
@click.option("--config", "config_file", type=FILE, help="Configuration; flags go over it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a window.")
def edge_score(
    recordings: Path, release_file: Path | None, config_file: Path | None, as_json: bool, **overrides: Any
) -> None:
    """Score a file or folder offline, without a network."""
    _spare_memory()
    config = load(config_file, **overrides)
    from fedtiny.device import MODEL
    from fedtiny.model.artifact import Release
    from fedtiny.offline import score_offline
    from fedtiny.signal.fleet import open_recordings

    if release_file is None and config.state is None:
        raise click.UsageError("give --release, or --state with the folder of a device")
    release = Release.open(release_file or config.state / MODEL)
    manifest = release.manifest
    found = open_recordings(recordings, channels=manifest.channels, sample_rate_hz=manifest.sample_rate_hz)
    if not as_json:
        click.echo("recording                        window      score  threshold")
    for row in score_offline(config, release, found):
        for window, finding in enumerate(row.findings):
            scored = finding.threshold is not None
            if as_json:
                echo_json(
                    {
                        "recording": row.recording.name,
                        "window": window,
                        "verdict": finding.verdict,
                        "score": finding.score if scored else None,
                        "threshold": finding.threshold,
                        "anomalous": finding.verdict == "anomalous" if scored else None,
                    }
                )
            elif finding.threshold is None:
                click.echo(f"{row.recording.name:32} {window:6}   {finding.verdict}")
            else:
                mark = "  ANOMALOUS" if finding.verdict == "anomalous" else ""
                click.echo(f"{row.recording.name:32} {window:6} {finding.score:10.3f} {finding.threshold:10.3f}{mark}")


@main.command(epilog="Example: fedtiny coordinator --release release.tflite --fleet plant --devices 8")
@_config_options
@click.option("--release", "release_file", type=FILE, help="A release to publish, where the ledger does not know it.")
@click.option("--state", type=FILE, help="Folder of the ledger.")
@click.option("--strategy", "coordinator__strategy", help="Aggregation: fedavg, ridge, median, trimmed-mean, ...")
@click.option("--rounds", "coordinator__rounds", type=int, help="How many on the same data; 0 for no end.")
@click.option("--quorum", "coordinator__quorum", type=int, help="Fewest updates that make a round.")
@click.option("--devices", "coordinator__devices", type=int, help="Fewest ready devices to open a round.")
@click.option("--deadline", "coordinator__deadline_s", type=float, help="Longest duration of a round, seconds.")
@click.option("--metrics-port", "metrics__port", type=int, help="Serve figures for Prometheus on it.")
def coordinator(config_file: Path | None, release_file: Path | None, **overrides: Any) -> None:
    """Publish a release, run rounds, aggregate, publish better heads.

    Its memory is the ledger in --state. Operators talk to it with fedtiny fleet, release and head.
    """
    config = load(config_file, **overrides)
    from fedtiny.coordinator import run_coordinator

    run_coordinator(config, release_file, _stop_on_signals())


@main.command(epilog="Example: fedtiny broker --port 1883 --state broker-state")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free one.  [default: 1883, or the fleet's]")
@click.option("--state", type=FILE, default=Path("broker-state"), show_default=True, help="Durable folder.")
@click.option("--fleet-folder", type=FILE, help="Of fedtiny fleet init: TLS, and rights by certificate.")
def broker(host: str, port: int | None, state: Path, fleet_folder: Path | None) -> None:
    """Run the embedded MQTT broker (needs the [broker] extra)."""
    from fedtiny.broker import run_broker

    run_broker(host, port, state, fleet_folder)


@main.command(epilog="Example: fedtiny monitor --fleet plant --host broker.example")
@_config_options
@click.option("--json", "as_json", is_flag=True, help="One JSON line an event.")
@click.option("--once", is_flag=True, help="Show the retained state and end.")
@click.option("--timeout", type=float, help="End after so many seconds.")
def monitor(config_file: Path | None, as_json: bool, once: bool, timeout: float | None, **overrides: Any) -> None:
    """Watch a fleet: devices, rounds, scores, alarms; acknowledge, re-baseline and roll back by a key.

    A full screen on a terminal (? shows the keys), plain lines in a pipe. It connects again by itself.
    """
    config = load(config_file, **overrides)
    from fedtiny.monitor import run_monitor

    run_monitor(config, as_json=as_json, once=once, timeout_s=timeout)


@main.command(epilog="Example: fedtiny inspect release.tflite")
@click.argument("release_file", type=FILE, metavar="RELEASE")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def inspect(release_file: Path, as_json: bool) -> None:
    """Show what is in a release: layers, quantisation, trainable part, manifest, gate."""
    from fedtiny.inspect import describe, render
    from fedtiny.model.artifact import Release

    description = describe(Release.open(release_file))
    click.echo(json.dumps(description, indent=2) if as_json else render(description))


@main.command(epilog="Example: fedtiny demo --data femto.npz --json report.json")
@click.option("--data", type=FILE, help="Fleet data: a file or folder. The simulator where none is given.")
@click.option("--state", type=FILE, default=Path("fedtiny-demo"), show_default=True, help="Folder for the run.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of training and simulator.")
@click.option("--strategy", "coordinator__strategy", help="Aggregation: fedavg, ridge, median, trimmed-mean, ...")
@click.option("--rounds", "coordinator__rounds", type=click.IntRange(1), help="How many.  [default: 5; ridge: 1]")
@click.option("--runtime", "edge__runtime", type=click.Choice(["auto", "litert", "tflite"]), help="Interpreter.")
@click.option("--config", "config_file", type=FILE, help="Configuration; flags go over it.")
@click.option("--json", "json_file", type=FILE, help="File for the run's figures.")
def demo(
    data: Path | None,
    state: Path,
    seed: int,
    config_file: Path | None,
    json_file: Path | None,
    **overrides: Any,
) -> None:
    """Run a whole fleet on this machine, real processes over a real broker, with a report at the end."""
    if overrides["coordinator__rounds"] is None and overrides["coordinator__strategy"] == "ridge":
        overrides["coordinator__rounds"] = 1
    config = load(config_file, train__seed=seed, **overrides)
    from fedtiny.demo import run_demo

    run_demo(config, data, state, json_file, _stop_on_signals())


head.add_command(head_image)
for command in (fleet, release, head, report, export):
    main.add_command(command)

if __name__ == "__main__":
    main()
