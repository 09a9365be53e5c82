"""How each device stands and did in a span of time, from what the ledger has of it."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fedtiny.ledger import DeviceRow, Ledger, RevisionRow
from fedtiny.ledger.spans import ScoreTotal, fates_in, resource_peaks, score_totals, updates_in
from fedtiny.report.episodes import Tally
from fedtiny.report.span import Span

SILENT_S = 900.0  # a device that is well says how it does once a minute
ADOPTED_S = 60.0  # in which a device that is there takes a new head
Facts = dict[str, Any]


def device_facts(ledger: Ledger, span: Span, alarms: Tally, now: datetime) -> list[Facts]:
    """All devices, those that need somebody first."""
    rows = {row.device: row for row in ledger.devices()}
    scores, peaks = score_totals(ledger, *span.seconds), resource_peaks(ledger, *span.seconds)
    fates = fates_in(ledger, updates_in(ledger, span.since_utc, span.until_utc))
    release = ledger.current_release()
    release_id = release.release_id if release else None
    heads = [] if release is None else ledger.revisions(release.release_id)
    standing: dict[str, list[str]] = {}
    for one in alarms.standing:
        standing.setdefault(one.device, []).append(one.kind)
    lost = ledger.lost_alarms(span.since_utc, span.until_utc)
    names = rows.keys() | scores.keys() | fates.keys() | alarms.counts.keys()
    facts = [
        {
            **_standing(rows.get(name), now),
            **_place(rows.get(name), heads, release_id),
            **_scored(scores.get(name)),
            **(peaks.get(name) or {}),
            "device": name,
            "alarms": alarms.counts.get(name, 0),
            "alarms_lost": lost.get(name, 0),
            "standing_alarms": standing.get(name, []),
            "updates": fates.get(name, {}),
        }
        for name in names
    ]
    return sorted(facts, key=_need)


def _need(one: Facts) -> tuple[Any, ...]:
    """Sorts those that need somebody to the front."""
    return (
        not one["standing_alarms"],
        one["standing"] == "active",
        one["state"] in ("online", "unheard"),
        one["behind"] is None,
        not one.get("throttled"),
        -one["alarms"],
        -(one["share"] or 0.0),
        one["device"],
    )


def _standing(row: DeviceRow | None, now: datetime) -> Facts:
    """Whether it takes part, and whether it is there: by its own word, or by its silence.

    A last word that is still to come is of a clock that was wrong: when it was is not known, only that none came since.
    """
    if row is None:
        return {"standing": "active", "reason": None, "last_seen_utc": None, "state": "unheard"}
    state, seen = json.loads(row.status or "{}").get("state", "unheard"), row.last_seen_utc
    age = 0.0 if seen is None else (now - datetime.fromisoformat(seen)).total_seconds()
    if state == "online" and abs(age) > SILENT_S:
        state = "silent"
    return {
        "standing": row.standing,
        "reason": row.reason,
        "last_seen_utc": None if age < -SILENT_S else seen,
        "state": state,
    }


def _place(row: DeviceRow | None, heads: Sequence[RevisionRow], release_id: str | None) -> Facts:
    """The head that it is at. behind: how many revisions were there when it last spoke, and why it matters, or None."""
    status = json.loads((row and row.status) or "{}")
    base, behind = status.get("base") or {}, None
    if row is not None and row.last_seen_utc and base and release_id:
        spoke = (datetime.fromisoformat(row.last_seen_utc) - timedelta(seconds=ADOPTED_S)).isoformat()
        known = bisect_right(heads, spoke, key=lambda head: head.created_utc)
        if base["release_id"] != release_id:
            behind = "at another release"
        elif known and (missing := heads[known - 1].revision - base["revision"]) > 0:
            behind = f"{missing} revision{'s' if missing > 1 else ''} behind"
    return {
        "phase": status.get("phase"),
        "learned": status.get("learned"),
        "revision": base.get("revision"),
        "behind": behind,
        "head": (status.get("head") or {}).get("use"),
        "source": status.get("source"),
        "interpreter": status.get("interpreter"),
    }


def _scored(total: ScoreTotal | None) -> Facts:
    return {"windows": total and total.windows, "over": total and total.over, "share": total and total.share}


def unheard_since(facts: Sequence[Facts], until: datetime) -> str | None:
    """When the last word of any device came, where that was long before ``until``."""
    newest = max((one["last_seen_utc"] for one in facts if one["last_seen_utc"]), default=None)
    late = newest is not None and (until - datetime.fromisoformat(newest)).total_seconds() > SILENT_S
    return newest if late else None


def versions(facts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The interpreters that the devices run, with how many of them."""
    names = [one["interpreter"] for one in facts if one.get("interpreter")]
    return {name: f"{names.count(name)} of {len(names)} devices" for name in sorted(set(names))}
