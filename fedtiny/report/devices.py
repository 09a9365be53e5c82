"""How each device stands and did in a span of time, from what the ledger has of it."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fedtiny.ledger import DeviceRow, Ledger, RevisionRow
from fedtiny.ledger.spans import ScoreTotal, fates_in, resource_peaks, score_totals, updates_in
from fedtiny.report.episodes import Episode
from fedtiny.report.span import Span

SILENT_S = 900.0  # a device that is well says how it does once a minute
ADOPTED_S = 60.0  # in which a device that is there takes a new head
Facts = dict[str, Any]


def device_facts(ledger: Ledger, span: Span, alarms: Sequence[Episode], wanted: set[str] | None) -> list[Facts]:
    """All devices, or those ``wanted``; those that need somebody first."""
    rows = {row.device: row for row in ledger.devices()}
    newest = max((row.last_seen_utc for row in rows.values() if row.last_seen_utc), default=None)
    scores, peaks = score_totals(ledger, *span.seconds), resource_peaks(ledger, *span.seconds)
    fates = fates_in(ledger, updates_in(ledger, span.since_utc, span.until_utc))
    release = ledger.current_release()
    release_id = release.release_id if release else None
    heads = [] if release is None else ledger.revisions(release.release_id)
    raised: dict[str, list[Episode]] = {}
    for one in alarms:
        raised.setdefault(one.device, []).append(one)
    names = rows.keys() | scores.keys() | fates.keys() | raised.keys()
    facts = [
        {
            **_standing(rows.get(name), newest),
            **_place(rows.get(name), heads, release_id),
            **_scored(scores.get(name)),
            **(peaks.get(name) or {}),
            "device": name,
            "alarms": len(raised.get(name, ())),
            "standing_alarms": [one.kind for one in raised.get(name, ()) if one.stands],
            "updates": fates.get(name, {}),
        }
        for name in (names if wanted is None else names & wanted)
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


def _standing(row: DeviceRow | None, newest: str | None) -> Facts:
    """Whether it takes part, and whether it is there: by its own word, or by its silence while others spoke."""
    if row is None:
        return {"standing": "active", "reason": None, "last_seen_utc": None, "state": "unheard"}
    state = json.loads(row.status or "{}").get("state", "unheard")
    if state == "online" and newest and row.last_seen_utc and _age(row.last_seen_utc, newest) > SILENT_S:
        state = "silent"
    return {"standing": row.standing, "reason": row.reason, "last_seen_utc": row.last_seen_utc, "state": state}


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


def _age(then: str, now: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(then)).total_seconds()


def versions(facts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The interpreters that the devices run, with how many of them."""
    names = [one["interpreter"] for one in facts if one.get("interpreter")]
    return {name: f"{names.count(name)} of {len(names)} devices" for name in sorted(set(names))}
