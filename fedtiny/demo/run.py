"""A whole fleet on this machine: train, gate, broker, coordinator, agents as processes, report."""

import json
import platform
import threading
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fedtiny.broker import EmbeddedBroker
from fedtiny.config import Broker, Config
from fedtiny.demo.figures import evaluate
from fedtiny.demo.fleet import Observed, run_fleet
from fedtiny.demo.processes import data_arguments, start, train, wait_for
from fedtiny.demo.screen import Screen, print_summary
from fedtiny.errors import DataError
from fedtiny.ledger import Ledger
from fedtiny.model.artifact import Release
from fedtiny.report import Span, gather, render_report
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.fleet import open_fleet
from fedtiny.store import atomic_write


def run_demo(config: Config, data: Path | None, state: Path, json_file: Path | None, stop: threading.Event) -> None:
    """Run the demo in a new folder below ``state``; print what happens; write report.html and the figures."""
    screen, began = Screen(), datetime.now(UTC)
    fleet = open_fleet(data, seed=config.train.seed)
    clients = [name for name in fleet.machines if name not in fleet.base]
    if not fleet.base:
        raise DataError(f"{data}: no base machines to train the release on")
    folder = state / began.strftime("run-%Y%m%d-%H%M%S-%f")[:-3]
    folder.mkdir(parents=True)
    source = f"simulator, seed {config.train.seed}" if data is None else str(data)
    screen.say(f"{source}: {len(fleet.base)} base machines, {len(clients)} devices; state in {folder}")
    with ExitStack() as stack:
        training = train(config, data, folder, screen, stop)
        release = Release.open(folder / "release.tflite")
        machines = {name: machine_features(fleet, name, release.features) for name in clients}
        yardstick = start(
            stack,
            "fedtiny.trainer.central",
            data_arguments(data, "--release", folder / "release.tflite"),
            folder,
            "central",
            config_file=folder / "demo.toml",
            out=folder / "central.json",
        )
        broker = stack.enter_context(EmbeddedBroker(folder / "broker"))
        screen.say(f"broker on mqtt://127.0.0.1:{broker.port}")
        live = config.model_copy(update={"broker": Broker(port=broker.port)})
        observed = run_fleet(live, fleet, machines, data, folder, screen, stack, stop)
        with screen.busy("central training, the yardstick"):
            wait_for(yardstick, "central training", folder / "central.log", stop)
    central = json.loads((folder / "central.json").read_text())
    judged = evaluate(config, release, fleet, machines, observed, central, folder)
    judged["training"] |= training
    summary = judged["summary"] | {"wall_s": time.monotonic() - screen.started}
    report = _recorded(folder / "coordinator", began, observed)
    report |= {"title": "fedtiny demo", "data": source, "strategy": config.coordinator.strategy}
    report["versions"] |= release.manifest.made_with | {"python": platform.python_version()}
    report["evaluation"] = judged | {"summary": summary}
    atomic_write(folder / "report.html", render_report(report).encode())
    atomic_write(folder / "report.json", json.dumps(summary, indent=2).encode())
    if json_file is not None:
        atomic_write(json_file, json.dumps(summary, indent=2).encode())
    print_summary(screen, summary)
    screen.say(f"report: {folder / 'report.html'}")


def _recorded(coordinator: Path, began: datetime, observed: Observed) -> dict[str, Any]:
    """What the coordinator's ledger has of the run; rounds with the time that was measured."""
    with closing(Ledger(coordinator, guest=True)) as ledger:
        now = datetime.now(UTC)
        report = gather(ledger, Span(began, now + timedelta(seconds=1)), now)
    measured = {row["round"]: row["seconds"] for row in observed.rounds}
    for row in report["rounds"]:
        row["seconds"] = measured.get(row["round"])
    return report
