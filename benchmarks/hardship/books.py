"""Does a coordinator's ledger balance? What devices know to be delivered and what was published against its rows."""

import time
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.shared.observer import Observer
from fedtiny.coordinator import LISTEN_S
from fedtiny.federation.rounds import RESUME_S
from fedtiny.ledger import Ledger
from fedtiny.protocol import codec
from fedtiny.protocol.messages import HeadMessage

SLACK_S = 1.0  # a turn of the coordinator's loop, and the ledger's whole seconds

# What must not be there: each counts rows.
NEVER = {
    "updates_that_wait_for_a_closed_round": (
        "SELECT count(*) FROM updates JOIN rounds ON number = round WHERE fate = 'waiting' AND outcome IS NOT NULL"
    ),
    "updates_without_a_reason": (
        "SELECT count(*) FROM updates WHERE fate IN ('left out', 'refused', 'abandoned') AND reason IS NULL"
    ),
    "updates_used_in_a_round_that_made_no_head": (
        "SELECT count(*) FROM updates LEFT JOIN rounds ON number = round WHERE fate = 'used' AND made IS NULL"
    ),
    "updates_counted_twice": (  # whatever stood in front of them: losses say which is which
        "SELECT count(*) FROM (SELECT 1 FROM updates WHERE fate <> 'refused' GROUP BY device, round_claimed, "
        "base_revision, num_examples, loss_before, loss_after HAVING count(*) > 1)"
    ),
    "devices_counted_twice_in_a_round": (
        "SELECT count(*) FROM (SELECT 1 FROM updates WHERE fate <> 'refused' GROUP BY round, device "
        "HAVING count(*) > 1)"
    ),
    "revisions_without_their_parent": (
        "SELECT count(*) FROM revisions r WHERE parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM revisions p "
        "WHERE p.release_id = r.release_id AND p.revision = r.parent)"
    ),
    "rounds_left_out_of_the_count": "SELECT coalesce(max(number), 0) - count(*) FROM rounds",
}


def missing(folder: Path, delivered: Iterable[str]) -> set[str]:
    """Of the updates ``delivered``, by SHA-256 or its first digits, those that are not in the ledger exactly once."""
    with closing(Ledger(folder, guest=True)) as ledger:
        kept = [digest for (digest,) in ledger.execute("SELECT digest FROM updates")]
    wanted = set(delivered)
    lengths = {len(digits) for digits in wanted}
    found = Counter(digest[:length] for digest in kept for length in lengths)
    return {digits for digits in wanted if found[digits] != 1}


def audit(folder: Path, delivered: Collection[str], observer: Observer) -> dict[str, Any]:
    """The figures of a ledger, and under "wrong" what does not balance; arguments as of ``missing``."""
    with closing(Ledger(folder, guest=True)) as ledger:
        wrong = {name: int(ledger.execute(query)[0][0]) for name, query in NEVER.items()}
        wrong["heads_of_more_or_less_than_their_updates"] = sum(
            not _tells_its_updates(ledger, round_number, revision, name)
            for round_number, revision, name in ledger.execute(
                "SELECT round, revision, object FROM revisions WHERE round IS NOT NULL"
            )
        )
        published = {(release, revision): {name} for release, revision, name in ledger.execute(
            "SELECT release_id, revision, object FROM revisions"
        )}  # fmt: skip
        made, abandoned = (
            int(ledger.execute(f"SELECT count(*) FROM rounds WHERE outcome IS NOT NULL AND made IS {null}")[0][0])
            for null in ("NOT NULL", "NULL")
        )
        fates = dict(ledger.execute("SELECT fate, count(*) FROM updates GROUP BY fate"))
    wrong["updates_lost"] = len(missing(folder, delivered))
    wrong["heads_seen_unlike_the_ledgers"] = sum(
        digests != published.get(which) for which, digests in observer.heads.items()
    )
    return {
        "rounds_that_made_a_head": made,
        "rounds_abandoned": abandoned,
        "updates_delivered": len(delivered),
        "updates_by_fate": {str(fate): int(count) for fate, count in sorted(fates.items())},
        "wrong": wrong | observer.wrong(),
    }


def _tells_its_updates(ledger: Ledger, round_number: int, revision: int, name: str) -> bool:
    """Whether a head's message states as many examples as the updates that were used for it have."""
    message = codec.decode(HeadMessage, ledger.get_object(name))
    ((examples,),) = ledger.execute(
        "SELECT sum(num_examples) FROM updates WHERE round = ? AND fate = 'used'", round_number
    )
    return bool(message.revision == revision and message.num_examples == examples)


@dataclass(frozen=True)
class Wait:
    """How long a round was, or is, open beyond its deadline, s, without the time in which the coordinator was away.

    returns: how many times it came back meanwhile.
    """

    round_number: int
    beyond_s: float
    returns: int

    @property
    def overdue(self) -> bool:
        """Whether it is longer than may be: after each return it listens, and waits for what is delivered again."""
        return self.beyond_s > self.returns * (LISTEN_S + RESUME_S) + SLACK_S


def waits(folder: Path, away: Iterable[tuple[float, float]]) -> list[Wait]:
    """Of all rounds, one that is open up to now, from the ledger's times, which are whole seconds.

    away: when the coordinator was dead or without its broker, (from, to) in seconds since 1970.
    """
    absences, now = list(away), time.time()
    found = []
    with closing(Ledger(folder, guest=True)) as ledger:
        for number, opened_utc, closed_utc, deadline_s in ledger.execute(
            "SELECT number, opened_utc, closed_utc, deadline_s FROM rounds"
        ):
            opened = datetime.fromisoformat(opened_utc).timestamp()
            closed = datetime.fromisoformat(closed_utc).timestamp() if closed_utc else now
            gone = [min(closed, end) - max(opened, begin) for begin, end in absences if begin < closed and end > opened]
            found.append(Wait(number, closed - opened - deadline_s - sum(gone), len(gone)))
    return found
