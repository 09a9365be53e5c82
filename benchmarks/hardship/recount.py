"""Makes every head of a ledger again from what the devices know to have sent, and compares it with the published one.

What the ledger says of a round is who was used and who was left out; of the updates it has only the digests. The bytes
are the devices' own. A ``fedavg`` head must be what its base and these updates make; a ``ridge`` head what the newest
statistics of every device make.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from fedtiny.federation.combine import Entry, combine
from fedtiny.federation.local import LocalUpdate
from fedtiny.federation.strategies import Strategy
from fedtiny.ledger import Ledger
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.protocol import codec
from fedtiny.protocol.messages import HeadMessage, UpdateMessage
from fedtiny.revision import from_message

ALIKE = 1e-6  # what two weights may differ by: a device that counts twice moves a head by far more


def recount(folder: Path, release: Release, strategy: Strategy, sent: Mapping[str, bytes]) -> dict[str, int]:
    """How much is wrong. sent: all updates by their SHA-256; strategy: ``fedavg`` or ``ridge``, with screening."""
    unlike = unknown = outdated = 0
    newest: dict[str, UpdateMessage] = {}  # of kind statistics
    with closing(Ledger(folder, guest=True)) as ledger:
        heads = {
            row.revision: from_message(codec.decode(HeadMessage, ledger.payload(row)), release)
            for row in ledger.revisions(release.id)
        }
        for number, revision, made in ledger.execute(
            "SELECT number, revision, made FROM rounds WHERE made IS NOT NULL ORDER BY number"
        ):
            rows = ledger.execute(
                "SELECT digest, fate FROM updates WHERE round = ? AND fate IN ('used', 'left out') ORDER BY device",
                number,
            )
            unknown += sum(digest not in sent for digest, _ in rows)
            came = [(codec.decode(UpdateMessage, sent[digest]), fate) for digest, fate in rows if digest in sent]
            older = [newest[device] for device in sorted(newest.keys() - {message.device for message, _ in came})]
            entries = [_entry(message, revision - message.base.revision) for message, _ in came]
            entries += [replace(_entry(message), new=False) for message in older]
            again = combine(strategy, partial(iter, entries), heads[revision], release.head.weights, {})
            left_out = {message.device for message, fate in came if fate == "left out"}
            unlike += again.left_out.keys() != left_out or not _alike(again.head, heads[made])
            if strategy.kind == "statistics":
                used = {message.device: message for message, fate in came if fate == "used"}
                both = used.keys() & newest.keys()
                outdated += sum(used[device].round_number < newest[device].round_number for device in both)
                newest |= used
    return {
        "heads_unlike_their_updates": unlike,
        "updates_that_nobody_sent": unknown,
        "statistics_older_than_those_before": outdated,
    }


def _entry(message: UpdateMessage, staleness: int = 0) -> Entry:
    update = LocalUpdate(**{name: getattr(message, name) for name in LocalUpdate.__dataclass_fields__})
    return Entry(message.device, update, staleness)


def _alike(one: Head, other: Head) -> bool:
    ranges = (one.output_min, one.output_max), (other.output_min, other.output_max)
    return ranges[0] == ranges[1] and bool((np.abs(one.weights - other.weights) <= ALIKE).all())
