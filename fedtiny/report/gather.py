"""What the ledger has of a span of time, as JSON can hold it: a few lines a device, the rest bounded.

Read beside a coordinator at work: no query takes a lock that it would wait for.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from fedtiny import __version__
from fedtiny.errors import ConfigError, DamagedError
from fedtiny.ledger import Ledger, OrderRow, RoundRow, ScoreRow
from fedtiny.ledger.spans import answered_in, answers_in, orders_in, refusals_in, rounds_in, updates_in
from fedtiny.orders import parse_order
from fedtiny.report.devices import SILENT_S, device_facts, unheard_since, versions
from fedtiny.report.episodes import tally
from fedtiny.report.span import Span
from fedtiny.report.values import finite

MACHINES = 24  # whose scores are drawn
ALARMS, REASONS, ORDERS = 200, 40, 100
ROUNDS, NAMED_ROUNDS = 300, 60  # the newest; those with names of devices
NAMED = 8  # devices that a round names
Facts = dict[str, Any]


def gather(ledger: Ledger, span: Span, now: datetime, wanted: Collection[str] = ()) -> Facts:
    """The report's facts as of ``now``; of the devices ``wanted`` where there are any.

    Raises ConfigError where one of these is unknown.
    """
    alarms = tally(ledger.alarms(span.since_utc, span.until_utc), ALARMS, wanted)
    fleet = device_facts(ledger, span, alarms, now)
    unheard = unheard_since(fleet, min(span.until, now))
    _check(wanted, [one["device"] for one in fleet])
    if wanted:
        fleet = [one for one in fleet if one["device"] in wanted]
    ids = updates_in(ledger, span.since_utc, span.until_utc)
    rounds = rounds_in(ledger, span.since_utc, span.until_utc)
    listed = [*alarms.standing, *alarms.over]
    listed.sort(key=lambda one: (not one.stands, one.acknowledged_utc is not None))  # stable: then as they came
    drawn = [one["device"] for one in fleet if one["windows"]][:MACHINES]
    refusals = refusals_in(ledger, ids)
    facts = {
        "created_utc": now.isoformat(timespec="seconds"),
        "since_utc": span.since_utc,
        "until_utc": span.until_utc,
        "past": (now - span.until).total_seconds() > SILENT_S,
        "unheard_since_utc": unheard,
        "only": sorted(wanted),
        "fleet": fleet,
        "alarms": [asdict(one) | {"bands": json.loads(one.bands)} for one in listed[:ALARMS]],
        "machines": [_machine(name, rows) for name, rows in ledger.scores(drawn, *span.seconds).items()],
        "rounds": _rounds(ledger, rounds[-ROUNDS:], ids, [one["device"] for one in fleet]),
        "updates": [one._asdict() for one in refusals[:REASONS]],
        **_published(ledger, span),
        "orders": [_order(row) for row in orders_in(ledger, span.since_utc, span.until_utc)[-ORDERS:]],
        "counts": {
            "alarms": sum(one["alarms"] for one in fleet),
            "standing": len(alarms.standing),
            "alarms_lost": ledger.lost_alarms(span.since_utc, span.until_utc).get("", 0),
            "scored": sum(one["windows"] is not None for one in fleet),
            "rounds": len(rounds),
            "made": sum(row.made is not None for row in rounds),
            "refusals": len(refusals),
        },
        "versions": {"fedtiny": __version__, **versions(fleet)},
    }
    return cast(Facts, finite(facts))


def _check(wanted: Collection[str], known: Sequence[str]) -> None:
    if unknown := sorted(set(wanted) - set(known)):
        listed = ", ".join(sorted(known)[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise ConfigError(f"device {unknown[0]!r}: unknown; the ledger has {listed or 'none'}")


def _machine(name: str, rows: Sequence[ScoreRow]) -> Facts:
    """A machine's scores over time, as shares of the threshold that each stood under."""
    return {
        "device": name,
        "start": [row.start for row in rows],
        "largest": [row.share for row in rows],
        "mean": [_share(row) for row in rows],
        "threshold": next((row.threshold for row in reversed(rows) if row.threshold), None),
    }


def _share(row: ScoreRow) -> float | None:
    return row.mean / row.threshold if row.threshold else None


def _rounds(ledger: Ledger, rounds: Sequence[RoundRow], ids: tuple[int, int], devices: Sequence[str]) -> list[Facts]:
    counts = answered_in(ledger, ids)
    answers = answers_in(ledger, ids, rounds[-NAMED_ROUNDS:][0].number) if rounds else {}
    head_bytes = _head_bytes(ledger, rounds)
    facts = []
    for row in rounds:
        answered = answers.get(row.number, [])
        number = counts.get(row.number, 0)
        asked = {*(devices if row.invited is None else row.invited), *answered}
        facts.append(
            {
                "round": row.number,
                "revision": row.made,
                "opened_utc": row.opened_utc,
                "closed_utc": row.closed_utc,
                "strategy": row.strategy,
                "outcome": row.outcome,
                "answered": number,
                "devices": len(asked),
                "participants": answered[:NAMED],
                "missing": sorted(asked - set(answered))[:NAMED] if answered else [],
                "loss_before": row.loss_before,
                "loss_after": row.loss_after,
                "bytes_up": row.bytes_up,
                "bytes_down": None if row.made is None or head_bytes is None else head_bytes * len(asked),
            }
        )
    return facts


def _head_bytes(ledger: Ledger, rounds: Sequence[RoundRow]) -> int | None:
    """The size of the newest head's message; those of one release differ by a few bytes."""
    made = [row for row in rounds if row.made is not None]
    row = ledger.revision(made[-1].release_id, made[-1].made or 0) if made else None
    try:
        return None if row is None else len(ledger.payload(row))
    except DamagedError:  # the coordinator's trouble, not the reader's
        return None


def _published(ledger: Ledger, span: Span) -> Facts:
    """The current release with its newest head, and what was published as a release in the span."""
    current = ledger.current_release()
    heads = [] if current is None else ledger.revisions(current.release_id)
    return {
        "release": None
        if current is None
        else {
            "release_id": current.release_id,
            "published_utc": current.published_utc,
            "revision": heads[-1].revision if heads else None,
            "new_heads": sum(span.since_utc <= head.created_utc < span.until_utc for head in heads[1:]),
        },
        "publications": [
            {"release_id": row.release_id, "at_utc": row.published_utc, "why": row.why}
            for row in ledger.publications()
            if span.since_utc <= row.published_utc < span.until_utc
        ][-ORDERS:],
    }


def _order(row: OrderRow) -> Facts:
    try:
        what = " ".join(str(value) for value in parse_order(row.what).model_dump(exclude_none=True).values())
    except ConfigError:  # of another version
        what = row.what[:200]
    return {"at_utc": row.at_utc, "what": what, "done_utc": row.done_utc, "ok": row.ok, "outcome": row.outcome}
