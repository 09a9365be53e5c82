"""A coordinator's ledger of a made-up fleet, written as the coordinator writes it."""

import hashlib
from datetime import UTC, datetime

from fedtiny.history import History
from fedtiny.ledger import RevisionRow, RoundRow, ScoreRow, UpdateRow
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Alarm, BandShare, Base, DeviceStatus, HealthReport

NOON = 1_800_000_000 // 86_400 * 86_400 + 43_200  # 15 January 2027
HOUR, DAY = 3600, 86_400
FILE = b"release"
RELEASE = hashlib.sha256(FILE).hexdigest()
BANDS = (BandShare(channel="vertical", share=0.41, low_hz=1180.2, high_hz=1502.9, low_order=47.2, high_order=60.1),)


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


class Fleet:
    """Writes into ``ledger``, at times in seconds before noon."""

    def __init__(self, ledger):
        self.ledger, self.now = ledger, NOON
        self.history = History(ledger, 400, lambda: self.now)

    def publish(self, ago=3 * DAY):
        self.ledger.publish_release(1, RELEASE, FILE, b"message", "given at the start", iso(NOON - ago))
        self.head(0, ago)

    def head(self, revision, ago, **more):
        serial = self.ledger.next_serial()
        row = RevisionRow(release_id=RELEASE, revision=revision, serial=serial, created_utc=iso(NOON - ago), **more)
        self.ledger.add_revision(row, b"head %d" % revision)

    def alarm(self, device, number, state, ago, *, raised=None, clock=0, epoch="e", kind="machine", **more):
        """``clock``: by how many seconds the device's is wrong; ``raised``: when, as its clock says; now by default."""
        self.now = NOON - ago
        at = iso(self.now + clock)
        raised = at if raised is None else iso(NOON - raised + clock)
        values = {"window": 7, "at_utc": at, "raised_utc": raised, "epoch": epoch, "kind": kind, "score": 5.2}
        values |= {"threshold": 4.0, "reason": "3 of the last 5 windows", "bands": BANDS if state == "raised" else ()}
        message = Alarm(device=device, number=number, state=state, **values | more)
        self.history.take(topics.parse(topics.device_topic("plant", device, "alarm")), codec.encode(message))

    def scores(self, devices, share=0.5, since=DAY, step=HOUR):
        """A row every ``step`` for each of ``devices``; ``share``: of the threshold."""
        over = 100 if share >= 1 else 0
        self.ledger.add_scores(
            ScoreRow(start, device, 300, over, share * 3, share * 4, share, 4.0, 2.0)
            for start in range(NOON - since, NOON, step)
            for device in devices
        )

    def status(self, *devices, ago=20, revision=0, **more):
        base = Base(release_id=RELEASE, revision=revision)
        values = {"state": "online", "phase": "watching", "interpreter": "litert 2.3.0", "peak_rss_mb": 66.0} | more
        said = {d: DeviceStatus(device=d, base=base, **values) for d in devices}
        self.ledger.saw({d: (iso(NOON - ago), status.model_dump_json()) for d, status in said.items()})
        self.now = NOON - ago
        for status in said.values():
            health = HealthReport(cpu_share=0.12, temperature_c=51.0, throttled_now=("under-voltage",) * (revision < 0))
            self.history.take_status(status.model_copy(update={"health": health}))
        self.history.flush(all_of_it=True)

    def round(self, number, devices, ago, outcome=None):
        """Closed with a head of all ``devices``, or with ``outcome``."""
        base = self.ledger.newest_revision(RELEASE).revision
        opened = {"release_id": RELEASE, "revision": base, "strategy": "fedavg", "deadline_s": 60}
        self.ledger.open_round(RoundRow(number=number, opened_utc=iso(NOON - ago), **opened))
        with self.ledger.transaction():
            for device in devices:
                self.ledger.add_update(self.update(device, number, base, ago), b"payload")
            if outcome is not None:
                self.ledger.settle(number, "abandoned", outcome)
                self.ledger.close_round(number, iso(NOON - ago + 60), outcome)
                return
            self.ledger.settle(number, "used")
            self.head(base + 1, ago - 2, parent=base, round=number)
            done = {"losses": (0.5, 0.25), "bytes_up": 8205 * len(devices), "made": base + 1}
            self.ledger.close_round(number, iso(NOON - ago + 2), f"revision {base + 1}", **done)

    def update(self, device, number, base, ago):
        digest = hashlib.sha256(f"{device} {number}".encode()).hexdigest()
        losses = {"output_min": -1.0, "output_max": 1.0, "loss_before": 0.5, "loss_after": 0.25, "num_examples": 9}
        known = {"round_claimed": number, "round": number, "base_release": RELEASE, "base_revision": base}
        return UpdateRow(
            device=device, digest=digest, bytes=8205, received_utc=iso(NOON - ago + 1), kind="delta", **known, **losses
        )
