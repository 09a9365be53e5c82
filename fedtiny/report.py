"""A run as one self-contained HTML page: a verdict in words, tables, and pictures drawn here as inline SVG.

The page loads nothing. Every string of the run is escaped where it enters the page (`_text`, `_p`, `_table`,
`_figure`). A number that is missing or not finite reads as an en dash, and leaves a gap in a picture.

All pictures are drawn 360 units wide, about the width of a phone, so that their text is readable there; wider
screens show several side by side.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Row = Sequence[str]

DASH = "–"
MEMORY_PROMISE_MB = 75.0
SAME = 0.005  # differences of AUC or of a rate below half a point count as none
LARGEST = 1e100  # what is beyond (or, on a log axis, below its inverse) is drawn at the edge
WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 344, 24, 166  # the plot's edges inside a picture
ROW = 20  # height of a machine's row in a picture with a row a machine

COLUMNS = (
    ("frozen", "Before"),
    ("federated", "After"),
    ("central", "Central"),
    ("zscore", "Z-score"),
)


def render_report(run: Mapping[str, Any]) -> str:
    """Render a run as one HTML document.

    Args:
        run: JSON-like, with the keys title, data, created_utc, versions, strategy, summary, training, gate,
            rounds and devices. Anything may be missing or null.

    Returns:
        The document's text, to be written as UTF-8.
    """
    title = str(run.get("title") or "fedtiny run")
    about = (run.get("data"), run.get("strategy"), run.get("created_utc"))
    body = [
        f"<header><h1>{escape(title)}</h1>",
        _p(" · ".join(str(item) for item in about if item), "about"),
        _verdict(run),
        "</header>",
        _section("Summary", _summary(run), _tiles(run)),
        _section("Score over life", *_scores(run)),
        _section("Machine by machine", _grid([_gains(run), _memory(run)]), _machines(run)),
        _section("Rounds", _grid([_round_loss(run), _round_bytes(run)]), _rounds(run)),
        _section("The release", _grid([_training(run), _gate(run)])),
        _section("Versions", _table(("", ""), [(k, _word(v)) for k, v in _dict(run, "versions").items()])),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


# --- words ----------------------------------------------------------------------------------------


def _verdict(run: Mapping[str, Any]) -> str:
    """Say in one paragraph what the numbers say, for better or worse."""
    auc = {key: _dict(run, "summary", "auc", key) for key, _ in COLUMNS}
    detected, false = _dict(run, "summary", "detection_rate"), _dict(run, "summary", "false_alarm_rate")
    mean = {key: _number(auc[key].get("per_device_mean")) for key in auc}
    kinds = ("per_device_mean", "per_device_min", "one_threshold")
    moves = [_number(auc["federated"].get(k)) - _number(auc["frozen"].get(k)) for k in kinds]
    net = {key: _number(detected.get(key)) - _number(false.get(key)) for key in ("frozen", "federated")}
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
            f"Over {_count(_at(run, 'summary', 'rounds'), 'round')} on "
            f"{_count(_at(run, 'summary', 'devices'), 'machine')}, mean AUC "
            + _moved(mean["frozen"], mean["federated"], _auc)
            + "; the weakest machine's "
            + _moved(auc["frozen"].get(kinds[1]), auc["federated"].get(kinds[1]), _auc)
            + ", and with one threshold for all machines it "
            + _moved(auc["frozen"].get(kinds[2]), auc["federated"].get(kinds[2]), _auc)
            + "."
        )
    if math.isfinite(moves[-1]):
        said.append(
            "At each machine's own threshold, detection of anomalous windows "
            + _moved(detected.get("frozen"), detected.get("federated"), _percent)
            + ", and false alarms on normal windows "
            + _moved(false.get("frozen"), false.get("federated"), _percent)
            + "."
        )
    gains = _gain_by_machine(run)
    worse = [f"{name} ({_auc(gain)})" for name, gain, _ in gains if gain < -SAME][::-1]
    if gains:
        better = sum(gain > SAME for _, gain, _ in gains)
        said.append(
            f"Of {_count(len(gains), 'machine')} with labelled faults, {better} gained and {len(worse)} lost"
            + (f": {', '.join(worse[:3])}{' and others' if len(worse) > 3 else ''}." if worse else ".")
        )
    for key, name in (("central", "Central training on everyone's data"), ("zscore", "A plain z-score")):
        gap = mean["federated"] - mean[key]
        if math.isfinite(gap):
            side = "below" if gap > 0 else "above"
            where = "level with" if abs(gap) < SAME / 10 else f"{abs(gap):.3f} {side}"
            moral = ": here a model does not earn its place" if key == "zscore" and gap <= 0 else ""
            said.append(f"{name} reaches {_auc(mean[key])}, {where} the federated mean{moral}.")
    memory = _number(_at(run, "summary", "edge_peak_rss_mb"))
    if math.isfinite(memory):
        kept = "within" if memory <= MEMORY_PROMISE_MB else "above"
        said.append(f"An agent needed at most {_mb(memory)}, {kept} the promised {_mb(MEMORY_PROMISE_MB)}.")
    return f'<p class="verdict"><strong>{escape(lead)}</strong> {escape(" ".join(said))}</p>'


def _moved(before: Any, after: Any, show: Any) -> str:
    old, new = show(before), show(after)
    if old == new:
        return f"stayed at {new}"
    change = _number(after) - _number(before)
    verb = "rose" if change > 0 else "fell" if change < 0 else "went"
    return f"{verb} from {old} to {new}"


def _tiles(run: Mapping[str, Any]) -> str:
    tiles = (
        ("Up, a device a round", _bytes(_at(run, "summary", "bytes_per_device_round", "up"))),
        ("Down, a device a round", _bytes(_at(run, "summary", "bytes_per_device_round", "down"))),
        ("Peak memory, agent", _mb(_at(run, "summary", "edge_peak_rss_mb"))),
        ("Whole run", _seconds(_at(run, "summary", "wall_s"))),
    )
    return (
        '<dl class="tiles">'
        + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles)
        + "</dl>"
    )


# --- tables ---------------------------------------------------------------------------------------


def _summary(run: Mapping[str, Any]) -> str:
    figures = (
        ("AUC, mean of the machines", ("auc",), ("per_device_mean",), _auc),
        ("AUC, weakest machine", ("auc",), ("per_device_min",), _auc),
        ("AUC, one threshold for all", ("auc",), ("one_threshold",), _auc),
        ("Detection rate", ("detection_rate",), (), _percent),
        ("False-alarm rate", ("false_alarm_rate",), (), _percent),
    )
    summary = (COLUMNS[0], ("calibrated", "Local score"), *COLUMNS[1:])
    rows = [
        (name, *(show(_at(run, "summary", *path, key, *leaf)) for key, _ in summary))
        for name, path, leaf, show in figures
    ]
    return _table(("", *(name for _, name in summary)), rows, marked=3) + _p(
        "Before: the frozen base model, plain reconstruction error. Local score: the same model under the score that "
        "each device learns from its own normal windows. After: the federated head under that score. Yardsticks: "
        "central, one autoencoder trained on everyone's data; z-score, no model at all. AUC is the chance that an "
        "anomalous window scores above a normal one: 0.5 is guessing, 1 is perfect.",
        "note",
    )


def _machines(run: Mapping[str, Any]) -> str:
    head = ("Machine", *(f"AUC {name}" for name in ("before", "after", "central", "z-score")))
    rows = [
        (
            _name(device),
            *(_auc(_at(device, "auc", key)) for key, _ in COLUMNS),
            _place(device.get("alarm_position"), _is_share(device)),
            _bytes(device.get("bytes_up")),
            _bytes(device.get("bytes_down")),
            _mb(device.get("peak_rss_mb")),
        )
        for device in _dicts(run, "devices")
    ]
    return _table((*head, "Alarm at", "Sent", "Received", "Peak memory"), rows, marked=2)


def _rounds(run: Mapping[str, Any]) -> str:
    everyone = [_name(device) for device in _dicts(run, "devices")]
    rows = []
    for entry in _dicts(run, "rounds"):
        answered = [_word(name) for name in entry.get("participants") or []]
        missing = [name for name in everyone if name not in answered]
        if answered and not missing:
            who = "all"
        elif set(answered) <= set(everyone) and 0 < len(missing) < len(answered):
            who = "all but " + ", ".join(missing)
        else:
            who = ", ".join(answered) or "nobody"
        rows.append(
            (
                _plain(entry.get("round")),
                _plain(entry.get("revision")),
                f"{len(answered)} of {_plain(entry.get('devices'))}: {who}",
                _loss(entry.get("loss_before")),
                _loss(entry.get("loss_after")),
                _bytes(entry.get("bytes_up")),
                _bytes(entry.get("bytes_down")),
                _seconds(entry.get("seconds")),
            )
        )
    head = ("Round", "Revision", "Who answered", "Loss before", "Loss after", "Up", "Down", "Time")
    return _table(head, rows)


# --- pictures -------------------------------------------------------------------------------------


def _scores(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Small multiples: a machine's score over its life, before and after."""
    key = _legend(
        ('<path class="line frozen" d="M1 6h22"/>', "score, frozen base"),
        ('<path class="line federated" d="M1 6h22"/>', "score, federated"),
        ('<path class="limit frozen" d="M1 3h22"/><path class="limit federated" d="M1 9h22"/>', "thresholds"),
        ('<rect class="anomalous" width="24" height="12"/>', "true anomaly"),
        ('<path class="alarm" d="M7 1h10l-5 9z"/>', "alarm"),
    )
    how = _p(
        "Higher is more anomalous. A good detector stays below its threshold, then crosses it early in the "
        "shaded span or just before. Each machine has its own scale.",
        "note",
    )
    figures = [_score_figure(device) for device in _dicts(run, "devices")]
    return (key, how, _grid(figures, "small")) if figures else (_p("No machine reported scores.", "note"),)


