"""What federated learning gained, where labels tell: a verdict in words, figures before and after, yardsticks."""

import math
from collections.abc import Mapping
from typing import Any

from fedtiny.report.html import paragraph, table, text
from fedtiny.report.lives import gain_by_machine, is_share, machine, place
from fedtiny.report.memory import PROMISE_MB
from fedtiny.report.numbers import auc_text, bytes_text, counted, mb, percent, seconds_text
from fedtiny.report.values import as_dict, as_dicts, as_number, dig

SAME = 0.005  # differences of AUC or of a rate below half a point count as none
COLUMNS = (
    ("frozen", "Before"),
    ("federated", "After"),
    ("central", "Central"),
    ("zscore", "Z-score"),
)


def verdict(run: Mapping[str, Any]) -> str:
    """Say in one paragraph what the numbers say, for better or worse."""
    auc = {key: as_dict(run, "summary", "auc", key) for key, _ in COLUMNS}
    detected, false = as_dict(run, "summary", "detection_rate"), as_dict(run, "summary", "false_alarm_rate")
    mean = {key: as_number(auc[key].get("per_device_mean")) for key in auc}
    kinds = ("per_device_mean", "per_device_min", "one_threshold")
    moves = [as_number(auc["federated"].get(k)) - as_number(auc["frozen"].get(k)) for k in kinds]
    net = {key: as_number(detected.get(key)) - as_number(false.get(key)) for key in ("frozen", "federated")}
    moves.append(net["federated"] - net["frozen"])
    up, down = any(move > SAME for move in moves), any(move < -SAME for move in moves)
    if not any(math.isfinite(move) for move in moves):
        lead = "Whether federated learning helped cannot be said: no labelled faults to measure it by."
    elif up and down:
        lead = "Federated learning gave a mixed result."
    elif up:
        lead = "Federated learning helped."
    elif down:
        lead = "Federated learning made detection worse."
    else:
        lead = "Federated learning changed little."
    said = []
    if math.isfinite(moves[0]):
        said.append(
            f"Over {counted(dig(run, 'summary', 'rounds'), 'round')} on "
            f"{counted(dig(run, 'summary', 'devices'), 'machine')}, mean AUC "
            + moved(mean["frozen"], mean["federated"], auc_text)
            + "; the weakest machine's "
            + moved(auc["frozen"].get(kinds[1]), auc["federated"].get(kinds[1]), auc_text)
            + ", and with one threshold for all machines it "
            + moved(auc["frozen"].get(kinds[2]), auc["federated"].get(kinds[2]), auc_text)
            + "."
        )
    if math.isfinite(moves[-1]):
        said.append(
            "At each machine's own threshold, detection of anomalous windows "
            + moved(detected.get("frozen"), detected.get("federated"), percent)
            + ", and false alarms on normal windows "
            + moved(false.get("frozen"), false.get("federated"), percent)
            + "."
        )
    gains = gain_by_machine(run)
    worse = [f"{name} ({auc_text(gain)})" for name, gain, _ in gains if gain < -SAME][::-1]
    if gains:
        better = sum(gain > SAME for _, gain, _ in gains)
        said.append(
            f"Of {counted(len(gains), 'machine')} with labelled faults, {better} gained and {len(worse)} lost"
            + (f": {', '.join(worse[:3])}{' and others' if len(worse) > 3 else ''}." if worse else ".")
        )
    for key, name in (("central", "Central training on everyone's data"), ("zscore", "A plain z-score")):
        gap = mean["federated"] - mean[key]
        if math.isfinite(gap):
            side = "below" if gap > 0 else "above"
            where = "level with" if abs(gap) < SAME / 10 else f"{abs(gap):.3f} {side}"
            moral = ": here a model does not earn its place" if key == "zscore" and gap <= 0 else ""
            said.append(f"{name} reaches {auc_text(mean[key])}, {where} the federated mean{moral}.")
    memory = as_number(dig(run, "summary", "edge_peak_rss_mb"))
    if math.isfinite(memory):
        kept = "within" if memory <= PROMISE_MB else "above"
        said.append(f"An agent needed at most {mb(memory)}, {kept} the promised {mb(PROMISE_MB)}.")
    return f'<p class="verdict"><strong>{text(lead)}</strong> {text(" ".join(said))}</p>'


def moved(before: Any, after: Any, show: Any) -> str:
    """How a figure changed."""
    old, new = show(before), show(after)
    if old == new:
        return f"stayed at {new}"
    change = as_number(after) - as_number(before)
    verb = "rose" if change > 0 else "fell" if change < 0 else "went"
    return f"{verb} from {old} to {new}"


def headline(run: Mapping[str, Any]) -> str:
    """Four figures, large."""
    tiles = (
        ("Up, a device a round", bytes_text(dig(run, "summary", "bytes_per_device_round", "up"))),
        ("Down, a device a round", bytes_text(dig(run, "summary", "bytes_per_device_round", "down"))),
        ("Peak memory, agent", mb(dig(run, "summary", "edge_peak_rss_mb"))),
        ("Whole run", seconds_text(dig(run, "summary", "wall_s"))),
    )
    return (
        '<dl class="tiles">'
        + "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in tiles)
        + "</dl>"
    )


def summary_table(run: Mapping[str, Any]) -> str:
    """Before and after, beside the yardsticks."""
    figures = (
        ("AUC, mean of the machines", ("auc",), ("per_device_mean",), auc_text),
        ("AUC, weakest machine", ("auc",), ("per_device_min",), auc_text),
        ("AUC, one threshold for all", ("auc",), ("one_threshold",), auc_text),
        ("Detection rate", ("detection_rate",), (), percent),
        ("False-alarm rate", ("false_alarm_rate",), (), percent),
    )
    summary = (COLUMNS[0], ("calibrated", "Local score"), *COLUMNS[1:])
    rows = [
        (name, *(show(dig(run, "summary", *path, key, *leaf)) for key, _ in summary))
        for name, path, leaf, show in figures
    ]
    return table(("", *(name for _, name in summary)), rows, marked=3) + paragraph(
        "Before: the frozen base model, plain reconstruction error. Local score: the same model under the score that "
        "each device learns from its own normal windows. After: the federated head under that score. Yardsticks: "
        "central, one autoencoder trained on everyone's data; z-score, no model at all. AUC is the chance that an "
        "anomalous window scores above a normal one: 0.5 is guessing, 1 is perfect.",
        "note",
    )


def machine_table(run: Mapping[str, Any]) -> str:
    """AUC of each machine."""
    head = ("Machine", *(f"AUC {name}" for name in ("before", "after", "central", "z-score")))
    rows = [
        (
            machine(device),
            *(auc_text(dig(device, "auc", key)) for key, _ in COLUMNS),
            place(device.get("alarm_position"), is_share(device)),
            bytes_text(device.get("bytes_up")),
            bytes_text(device.get("bytes_down")),
            mb(device.get("peak_rss_mb")),
        )
        for device in as_dicts(run, "devices")
    ]
    return table((*head, "Alarm at", "Sent", "Received", "Peak memory"), rows, marked=2)
