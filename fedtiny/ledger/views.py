"""What operators see of the ledger, as JSON can hold it."""

import json
from typing import Any

from fedtiny.errors import ConfigError
from fedtiny.ledger import PINNED, Ledger
from fedtiny.ledger.rows import DeviceRow

UPDATES_SHOWN = 20


def fleet_view(ledger: Ledger) -> list[dict[str, Any]]:
    """Every device that was seen, judged, or has sent an update, in the order of their names."""
    devices = {row.device: row for row in ledger.devices()}
    tallies = ledger.tallies()
    return [
        _device(devices.get(name) or _unseen(name), dict(tallies.get(name, {})))
        for name in sorted(devices.keys() | tallies.keys())
    ]


def device_view(ledger: Ledger, name: str) -> dict[str, Any]:
    """All about one device; ConfigError where the ledger knows nothing of it."""
    tally = dict(ledger.tallies().get(name, {}))
    row = ledger.device(name)
    if row is None and not tally:
        known = [device["device"] for device in fleet_view(ledger)]
        listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise ConfigError(f"device {name!r}: unknown; the ledger has {listed or 'none'}")
    row = row or _unseen(name)
    return {
        **_device(row, tally),
        "first_seen_utc": row.first_seen_utc,
        "status": json.loads(row.status or "{}"),
        "updates": [vars(update) for update in ledger.updates_of(name, UPDATES_SHOWN)],
    }


def releases_view(ledger: Ledger) -> list[dict[str, Any]]:
    """Every release, in the order in which they came, with its last publication and its newest revision."""
    current = ledger.current_release()
    published = {row.release_id: row for row in ledger.publications()}  # the last one of each
    view = []
    for release_id in ledger.releases():
        newest, last = ledger.newest_revision(release_id), published.get(release_id)
        view.append(
            {
                "release_id": release_id,
                "current": current is not None and current.release_id == release_id,
                "published_utc": last and last.published_utc,
                "why": last and last.why,
                "revision": newest and newest.revision,
            }
        )
    return view


def heads_view(ledger: Ledger, release_id: str) -> list[dict[str, Any]]:
    """Every revision of a release, newest first, with the round that made it."""
    pinned, view = ledger.setting(PINNED), []
    newest = ledger.newest_revision(release_id)
    for row in reversed(ledger.revisions(release_id)):
        made_by = None if row.round is None else ledger.round(row.round)
        view.append(
            {
                "revision": row.revision,
                "pinned": pinned is not None and row == newest,
                "created_utc": row.created_utc,
                "parent": row.parent,
                "restores": row.restores,
                "round": row.round,
                "strategy": made_by and made_by.strategy,
                "loss_before": made_by and made_by.loss_before,
                "loss_after": made_by and made_by.loss_after,
            }
        )
    return view


def _unseen(name: str) -> DeviceRow:
    return DeviceRow(name, None, None, "active", None, 0, None)


def _device(row: DeviceRow, tally: dict[Any, int]) -> dict[str, Any]:
    status = json.loads(row.status or "{}")
    return {
        "device": row.device,
        "standing": row.standing,
        "reason": row.reason,
        "strikes": row.strikes,
        "last_seen_utc": row.last_seen_utc,
        "state": status.get("state"),
        "phase": status.get("phase"),
        "revision": (status.get("base") or {}).get("revision"),
        "head": (status.get("head") or {}).get("use"),
        "counts": tally,
    }