def _score_figure(device: Mapping[str, Any]) -> str:
    name, share = _name(device), _is_share(device)
    x = _array(device.get("position"))
    scores = {key: _array(device.get(key), x.size) for key in ("frozen", "federated")}
    labels = _array(device.get("label"), x.size)
    order = np.argsort(x, kind="stable")[: np.isfinite(x).sum()]
    x, labels = x[order], labels[order]
    limits = {key: _number(_at(device, "threshold", key)) for key in scores}
    alarm = _number(device.get("alarm_position"))
    across = Scale.fit([*x, alarm], LEFT, RIGHT, margin=0)
    up = Scale.fit(np.concatenate([*scores.values(), list(limits.values())]), BOTTOM, TOP, log=True)
    parts = [_bar("anomalous", a, TOP, b - a, BOTTOM - TOP) for a, b in _spans(across(x), labels == 1)]
    unit, show = ("share of life", _percent0) if share else ("window", _plain)
    parts.append(_axes(across, up, unit, "score", show))
    for key, values in scores.items():
        path = _path(*envelope(across(x), up(values[order]), RIGHT - LEFT))
        parts.append(f'<path class="line {key}" d="{path}"/>')
    for key, limit in limits.items():
        if math.isfinite(limit):
            parts.append(f'<path class="limit {key}" d="M{LEFT} {up(limit):.1f}H{RIGHT}"/>')
    if math.isfinite(alarm):
        at = across(alarm)
        parts.append(f'<path class="alarm" d="M{at - 5:.1f} {TOP - 9}h10l-5 9z"/>')
        parts.append(f'<path class="alarmline" d="M{at:.1f} {TOP}V{BOTTOM}"/>')
    where = f"alarm at {_place(alarm, share)}" if math.isfinite(alarm) else "no alarm"
    before, after = (_auc(_at(device, "auc", key)) for key in scores)
    gain = "no labelled fault" if before == after == DASH else f"AUC {before} → {after}"
    label = f"Anomaly score of {name} over its life: {where}"
    return _figure(name, parts, f"{gain}, {where}", label)


