"""The demo's figures: what the agents wrote, beside the frozen release and the yardsticks."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np

from fedtiny.config import Config
from fedtiny.demo.fleet import Observed
from fedtiny.evaluation import DeviceScores, by_plain_error, by_residuals, by_z_score, figures, split
from fedtiny.model.artifact import Release
from fedtiny.model.detector import Budget, Detector
from fedtiny.model.network import Network
from fedtiny.protocol.messages import Alarm
from fedtiny.signal.dataset import MachineFeatures
from fedtiny.signal.fleet import FleetData


def evaluate(
    config: Config,
    release: Release,
    fleet: FleetData,
    machines: dict[str, MachineFeatures],
    observed: Observed,
    central: dict[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """The report's part that labels tell, as ``fedtiny.report.page`` has it: summary, training, gate, devices."""
    kinds = ("frozen", "calibrated", "federated", "judged", "zscore")
    methods: dict[str, dict[str, DeviceScores]] = {kind: {} for kind in kinds}
    devices = []
    rate = config.edge.window_rate
    for name, features in machines.items():
        data = split(features)
        detector = Detector(Network(release, config.edge.runtime), Budget(rate, len(data.local), len(data.local)))
        detector.adapt(data.local)

        def residuals(rows: Any, detector: Detector = detector) -> Any:
            return detector.run(rows)[1]

        methods["frozen"][name] = by_plain_error(residuals, data, rate)
        methods["calibrated"][name] = by_residuals(residuals, data, rate)
        methods["zscore"][name] = by_z_score(data, rate)
        rows = _read_scores(folder / f"{name}.csv")
        normal, failing = (rows["label"] == 0) & ~rows["learning"], rows["label"] == 1
        ratios, levels = rows["score"] / rows["threshold"], rows["level"]
        far = levels / rows["threshold"]
        methods["federated"][name] = DeviceScores(levels[normal], levels[failing], float(rows["threshold"][-1]))
        methods["judged"][name] = DeviceScores(far[normal], far[failing], 1.0)
        played = features.features[len(features.features) - len(rows["score"]) :]
        status = observed.status[name]
        devices.append(
            {
                "device": name,
                "position": rows["position"].tolist(),
                "label": rows["label"].tolist(),
                "frozen": np.square(residuals(played)).mean(axis=1).tolist(),
                "federated": [None if math.isnan(ratio) else ratio for ratio in ratios.tolist()],
                "threshold": {"frozen": methods["frozen"][name].threshold, "federated": 1.0},
                "alarm_position": _alarm_position(observed.alarms.get(name, []), rows),
                "bytes_up": observed.up.get(name, 0),
                "bytes_down": observed.head_bytes * len(observed.rounds),
                "peak_rss_mb": status.peak_rss_mb,
            }
        )
    results = {kind: figures(scores) for kind, scores in methods.items()} | {"central": central}
    judged = results.pop("judged")  # levels, as in all other rows, against the threshold of their time
    results["federated"] |= {rate: judged[rate] for rate in ("false_alarm_rate", "detection_rate")}
    for device in devices:
        device["auc"] = {kind: result["per_device"].get(device["device"]) for kind, result in results.items()}
    manifest = release.manifest
    keys = ("per_device_mean", "per_device_min", "one_threshold")
    return {
        "summary": {
            "devices": len(machines),
            "alarms_standing": sum(device["alarm_position"] is not None for device in devices),
            "rounds": len(observed.rounds),
            "auc": {kind: {key: result[key] for key in keys} for kind, result in results.items()},
            "detection_rate": {kind: result["detection_rate"] for kind, result in results.items()},
            "false_alarm_rate": {kind: result["false_alarm_rate"] for kind, result in results.items()},
            "bytes_per_device_round": {
                "up": sum(observed.up.values()) / max(observed.updates, 1),
                "down": observed.head_bytes,
            },
            "edge_peak_rss_mb": max(device["peak_rss_mb"] or 0.0 for device in devices),
            "alarmed_at_the_end": sum(device["alarm_position"] is not None for device in devices),
        },
        "training": {
            "windows": manifest.training["windows"],
            "machines": list(fleet.base),
            "release_id": release.id,
            "size_bytes": len(release.data),
        },
        "gate": manifest.gate.model_dump() | {"passed": True},
        "devices": devices,
    }


def _read_scores(path: Path) -> dict[str, Any]:
    """What an agent wrote, as columns."""
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    scores = np.array([float(row[3]) for row in rows], np.float32)
    return {
        "position": np.array([float(row[1]) if row[1] else float(i) for i, row in enumerate(rows)]),
        "label": np.array([int(row[2]) for row in rows]),
        "score": scores,
        "learning": np.isnan(scores),
        "threshold": np.array([float(row[4]) if row[4] else math.nan for row in rows], np.float32),
        "level": np.array([float(row[6]) for row in rows], np.float32),
    }


def _alarm_position(alarms: list[Alarm], rows: dict[str, Any]) -> float | None:
    """Where the machine's alarm rose that still stands at the end, or None."""
    alarms = [alarm for alarm in alarms if alarm.kind == "machine" and alarm.state in ("raised", "cleared")]
    if not alarms or alarms[-1].state == "cleared":
        return None
    return float(rows["position"][min(alarms[-1].window - 1, len(rows["position"]) - 1)])
