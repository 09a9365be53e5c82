"""A machine's watch in the device's store: what was learned survives a restart, what follows from it is found again."""

from typing import Any

import numpy as np

from fedtiny.device_store import DeviceStore
from fedtiny.model.alarm import AlarmLife
from fedtiny.model.detector import Detector
from fedtiny.model.network import Network
from fedtiny.model.operating import Clusters
from fedtiny.model.threshold import Life
from fedtiny.model.watch import Rules, Watch
from fedtiny.signal.features import Standardisation

KEY = "watch"
ARRAYS = ("baseline", "recent", "standardisation", "drift")


def save_watch(store: DeviceStore, watch: Watch | None) -> None:
    """Put ``watch`` into ``store``, as part of the caller's transaction; None forgets it."""
    detectors, clusters, first = (watch.detectors, watch.clusters, watch.first) if watch else ({}, None, [])
    for name in store.get(KEY, {"points": {}})["points"]:
        if name not in detectors:
            for array in ARRAYS:
                store.put_array(f"{name}/{array}", None)
    store.put_array("clusters/centres", clusters.centres if clusters else None)
    store.put_array("clusters/axes", clusters.axes if clusters else None)
    store.put_array("first", np.array(first, np.float32) if first else None)
    values: dict[str, Any] = {"points": {name: _save_detector(store, name, d) for name, d in detectors.items()}}
    if watch is not None:
        values |= {
            "alarm": alarm_state(watch.alarm),
            "lately": list(watch.lately),
            "quietest": None if np.isinf(watch.quietest) else watch.quietest,
            "clusters": [clusters.along, clusters.across] if clusters else None,
        }
    store.put(KEY, values)


def load_watch(store: DeviceStore, network: Network, rules: Rules) -> Watch:
    """The watch in ``store`` under ``network`` and ``rules``; a fresh one where there is none."""
    watch = Watch(network, rules)
    saved = store.get(KEY, {})
    if saved.get("alarm"):
        watch.alarm = restored_alarm(rules.votes, rules.window, saved["alarm"])
        watch.lately.extend((name, ratio) for name, ratio in saved["lately"])
    if saved.get("quietest") is not None:
        watch.quietest = saved["quietest"]
    if saved.get("clusters"):
        centres, axes = store.array("clusters/centres"), store.array("clusters/axes")
        assert centres is not None
        assert axes is not None
        watch.clusters = Clusters(centres, axes, *saved["clusters"])
    first = store.array("first")
    if first is not None:
        watch.first = list(first)
    for name, values in saved.get("points", {}).items():
        watch.detectors[name] = _load_detector(store, name, values, watch.new_detector())
    return watch


def alarm_state(alarm: AlarmLife) -> list[Any]:
    """An alarm as JSON."""
    return [alarm.state, *alarm.recent]


def restored_alarm(votes: int, window: int, saved: list[Any]) -> AlarmLife:
    """An alarm from JSON."""
    alarm = AlarmLife(votes, window, saved[0])
    alarm.recent.extend(saved[1:])
    return alarm


def _save_detector(store: DeviceStore, name: str, detector: Detector) -> dict[str, Any]:
    rows, next_row, count = detector.recent.state()
    scale = detector.standardisation
    store.put_array(f"{name}/baseline", detector.baseline)
    store.put_array(f"{name}/recent", rows)
    store.put_array(f"{name}/standardisation", np.stack([scale.mean, scale.deviation]))
    store.put_array(f"{name}/drift", detector.drift.centre)
    return {
        "recent": [next_row, count],
        "watching": detector.threshold is not None,
        "life": vars(detector.life),
        "sharpened": detector.sharpened,
        "rate": detector.budget.rate,
    }


def _load_detector(store: DeviceStore, name: str, values: dict[str, Any], detector: Detector) -> Detector:
    baseline, recent, scale, drift = (store.array(f"{name}/{array}") for array in ARRAYS)
    assert baseline is not None
    assert recent is not None
    assert scale is not None
    assert drift is not None
    detector.baseline = baseline
    detector.recent.restore(recent, *values["recent"])
    detector.standardisation = Standardisation(scale[0], scale[1])
    detector.life = Life(**values["life"])
    if values["watching"]:
        detector.calibrate()
        detector.drift.centre = drift
        if values["rate"] == detector.budget.rate:
            detector.sharpen(values["sharpened"])
    return detector
