"""The verdict on a span of time: what needs somebody now, worst first, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedtiny.report.alarms import bands, began, lasted, times_threshold
from fedtiny.report.html import items, text
from fedtiny.report.numbers import counted
from fedtiny.report.times import between, when
from fedtiny.report.values import as_dicts, dig, word

NAMED = 10  # of one kind
Item = tuple[str, str, str]  # style, what stands out, the rest


def attention(report: Mapping[str, Any]) -> str:
    """A sentence, and a list where there is anything to list."""
    fleet = as_dicts(report, "fleet")
    past = bool(report.get("past"))
    found = [*_alarms(report), *_lost(report, fleet), *_unheard(report)]
    found += [*([] if past else _present(report, fleet)), *_weak(fleet), *_rounds(report)]
    if found:
        lead, rest = "These need attention.", ""
    elif not _heard(report, fleet):
        lead, rest = "Nothing was heard in this span.", _newest(fleet)
    else:
        lead, rest = "Nothing needs attention.", _quiet(report, fleet)
    return f'<p class="verdict"><strong>{text(lead)}</strong> {text(rest)}</p>' + (items(found) if found else "")


def _heard(report: Mapping[str, Any], fleet: Sequence[Mapping[str, Any]]) -> bool:
    keys = ("alarms", "rounds", "updates", "orders", "publications")
    return any(report.get(key) for key in keys) or any(one.get("windows") or one.get("updates") for one in fleet)


def _newest(fleet: Sequence[Mapping[str, Any]]) -> str:
    last = max((str(one["last_seen_utc"]) for one in fleet if one.get("last_seen_utc")), default=None)
    return f"The newest word of a device is of {when(last)}." if last else "The ledger knows no device yet."


def _quiet(report: Mapping[str, Any], fleet: Sequence[Mapping[str, Any]]) -> str:
    scored = sum(bool(one.get("windows")) for one in fleet)
    past = as_dicts(report, "alarms")
    said = f"{counted(scored, 'machine')} of {len(fleet)} {'was' if scored == 1 else 'were'} scored"
    return f"{said}; {counted(len(past), 'alarm')} came and went." if past else f"{said}; no alarm was raised."


def _alarms(report: Mapping[str, Any]) -> list[Item]:
    standing = [one for one in as_dicts(report, "alarms") if one.get("stands")]
    found = []
    for one in standing[:NAMED]:
        seen = "acknowledged" if one.get("acknowledged_utc") else "not acknowledged"
        words = f"{word(one.get('kind'))} alarm since {began(one)}, {lasted(one, report.get('until_utc'))}, {seen}: "
        words += word(one.get("reason"))
        if one.get("score") is not None:
            words += f"; score {times_threshold(one)}"
        if one.get("bands"):
            words += f"; stood out: {bands(one['bands'])}"
        found.append(("alarm" if seen != "acknowledged" else "warn", word(one.get("device")), words + "."))
    more = max(len(standing), dig(report, "counts", "standing") or 0) - NAMED
    if more > 0:
        found.append(("alarm", f"{counted(more, 'more alarm')}:", _names(standing[NAMED:], more) + "."))
    return found


def _lost(report: Mapping[str, Any], fleet: Sequence[Mapping[str, Any]]) -> list[Item]:
    """What the ledger has not kept, so that nobody takes the rest for all."""
    found = []
    flapping = sorted((one for one in fleet if one.get("alarms_lost")), key=lambda one: -one["alarms_lost"])
    for one in flapping[:NAMED]:
        words = f"{counted(one['alarms_lost'], 'alarm message')} of this device were not kept: too many in a day."
        found.append(("warn", word(one.get("device")), words))
    if more := flapping[NAMED:]:
        found.append(("warn", f"{counted(len(more), 'more device')} with too many alarms:", f"{_names(more)}."))
    if lost := dig(report, "counts", "alarms_lost"):
        found.append(("warn", "The whole fleet:", f"{counted(lost, 'alarm message')} were not kept: too many in all."))
    return found


def _unheard(report: Mapping[str, Any]) -> list[Item]:
    since = report.get("unheard_since_utc")
    if since is None:
        return []
    ends = min(str(report.get("until_utc")), str(report.get("created_utc")))
    words = f"{when(since)}, {between(since, ends)}: is the coordinator there, and the broker?"
    return [("alarm", "No device was heard since", words)]


def _present(report: Mapping[str, Any], fleet: Sequence[Mapping[str, Any]]) -> list[Item]:
    """How devices stand now; one that fell silent with all others is not named again."""
    gone = ("offline",) if report.get("unheard_since_utc") else ("offline", "silent")
    away = [one for one in fleet if one.get("state") in gone]
    out = [one for one in fleet if one.get("standing") != "active"]
    behind = [one for one in fleet if one.get("behind") and one not in away and one not in out]
    found: list[Item] = []
    if away:
        words, last = _names(away), away[0].get("last_seen_utc")
        if len(away) == 1 and last:
            words += f" since {when(last)}, {between(last, report.get('created_utc'))}"
        found.append(("warn", f"{counted(len(away), 'device')} offline or silent:", f"{words}."))
    for one in out[:NAMED]:
        words = f"{word(one.get('standing'))}: {word(one.get('reason'))}; its updates do not count."
        found.append(("warn", word(one.get("device")), words))
    if more := out[NAMED:]:
        found.append(("warn", f"{counted(len(more), 'more device')} blocked or quarantined:", f"{_names(more)}."))
    if behind:
        words = "; ".join(f"{word(one.get('device'))} {word(one.get('behind'))}" for one in behind[:NAMED])
        more_behind = f" and {len(behind) - NAMED} more" if len(behind) > NAMED else ""
        found.append(("warn", f"{counted(len(behind), 'device')} not at the newest head:", f"{words}{more_behind}."))
    return found


def _weak(fleet: Sequence[Mapping[str, Any]]) -> list[Item]:
    weak = [one for one in fleet if one.get("throttled")]
    words = f"{_names(weak)}. Under-voltage or heat: a better power supply, or more air."
    return [("warn", f"{counted(len(weak), 'computer')} slowed down:", words)] if weak else []


def _rounds(report: Mapping[str, Any]) -> list[Item]:
    """Rounds that came to nothing, as long as none has made a head since."""
    closed = [entry for entry in as_dicts(report, "rounds") if entry.get("closed_utc")]
    in_vain = 0
    while in_vain < len(closed) and closed[-1 - in_vain].get("revision") is None:
        in_vain += 1
    if not in_vain:
        return []
    lead = "The last round" if in_vain == 1 else f"The last {counted(in_vain, 'round')}"
    return [("warn", f"{lead} made no head:", f"{word(closed[-1].get('outcome'))}.")]


def _names(entries: Sequence[Mapping[str, Any]], of: int | None = None) -> str:
    """The first names; ``of``: how many there are, where these are not all."""
    names = [word(one.get("device")) for one in entries[:NAMED]]
    more = (len(entries) if of is None else of) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
