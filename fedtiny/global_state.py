"""What a fleet follows: the current release and its newest head, each kept in the ledger, signed, before it goes out.

One counter, the serial, numbers all that is published as release or head. A revision is published with one payload
only; whatever brings an older head or release back does it as a new revision.
"""

import logging
import time
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fedtiny.clock import utc_now
from fedtiny.errors import ConfigError, FedTinyError, ProtocolError
from fedtiny.ledger import PINNED, Ledger, RevisionRow
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import Base, HeadMessage, Message, ReleaseMessage, RoundMessage
from fedtiny.revision import from_message, to_message

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log = logging.getLogger(__name__)
State = dict[str, NDArray[Any]]
FURTHEST = 2**40  # revision: counting on must stay possible
LEAP = 2**20  # revisions that a leap may pass over: a year's of a busy fleet, and a millionth of the furthest


class GlobalState:
    """Release, head and the aggregator's state, as the ledger has them.

    Attributes:
        release: The current one.
        base: Its id and the newest revision.
        head: The head of that revision.
        release_serial, head_serial: Under which both were published.
        made_by: The strategy that made it; None where no round did.
        state: That strategy's, for the next round.
        payloads: The messages as they go out, by topic kind: release and head.
    """

    release: Release
    base: Base
    head: Head
    made_by: str | None

    def __init__(self, fleet: str, ledger: Ledger, key: "Ed25519PrivateKey | None") -> None:
        self._fleet, self._ledger, self._key = fleet, ledger, key
        self.payloads: dict[str, bytes] = {}
        self.state: State = {}

    def start(self, given: Release | None) -> None:
        """Go on where the ledger is; ``given`` is published where the ledger has never seen it."""
        current = self._ledger.current_release()
        if (
            current is None and self._key is not None
        ):  # above all that an earlier ledger has given out, devices remember
            self._ledger.outrun(int(time.time()))
        if current is not None:
            self._load(Release(self._ledger.release_data(current.release_id)))
        if given is not None and (current is None or given.id not in self._ledger.releases()):
            self.publish_release(given, "given at the start")
        elif current is None:
            raise ConfigError("no release yet: give one with --release")
        elif given is not None and given.id != self.release.id:
            log.warning(
                "release %s is known and not the current one: going on with %s", given.id[:12], self.release.id[:12]
            )
        if self._key is not None and not self._signed():
            self.publish_release(self.release, "signed with another key")

    def _signed(self) -> bool:
        assert self._key is not None
        try:
            for kind, payload in self.payloads.items():
                signing.verify(topics.fleet_topic(self._fleet, kind), payload, [signing.public_key(self._key)])
        except ProtocolError:
            return False
        return True

    def sealed(self, kind: str, message: Message) -> bytes:
        """``message`` as it goes out on the global topic ``kind``: signed where there is a key."""
        body, topic = codec.encode(message), topics.fleet_topic(self._fleet, kind)
        return body if self._key is None else signing.sign(topic, body, self._key, message.encoding)

    # --- publications; each is durable when the method returns, and changes nothing when it raises ---

    def publish_release(self, release: Release, why: str) -> None:
        """Make ``release`` the current one; its head is the newest that it has ever had, published anew."""
        with self._ledger.transaction():
            serial = self._ledger.next_serial()
            message = ReleaseMessage(release_id=release.id, serial=serial, tflite=release.data)
            self._ledger.publish_release(
                serial, release.id, release.data, self.sealed("release", message), why, utc_now()
            )
            newest = self._ledger.newest_revision(release.id)
            if newest is None:
                self._add_revision(release, 0, release.head, None, {})
            else:
                head = self._head_of(newest, release)
                self._add_revision(release, newest.revision + 1, head, newest.revision, {}, restores=newest.revision)
        self._load(release)
        log.info("release %s published: %s", release.id[:12], why)

    def publish_head(self, head: Head, state: State, closed: RoundMessage | None = None, num_examples: int = 0) -> None:
        """Make ``head`` the next revision; call ``reload`` once the transaction around it is through."""
        base = self.base
        self._add_revision(
            self.release, base.revision + 1, head, base.revision, state, closed=closed, num_examples=num_examples
        )

    def restore_head(self, revision: int) -> None:
        """Bring the head of an older revision back, as the next one."""
        row = self._ledger.revision(self.release.id, revision)
        if row is None:
            raise FedTinyError(f"release {self.release.id[:12]} has no revision {revision}")
        newest = self.base.revision
        self._add_revision(self.release, newest + 1, self._head_of(row, self.release), newest, {}, restores=revision)
        self.reload()

    def amend(self, release: Release, head: Head) -> None:
        """Make ``head`` the newest of a release; where it is not the current one, that is what a roll-back finds."""
        newest = self._ledger.newest_revision(release.id)
        assert newest is not None
        self._add_revision(release, newest.revision + 1, head, newest.revision, {})
        self.reload()

    def leap(self, revision: int) -> None:
        """Publish the current head as a revision above ``revision``, which devices say that they are at."""
        known = self.base.revision
        self._add_revision(self.release, revision + 1, self.head, known, {}, restores=known)
        self.reload()

    # --- what the fleet has and this ledger lacks ---

    def is_newer(self, message: HeadMessage) -> bool:
        """Whether a head of the current release is newer than all that the ledger has; ProtocolError: it is none."""
        if message.release_id != self.base.release_id or message.revision <= self.base.revision:
            return False
        if max(message.revision, message.serial) > FURTHEST:
            raise ProtocolError(f"head: revision {message.revision}, serial {message.serial}: no fleet comes to that")
        from_message(message, self.release)
        return True

    def adopt_head(self, payload: bytes) -> None:
        """Take a newer head over as it was published."""
        message = codec.decode(HeadMessage, payload)
        row = RevisionRow(
            release_id=message.release_id,
            revision=message.revision,
            serial=self._ledger.next_serial(),
            parent=message.parent,
            restores=message.restores,
            created_utc=utc_now(),
        )
        self._ledger.add_revision(row, payload)
        self._move_pin(message.revision)
        self.reload()

    def reload(self) -> None:
        """Take the newest head from the ledger."""
        self._load(self.release)

    def _load(self, release: Release) -> None:
        newest, current = self._ledger.newest_revision(release.id), self._ledger.current_release()
        assert newest is not None
        assert current is not None
        head = self._ledger.payload(newest)
        self.payloads = {"release": self._ledger.payload(current), "head": head}
        self.release_serial, self.head_serial = current.serial, newest.serial
        self.release, self.base = release, Base(release_id=release.id, revision=newest.revision)
        message = codec.decode(HeadMessage, head)
        self.head, self.made_by = from_message(message, release), message.strategy
        self.state = self._ledger.state(newest) or {}

    def _head_of(self, row: RevisionRow, release: Release) -> Head:
        return from_message(codec.decode(HeadMessage, self._ledger.payload(row)), release)

    def _add_revision(
        self,
        release: Release,
        revision: int,
        head: Head,
        parent: int | None,
        state: State,
        *,
        restores: int | None = None,
        closed: RoundMessage | None = None,
        num_examples: int = 0,
    ) -> None:
        serial = self._ledger.next_serial()
        base = Base(release_id=release.id, revision=revision)
        message = to_message(head, base, closed, num_examples).model_copy(
            update={"serial": serial, "parent": parent, "restores": restores}
        )
        row = RevisionRow(
            release_id=release.id,
            revision=revision,
            serial=serial,
            parent=parent,
            restores=restores,
            round=closed.round_number if closed else None,
            created_utc=utc_now(),
        )
        self._ledger.add_revision(row, self.sealed("head", message), state)
        self._move_pin(revision)

    def _move_pin(self, revision: int) -> None:
        """Where the head is pinned no round made a new one: it is an operator's, or the fleet's, and stays."""
        if self._ledger.setting(PINNED) is not None:
            self._ledger.set_setting(PINNED, str(revision))