def _gains(run: Mapping[str, Any]) -> str:
    """Dumbbells: AUC before and after, largest gain first."""
    rows = _gain_by_machine(run)
    left_out = len(_dicts(run, "devices")) - len(rows)
    if not rows:
        return _nothing("AUC before and after", "no machine has labelled faults")
    yardsticks = [_number(_at(device, "auc", "zscore")) for *_, device in rows]
    ends = [[_number(_at(device, "auc", key)) for key in ("frozen", "federated")] for *_, device in rows]
    left, bottom = _label_width(name for name, *_ in rows), TOP + ROW * len(rows)
    across = Scale.fit([*yardsticks, *(v for pair in ends for v in pair), 1.0], left, RIGHT)
    parts = [_axes(across, None, "AUC (1 is perfect)", "", _plain, left, bottom)]
    for i, (name, *_) in enumerate(rows):
        y, (a, b), z = TOP + ROW * (i + 0.5), across(ends[i]), across(yardsticks[i])
        worse = " worse" if ends[i][1] < ends[i][0] else ""
        parts.append(_text(left - 8, y + 4, _clip(name), "end"))
        parts.append(f'<path class="bar{worse}" d="M{a:.1f} {y}H{b:.1f}"/>')
        if math.isfinite(yardsticks[i]):
            parts.append(f'<path class="tick" d="M{z:.1f} {y - 6}v12"/>')
        parts += [_dot("frozen", a, y, 4), _dot("federated", b, y, 4.5)]
    key = _legend(
        (_dot("frozen", 12, 6, 4), "before"),
        (_dot("federated", 12, 6, 4.5), "after"),
        ('<path class="bar worse" d="M2 6h20"/>', "lost"),
        ('<path class="tick" d="M12 0v12"/>', "z-score, no model"),
    )
    caption = "Further right is better; the longest gain is on top."
    if left_out:
        caption += f" Not shown: {left_out} without labelled faults."
    label = "AUC of each machine before and after"
    return _figure("AUC before and after", parts, caption, label, bottom + 34, key)


