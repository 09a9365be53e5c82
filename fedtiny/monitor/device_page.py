"""The screen of one device: scores over time, alarms, what stands out, how it does, what it runs."""

from fedtiny.monitor import words
from fedtiny.monitor.plot import plot
from fedtiny.monitor.rows import EMPTY, Row, grid
from fedtiny.monitor.view import DeviceView
from fedtiny.plain import plain
from fedtiny.protocol.messages import BandShare, DeviceStatus

Pairs = list[tuple[str, str]]


def device_rows(name: str, device: DeviceView, width: int, height: int, now: float) -> list[Row]:
    """The rows, for a screen of ``width`` by ``height`` cells. now: Unix time."""
    status = device.status
    last = words.pair(words.score(device))
    state = f"{words.state(device)}, {words.phase(status)}" if status else "it has not said how it is"
    silent = f"heard {words.heard(device, now)} ago" if device.heard_at is not None else "not heard since we look"
    rows: list[Row] = [((name, "bold"), (f"   {state}", "")), ((f"score / threshold {last}   {silent}", ""),)]
    rows += plot(list(device.trace), width, min(max(height - 12, 5), 20))
    rows += [EMPTY, *_alarms(device), EMPTY, *_bands(device)]
    if status is not None:
        for title, pairs in (
            ("resources", _resources(status)),
            ("learning", _learning(status)),
            ("runs", _runs(status)),
        ):
            rows += [EMPTY, ((title, "bold"),), *grid(pairs, width)]
    return rows


def _alarms(device: DeviceView) -> list[Row]:
    rows: list[Row] = [(("alarms", "bold"),)]
    for alarm in device.alarm.standing if device.alarm else ():
        raised = alarm.state == "raised"
        word = alarm.state.upper() if raised else alarm.state
        text = f"{alarm.kind} {word} since {_time(alarm.raised_utc)}"
        rows += [((text, "bold red" if raised else "yellow"),), ((plain(f"  {alarm.reason}"), ""),)]
    if len(rows) == 1:
        last = device.alarm
        what = f"none stands; last: {last.kind} {last.state} {_time(last.at_utc)}: {last.reason}" if last else "none"
        rows.append(((plain(what), "dim"),))
    return rows


def _bands(device: DeviceView) -> list[Row]:
    alarm = device.alarm
    if alarm is None or not alarm.bands:
        return [(("bands that stand out", "bold"), ("   an alarm of the machine names them", "dim"))]
    rows: list[Row] = [(("bands that stand out", "bold"), (f"   at the alarm of {_time(alarm.at_utc)}", "dim"))]
    for band in alarm.bands:
        bar = "█" * round(min(max(band.share, 0.0), 1.0) * 20)
        rows.append(((f"{band.share:4.0%} ", ""), (f"{bar:20} ", "red"), (plain(_band(band)), "")))
    return rows


def _band(band: BandShare) -> str:
    text = band.channel
    if band.low_hz is not None and band.high_hz is not None:
        text += f"  {band.low_hz:,.0f} to {band.high_hz:,.0f} Hz"
    if band.low_order is not None and band.high_order is not None:
        text += f"  {band.low_order:.3g} to {band.high_order:.3g} orders"
    return text


def _resources(status: DeviceStatus) -> Pairs:
    health = status.health
    pairs = [("process peak", _number(status.peak_rss_mb, "{:.0f} MB"))]
    if health is not None:
        throttled = ", ".join(health.throttled_now or ()) or "no"
        pairs += [
            ("CPU", _number(health.cpu_share, "{:.0%} of a core")),
            ("process", _number(health.rss_mb, "{:.0f} MB")),
            ("temperature", _number(health.temperature_c, "{:.0f} °C")),
            ("throttled", plain(throttled) if health.throttled_now is not None else "-"),
            ("disk free", _number(health.disk_free_bytes and health.disk_free_bytes / 1e9, "{:.1f} GB")),
            ("state folder", _number(health.state_bytes and health.state_bytes / 1e6, "{:.1f} MB")),
            ("lag", _number(health.lag_s, "{:.1f} s behind its source")),
            ("backlog", f"{health.backlog} messages, {health.lost} lost"),
        ]
    return [*pairs, ("network", f"{status.bytes_up / 1e6:.2f} MB up, {status.bytes_down / 1e6:.2f} MB down")]


def _learning(status: DeviceStatus) -> Pairs:
    pairs = [
        ("windows", f"{status.windows} seen, {status.fresh} new"),
        ("learned", f"{status.learned:.0%}"),
        ("promise", f"{status.promised:.0%} of it is backed"),
        ("to fit on", "-" if status.examples is None else f"{status.examples} windows"),
        ("sensor faults", f"{status.sensor_faults} windows"),
        ("unknown point", f"{status.unknown} windows"),
    ]
    for name, point in status.points.items():
        learned = f"{point.learned:.0%} learned"
        known = learned if point.threshold is None else f"threshold {point.threshold:.3g}, drift {point.drift:.0%}"
        pairs.append((f"at {plain(name)}" if name else "machine", known))
    refused = ", ".join(f"{plain(reason)} {count}" for reason, count in status.rejected.items())
    return [*pairs, ("refused by it", refused or "nothing")]


def _runs(status: DeviceStatus) -> Pairs:
    head = status.head
    use = "-" if head is None else f"{head.use} of revision {head.revision}"
    pairs = [
        ("release/rev", words.base(status)),
        ("head", use),
        ("interpreter", plain(status.interpreter) or "-"),
        ("fedtiny", plain(status.version) or "-"),
        ("source", plain(status.source + (", at its end" if status.source_done else "")) or "-"),
        ("boot", plain(status.boot_id) or "-"),
    ]
    return [*pairs, ("CONFLICT", f"another agent uses this id: {plain(status.conflict)}")] if status.conflict else pairs


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _time(text: str) -> str:
    """Date and time of ISO 8601, to the second; UTC."""
    return plain(text[:19].replace("T", " "))
