"""A machine's watch in the device's store: what was learned survives a restart, what follows from it is found again."""

from dataclasses import asdict
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
    before = store.get(KEY, {"points": {}})["points"]
    for name in before:
        if watch is None or name not in watch.detectors:
            for array in ARRAYS:
                store.put_array(f"{name}/{array}", None)
    if watch is None:
        store.put(KEY, {"points": {}})
        return
    clusters = watch.clusters
    store.put(
        KEY,
        {
            "points": {name: _save_detector(store, name, d) for name, d in watch.detectors.items()},
            "alarm": alarm_state(watch.alarm),
            "lately": list(watch.lately),
            "quietest": None if np.isinf(watch.quietest) else watch.quietest,
            "clusters": None if clusters is None else [clusters.along, clusters.across],
        },
    )
    store.put_array("clusters/centres", None if clusters is None else clusters.centres)
    store.put_array("clusters/axes", None if clusters is None else clusters.axes)
    store.put_array("first", np.array(watch.first, np.float32) if watch.first else None)


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
        "life": asdict(detector.life),
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