def _memory(run: Mapping[str, Any]) -> str:
    rows = [(_name(device), _number(device.get("peak_rss_mb"))) for device in _dicts(run, "devices")]
    if not any(math.isfinite(value) for _, value in rows):
        return _nothing("Memory of each agent", "no agent reported its memory")
    left, bottom = _label_width(name for name, _ in rows), TOP + ROW * len(rows)
    across = Scale.fit([0.0, MEMORY_PROMISE_MB, *(value for _, value in rows)], left, RIGHT, margin=0)
    parts = [_axes(across, None, "peak resident memory, MB", "", _plain, left, bottom)]
    for i, (name, value) in enumerate(rows):
        y = TOP + ROW * i
        parts.append(_text(left - 8, y + 14, _clip(name), "end"))
        width = float(across(value)) - left
        if math.isfinite(value):
            style = "over" if value > MEMORY_PROMISE_MB else "federated"
            parts.append(_bar(f"fill {style}", left, y + 4, width, ROW - 8))
        parts.append(_text(left + 6, y + 14, _number_text(value, 0), "start", "inside" if width > 30 else ""))
    line = across(MEMORY_PROMISE_MB)
    parts.append(f'<path class="promise" d="M{line:.1f} {TOP - 4}V{bottom}"/>')
    parts.append(_text(line + 4, TOP - 9, f"promise: {_mb(MEMORY_PROMISE_MB)}", "end"))
    caption = "Shorter is better; a bar past the dashed line breaks the promise."
    return _figure("Memory of each agent", parts, caption, "Peak memory of each agent in MB", bottom + 34)


def _round_loss(run: Mapping[str, Any]) -> str:
    rounds = _dicts(run, "rounds")
    lines = {
        "frozen": ("before the round", [entry.get("loss_before") for entry in rounds]),
        "federated": ("after the round", [entry.get("loss_after") for entry in rounds]),
    }
    caption = "Lower is better; the gap is what the devices' fine-tuning gained on windows kept out of it."
    return _curves("Loss by round", "round", _round_numbers(rounds), lines, caption)


def _training(run: Mapping[str, Any]) -> str:
    training = _dict(run, "training")
    lines = {
        "frozen": ("training windows", training.get("loss") or []),
        "federated": ("held-out windows", training.get("validation_loss") or []),
    }
    epochs = list(range(1, 1 + max(len(values) for _, values in lines.values())))
    caption = "Lower is better; held-out loss that rises while training loss falls would be overfitting."
    return _curves("Training of the base model", "epoch", epochs, lines, caption)


def _curves(title: str, unit: str, steps: Sequence[float], lines: Mapping[str, tuple[str, Any]], caption: str) -> str:
    """A line or two of losses over whole-numbered steps."""
    x = _array(steps)
    values = {key: _array(data, x.size) for key, (_, data) in lines.items()}
    together = np.concatenate(list(values.values()))
    seen = together[np.isfinite(together)]
    if not seen.size:
        return _nothing(title, "nothing was recorded")
    log = bool(seen.min() > 0 and seen.max() > 20 * seen.min())
    across = Scale.fit(x, LEFT + 8, RIGHT - 8, margin=0)
    up = Scale.fit(together, BOTTOM, TOP, log=log)
    parts = [_axes(across, up, unit, "loss", _plain, whole=True)]
    for key, y in values.items():
        parts.append(f'<path class="line {key}" d="{_path(*envelope(across(x), up(y), RIGHT - LEFT))}"/>')
        if x.size <= 30:
            dots = zip(across(x), up(y), strict=True)
            parts += [_dot(key, a, b, 3) for a, b in dots if math.isfinite(b)]
    key_line = _legend(*((f'<path class="line {key}" d="M1 6h22"/>', lines[key][0]) for key in lines))
    label = f"{title}, log scale" if log else title
    return _figure(title, parts, caption, label, key=key_line)


def _round_bytes(run: Mapping[str, Any]) -> str:
    rounds = _dicts(run, "rounds")
    x = _array(_round_numbers(rounds))
    totals = {key: _array([entry.get(f"bytes_{key}") for entry in rounds]) for key in ("up", "down")}
    together = np.concatenate(list(totals.values()))
    if not np.isfinite(together).any():
        return _nothing("Bytes by round", "nothing was sent")
    divisor, unit = (1e6, "MB") if np.nanmax(together) >= 1e6 else (1e3, "kB")
    step = (RIGHT - LEFT) / (float(np.ptp(x)) + 1)
    across = Scale.fit(x, LEFT + step / 2, RIGHT - step / 2, margin=0)
    up = Scale.fit([0.0, *together / divisor], BOTTOM, TOP)
    width = min(step * 0.36, 24.0)
    parts = [_axes(across, up, "round", f"{unit}, whole fleet", _plain, whole=True)]
    for key, offset, style in (("up", -width, "federated"), ("down", 0.0, "frozen")):
        for at, top in zip(across(x), up(totals[key] / divisor), strict=True):
            if math.isfinite(top):
                parts.append(_bar(f"fill {style}", at + offset, top, max(width - 1, 0.5), BOTTOM - top))
    key_line = _legend(
        ('<rect class="fill federated" width="24" height="12"/>', "up, from the devices"),
        ('<rect class="fill frozen" width="24" height="12"/>', "down, to the devices"),
    )
    caption = "Shorter is cheaper; the sum over all devices that took part."
    return _figure("Bytes by round", parts, caption, "Bytes up and down in each round", key=key_line)


def _gate(run: Mapping[str, Any]) -> str:
    training, gate = _dict(run, "training"), _dict(run, "gate")
    verdict = {True: "passed", False: "refused"}.get(gate.get("passed"), DASH)  # type: ignore[arg-type]
    rows = [
        ("Gate, int8 against float", verdict),
        ("Rank correlation of their scores", _number_text(gate.get("rank_correlation"), 4)),
        ("AUC, float", _auc(gate.get("auc_float"))),
        ("AUC, int8", _auc(gate.get("auc_int8"))),
        ("Trained on", ", ".join(_word(name) for name in training.get("machines") or []) or DASH),
        ("Training windows", _plain(training.get("windows"))),
        ("Size of the release", _bytes(training.get("size_bytes"))),
        ("Release", _word(training.get("release_id"))[:16]),
    ]
    return f"<div><h3>Gate and release</h3>{_table(('', ''), rows)}</div>"


# --- drawing --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """A mapping of data to pixels, linear or logarithmic (base 10)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def fit(
        cls, values: npt.ArrayLike, start: float, end: float, *, log: bool = False, margin: float = 0.04
    ) -> "Scale":
        """Span the finite (for log: positive) values, with a margin as a share of the span at both ends."""
        data = np.asarray(values, dtype=np.float64)
        data = data[np.isfinite(data) & ((data > 1 / LARGEST) | (not log))]
        low, high = (float(data.min()), float(data.max())) if data.size else (1.0, 1.0)
        if log:
            low, high = math.log10(low), math.log10(high)
        if high <= low:
            spare = 0.5 if log else abs(low) / 10 or 0.5
            low, high = low - spare, high + spare
        else:
            spare = (high - low) * margin
            low, high = (low if low == 0 and not log else low - spare), high + spare
        return cls(low, high, start, end, log)

    def __call__(self, values: npt.ArrayLike) -> Any:
        """Pixels of values, of their shape; outside values stay at the edge, NaN stays NaN."""
        data = np.asarray(values, dtype=np.float64)
        if self.log:
            data = np.log10(np.where(data <= 0, 10.0**self.low, data))
        share = np.where(np.isfinite(data), (data - self.low) / (self.high - self.low), np.nan)
        return self.start + np.clip(share, 0, 1) * (self.end - self.start)

    def ticks(self, count: int = 5, *, whole: bool = False) -> list[float]:
        """Round values inside the span, at most about ``count``."""
        if self.log:
            decades = range(math.floor(self.low), math.ceil(self.high) + 1)
            for factors in ((1,), (1, 3), (1, 2, 5)):
                logs = [math.log10(f) + d for d in decades for f in factors]
                found = [10.0**t for t in logs if self.low <= t <= self.high]
                if len(found) >= 3:
                    return found[:: math.ceil(len(found) / count)]
            return found if len(found) >= 2 else [10.0**self.low, 10.0**self.high]
        raw = (self.high - self.low) / count
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(f * size for f in (1, 2, 5, 10) if f * size >= raw * (1 - 1e-9))
        step = max(step, 1.0) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def envelope(x: Array, y: Array, columns: int) -> tuple[Array, Array]:
    """Thin a curve for a picture without losing a peak: the lowest and highest point of every column.

    Args:
        x: (n,), ascending, finite.
        y: (n,); not finite where there is no value.
        columns: how many columns of equal width to divide the span of x into.

    Returns:
        x and y of at most 2 * columns points, in order; a column without any finite value keeps one gap.
    """
    if x.size <= 2 * columns:
        return x, y
    inner = np.linspace(x[0], x[-1], columns + 1)[1:-1]
    kept: list[int] = []
    for part in np.split(np.arange(x.size), np.searchsorted(x, inner)):
        finite = part[np.isfinite(y[part])]
        if finite.size:
            kept += sorted({int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])})
        elif part.size:
            kept.append(int(part[0]))
    return x[kept], y[kept]


def _path(x: Array, y: Array) -> str:
    """Path data through the points, interrupted where y is not finite; a lone point becomes a dot."""
    steps, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(b):
            steps.append(f"{pen}{a:.1f} {b:.1f}" + ("h0" if pen == "M" else ""))
            pen = "L"
        else:
            pen = "M"
    return "".join(steps)


def _spans(x: Array, inside: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Pixel ranges where ``inside`` holds, half-way to the neighbours; those closer than a pixel merge."""
    if not x.size:
        return []
    edges = np.concatenate([x[:1], (x[1:] + x[:-1]) / 2, x[-1:]])
    turns = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    spans: list[tuple[float, float]] = []
    for first, last in turns.reshape(-1, 2):
        start, end = float(edges[first]), max(float(edges[last]), float(edges[first]) + 1)
        if spans and start - spans[-1][1] < 1:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def _axes(
    across: Scale,
    up: Scale | None,
    x_title: str,
    y_title: str,
    show: Any,
    left: float = LEFT,
    bottom: float = BOTTOM,
    *,
    whole: bool = False,
) -> str:
    """Grid lines, tick labels and the axes' titles; ``up`` None: rows are labelled by the caller."""
    parts = []
    for tick in across.ticks(whole=whole):
        at = across(tick)
        if up is None:
            parts.append(f'<path class="grid-line" d="M{at:.1f} {TOP}V{bottom}"/>')
        parts.append(_text(at, bottom + 15, show(tick)))
    for tick in up.ticks(4) if up else []:
        at = up(tick) if up else 0.0
        parts.append(f'<path class="grid-line" d="M{left} {at:.1f}H{RIGHT}"/>')
        parts.append(_text(left - 6, at + 4, _short(tick), "end"))
    parts.append(f'<path class="axis" d="M{left} {bottom}H{RIGHT}"/>')
    parts.append(_text((left + RIGHT) / 2, bottom + 30, x_title, "middle", "title"))
    if up:
        parts.append(_text(4, 12, y_title + (" (log)" if up.log else ""), "start", "title"))
    return "".join(parts)


def _text(x: float, y: float, words: str, anchor: str = "middle", style: str = "") -> str:
    styled = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{styled}>{escape(words)}</text>'


def _dot(style: str, x: float, y: float, radius: float) -> str:
    return f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _bar(style: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _figure(title: str, parts: Sequence[str], caption: str, label: str, height: float = HEIGHT, key: str = "") -> str:
    return (
        f"<figure><h3>{escape(title)}</h3>{key}"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>{''.join(parts)}</svg><figcaption>{escape(caption)}</figcaption></figure>"
    )


def _legend(*entries: tuple[str, str]) -> str:
    """Entries of (SVG drawing 24 x 12, name)."""
    return (
        '<p class="legend">'
        + " ".join(
            f'<span><svg viewBox="0 0 24 12" aria-hidden="true">{drawing}</svg>{escape(name)}</span>'
            for drawing, name in entries
        )
        + "</p>"
    )


# --- page -----------------------------------------------------------------------------------------


def _section(title: str, *content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n" + "\n".join(content) + "</section>"


def _grid(content: Iterable[str], style: str = "large") -> str:
    return f'<div class="grid {style}">' + "\n".join(content) + "</div>"


def _nothing(title: str, why: str) -> str:
    return f"<div><h3>{escape(title)}</h3>{_p('No picture: ' + why + '.', 'note')}</div>"


def _p(words: str, style: str) -> str:
    return f'<p class="{style}">{escape(words)}</p>'


def _table(head: Row, rows: Sequence[Row], marked: int | None = None) -> str:
    """A table that scrolls sideways where it must; column ``marked`` stands out."""
    if not rows:
        return _p("Nothing was recorded.", "note")

    def line(cells: Row, tag: str) -> str:
        styles = ["marked" if i == marked else "long" if len(c) > 30 else "" for i, c in enumerate(cells)]
        return "".join(
            f'<{tag} class="{style}">{escape(cell)}</{tag}>' for cell, style in zip(cells, styles, strict=True)
        )

    top = f"<thead><tr>{line(head, 'th')}</tr></thead>" if any(head) else ""
    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


# --- the run's values -----------------------------------------------------------------------------


def _at(node: Any, *keys: str) -> Any:
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _dict(node: Any, *keys: str) -> Mapping[str, Any]:
    found = _at(node, *keys)
    return found if isinstance(found, Mapping) else {}


def _dicts(run: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [entry for entry in run.get(key) or [] if isinstance(entry, Mapping)]


def _number(value: Any) -> float:
    """The value as a float; NaN when it is missing, not a number or not finite."""
    if isinstance(value, int | float | np.number) and math.isfinite(value):
        return min(max(float(value), -LARGEST), LARGEST)
    return math.nan


def _array(values: Any, size: int | None = None) -> Array:
    """(n,) float64; null and non-finite become NaN; cut or padded with NaN to ``size``."""
    data = np.array(values if values is not None else [], dtype=np.float64).ravel()
    data[~np.isfinite(data)] = np.nan
    data = np.clip(data, -LARGEST, LARGEST)
    if size is None:
        return data
    return np.concatenate([data[:size], np.full(max(0, size - data.size), np.nan)])


def _name(device: Mapping[str, Any]) -> str:
    return _word(device.get("device"))


def _word(value: Any) -> str:
    return DASH if value is None or value == "" else str(value)


def _is_share(device: Mapping[str, Any]) -> bool:
    """Whether positions are shares of life (0..1) rather than window numbers."""
    x = _array(device.get("position"))
    return not np.isfinite(x).any() or float(np.nanmax(x)) <= 1


def _gain_by_machine(run: Mapping[str, Any]) -> list[tuple[str, float, Mapping[str, Any]]]:
    """(name, AUC after - before, device) of the machines that have both, largest gain first."""
    found = []
    for device in _dicts(run, "devices"):
        gain = _number(_at(device, "auc", "federated")) - _number(_at(device, "auc", "frozen"))
        if math.isfinite(gain):
            found.append((_name(device), gain, device))
    return sorted(found, key=lambda row: (-row[1], row[0]))


def _round_numbers(rounds: Sequence[Mapping[str, Any]]) -> list[float]:
    numbers = [_number(entry.get("round")) for entry in rounds]
    return [n if math.isfinite(n) else i + 1.0 for i, n in enumerate(numbers)]


# --- numbers as words -----------------------------------------------------------------------------


def _number_text(value: Any, digits: int, unit: str = "") -> str:
    number = _number(value)
    return f"{number:,.{digits}f}{unit}".replace("-", "−") if math.isfinite(number) else DASH


def _count(value: Any, noun: str) -> str:
    return f"{_plain(value)} {noun}{'' if _number(value) == 1 else 's'}"


def _auc(value: Any) -> str:
    return _number_text(value, 3)


def _percent(value: Any) -> str:
    return _number_text(100 * _number(value), 1, "\u00a0%")


def _percent0(value: Any) -> str:
    return _number_text(100 * _number(value), 0, "\u00a0%")


def _mb(value: Any) -> str:
    return _number_text(value, 0, "\u00a0MB")


def _seconds(value: Any) -> str:
    return _number_text(value, 1 if _number(value) < 100 else 0, "\u00a0s")


def _bytes(value: Any) -> str:
    number = _number(value)
    for size, unit in ((1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return _number_text(number / size, 1, f"\u00a0{unit}")
    return _number_text(value, 0, "\u00a0B")


def _plain(value: Any) -> str:
    number = _number(value)
    return f"{number:.10g}".replace("-", "−") if math.isfinite(number) else DASH


def _short(value: Any) -> str:
    number = _number(value)
    return f"{number:.3g}".replace("-", "−") if math.isfinite(number) else DASH


def _loss(value: Any) -> str:
    number = _number(value)
    return f"{number:#.3g}".rstrip(".").replace("-", "−") if math.isfinite(number) else DASH


def _place(value: Any, share: bool) -> str:
    if not share:
        return "window " + _plain(value) if math.isfinite(_number(value)) else DASH
    return _percent0(value)


def _label_width(names: Iterable[str]) -> float:
    return 16 + 6.2 * max(len(_clip(name)) for name in names)


def _clip(name: str) -> str:
    """A name for a picture's margin: its two ends where it is long."""
    return name if len(name) <= 16 else f"{name[:7]}…{name[-8:]}"


CSS = """
:root { color-scheme: light dark; --ink: #1d232b; --soft: #5d6672; --line: #e3e6ea; --paper: #fff;
  --federated: #0072b2; --frozen: #98a0aa; --anomalous: #e69f00; --alarm: #d55e00; --on: #fff; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4b1; --line: #2c333c;
  --paper: #14181d; --federated: #56b4e9; --frozen: #7d8894; --anomalous: #e69f00; --alarm: #f08a4b;
  --on: #10151a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; margin: 0; }
h2 { font-size: 1.25rem; font-weight: 650; margin: 4rem 0 1.25rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; font-weight: 600; margin: 0 0 .4rem; }
h1, h3, .about, .verdict { overflow-wrap: anywhere; }
.about, .note, figcaption, .legend { color: var(--soft); font-size: .875rem; }
.about { margin: .4rem 0 0; }
.verdict { font-size: 1.125rem; line-height: 1.65; max-width: 44rem; margin: 2rem 0 0; }
.note { max-width: 44rem; margin: .75rem 0 1.5rem; }
.tiles { display: grid; gap: 1.5rem; margin: 2rem 0 0;
  grid-template-columns: repeat(auto-fill, minmax(min(10rem, 100%), 1fr)); }
.tiles dt { color: var(--soft); font-size: .875rem; }
.tiles dd { margin: .1rem 0 0; font-size: 1.25rem; font-weight: 600; letter-spacing: -.01em; }
.scroll { overflow-x: auto; margin-top: 1.5rem; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { text-align: left; padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td:first-child { min-width: 6.5rem; }
td.long { min-width: 11rem; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; line-height: 1.3; }
.marked { color: var(--federated); font-weight: 650; }
.grid { display: grid; }
.grid.small { gap: 2.25rem 2rem; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); }
.grid.large { gap: 2.5rem 3rem; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
.grid.large > * { max-width: 30rem; }
.grid .scroll { margin-top: 0; }
figure { margin: 0; break-inside: avoid; }
figcaption { margin-top: .35rem; }
figure svg { display: block; width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 0 0 .5rem; }
.legend span { display: inline-flex; align-items: center; gap: .45rem; }
.legend svg { width: 24px; height: 12px; overflow: visible; }
svg text { fill: var(--soft); font-size: 11px; font-family: inherit; }
svg text.inside { fill: var(--on); }
path.grid-line { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--frozen); stroke-width: 1; }
.line { fill: none; stroke-width: 1.5; stroke-linecap: round; stroke-linejoin: round; }
.limit { fill: none; stroke-width: 1.2; stroke-dasharray: 5 3; }
.line.frozen, .limit.frozen { stroke: var(--frozen); }
.line.federated, .limit.federated { stroke: var(--federated); }
.dot.frozen { fill: var(--paper); stroke: var(--frozen); stroke-width: 2; }
.dot.federated, .fill.federated { fill: var(--federated); }
.fill.frozen { fill: var(--frozen); }
.fill.over { fill: var(--alarm); }
.bar { stroke: var(--federated); stroke-width: 2.5; opacity: .5; }
.bar.worse { stroke: var(--alarm); opacity: .9; }
.tick { stroke: var(--ink); stroke-width: 1.5; }
.anomalous { fill: var(--anomalous); opacity: .2; }
.alarm { fill: var(--alarm); }
.alarmline { stroke: var(--alarm); stroke-width: 1; }
.promise { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 4 3; }
@media (max-width: 30rem) { th, td { padding-right: .5rem; } td:first-child { min-width: 5.5rem; }
  .verdict { font-size: 1.0625rem; } }
@media print { main { padding: 0; max-width: none; } body { font-size: 10pt; }
  h2 { break-after: avoid; margin-top: 2rem; } .grid.large { grid-template-columns: 1fr 1fr; gap: 1.5rem; }
  tr, .tiles div { break-inside: avoid; } }
"""
