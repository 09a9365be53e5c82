"""Hostile messages, the same for the same seed: valid ones that are damaged, and wrong values in every field.

Three ways, on every topic: the bytes of a valid message are mutated; a field gets a value that it should not have, or a
number at the end of its range; what a message carries (a delta, statistics, a head, a release) is itself made to hurt.
"""

import hashlib
import json
import math
import random
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import cbor2
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fedtiny.errors import ReleaseError
from fedtiny.federation.updates import pack_delta
from fedtiny.model.artifact import Release, sealed
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import (
    Alarm,
    BandShare,
    Base,
    Command,
    DeviceStatus,
    FleetCommand,
    FleetStatus,
    HeadInUse,
    HeadMessage,
    Kind,
    Message,
    PointStatus,
    ReleaseMessage,
    RoundMessage,
    ScoreSummary,
    StandingAlarm,
    UpdateMessage,
)

FLEET, VICTIM = "plant", "pump-07"
DEVICES = (VICTIM, *(f"rogue-{number:02d}" for number in range(24)))
UTC_TEXT = "2026-01-01T00:00:00Z"
KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)) for name in ("staff", "device", "nobody")}

NUMBERS = (0, 1, -1, 255, 2**31, 2**53, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), -(2**64))
FLOATS = (0.0, -0.0, 5e-324, -5e-324, 1e-40, 1e38, 1e308, -1e308, math.inf, -math.inf, math.nan, 1e6, -1e6, 1e-6)
TEXTS = (
    "",
    "\0",
    "\x1b[2J\x1b]0;owned\a",
    "a\nERROR forged",
    "\u202egpj.exe",
    "\ufeff",
    "é" * 4000,
    "pump-07\n",
    "../../etc",
    "%s%n",
    "'; DROP TABLE updates; --",
    "9" * 4301,
)
ODD_TOPICS = (
    "fedtiny/v1/plant/up/٠/rogue-00/update",
    "fedtiny/v1/plant/up/00000/rogue-00/update",
    "fedtiny/v1/plant/up/-1/rogue-00/update",
    "fedtiny/v1/plant/up/0/Rogue-00/update",
    "fedtiny/v1/plant/up/0/ｒogue/update",
    "fedtiny/v1/plant/up/0/rogue-00/update/",
    "fedtiny/v1/plant/up/0/rogue-00/update\n",
    "fedtiny/v1/plant/up/0/\x1b[31mred/update",
    "fedtiny/v1/plant/device/a b/status",
    "fedtiny/v1/plant/device//status",
    "fedtiny/v1/plant/device/" + "x" * 64 + "/status",
    "fedtiny/v1/plant/device/pump-07/firmware",
    "fedtiny/v1/plant/global/head/..",
    "fedtiny/v2/plant/global/head",
    "fedtiny/v1/p\u0131ant/global/head",
    "fedtiny/v1/other/global/round",
    "fedtiny/v1/plant/device/pump\u200b-07/alarm",
    "$SYS/broker/version",
    "/" * 200,
    "x" * 60_000,
)


@dataclass(frozen=True)
class Hostile:
    """A message as the broker would hand it out. runs: a release that is sealed and would reach an interpreter."""

    topic: str
    payload: bytes
    retained: bool = False
    runs: bool = False


@dataclass
class Now:
    """What is open at the receivers, and what is asked for, so that not every update is simply late."""

    base: Base
    round_number: int = 1
    kind: Kind = "delta"


def certificate(name: str, issuer: str, key: Ed25519PrivateKey, signer: Ed25519PrivateKey) -> x509.Certificate:
    """One that is the same in every run."""
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer))
    return (
        x509.CertificateBuilder(by, subject, key.public_key(), 1)
        .not_valid_before(datetime(1970, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
        .sign(signer, None)
    )


CA = certificate("ca", "ca", KEYS["staff"], KEYS["staff"])
CERTIFICATES = {
    name: certificate(name, "ca", KEYS["device"], KEYS["staff"]).public_bytes(Encoding.DER) for name in DEVICES
}
BOMBS = (
    zlib.compress(bytes(50_000_000), 9),
    zlib.compress(zlib.compress(bytes(50_000_000), 9), 9),
    zlib.compress(b"")[:2] + b"\0\0\0\xff\xff" * 50_000,  # never ends, never gives a byte
)


class Generator:
    """An endless row of hostile messages; ``now`` may be changed on the way. release: that the receivers know."""

    def __init__(self, seed: int, release: Release) -> None:
        self._chance, self._rng = random.Random(seed), np.random.default_rng(seed)
        self._release, self._shape = release, release.head.weights.shape
        self.now = Now(Base(release_id=release.id, revision=0))
        self._last = b"fedtiny"
        manifest = release.data.find(b'"sample_rate_hz"')
        self._structure = (
            (0, 2_000),
            (manifest - 100, manifest + 3_000),
            (len(release.data) - 8_000, len(release.data)),
        )

    def message(self) -> Hostile:
        """The next one."""
        make: Callable[[], Hostile] = self._choose(
            (30, self._update),
            (15, self._head),
            (13, self._round),
            (5, self._release_message),
            (30, self._told),
            (5, self._command),
            (2, self._fleet_command),
        )
        made = make()
        if self._chance.random() < 0.05:
            made = Hostile(self._odd_topic(made.topic), made.payload, made.retained)
        self._last = made.payload[:4096]
        return made

    def _choose(self, *weighted: tuple[int, Any]) -> Any:
        return self._chance.choices([one for _, one in weighted], [weight for weight, _ in weighted])[0]

    # --- each kind, as valid as it may come ---

    def _update(self) -> Hostile:
        c, device = self._chance, self._chance.choice(DEVICES)
        kind = self.now.kind if c.random() < 0.95 else c.choice(("delta", "statistics"))
        count = c.choice((1, 36, 36, 36, 100_000))
        valid = UpdateMessage(
            device=device,
            round_number=self.now.round_number,
            base=self.now.base,
            kind=kind,
            num_examples=count,
            payload=self._delta() if kind == "delta" else self._statistics(count),
            certificate=CERTIFICATES[device],
            output_min=c.choice((-3.0, -3.0, -3.0, -1e6, 5e-324)),
            output_max=c.choice((3.0, 3.0, 3.0, 1e6, 1e-7)),
            loss_before=c.choice((*[0.5] * 12, 0.0, 1e12, 1e308)),
            loss_after=c.choice((*[0.4] * 12, 5e-324, 1e308)),
        )
        return self._hurt(topics.update_topic(FLEET, device, 1), valid, KEYS["device"])

    def _head(self) -> Hostile:
        c = self._chance
        valid = HeadMessage(
            release_id=self.now.base.release_id,
            revision=c.choice((min(self.now.base.revision + 1, 2**53), 1, c.randrange(2**53), 2**53)),
            serial=c.choice((0, 5, c.randrange(2**53), 2**53)),
            weights=self._numbers("<f4", self._shape).tobytes(),
            output_min=c.choice((-3.0, -1e6, -1e-7)),
            output_max=c.choice((3.0, 1e6, 1e-7)),
            strategy="fedavg",
        )
        return self._hurt(topics.fleet_topic(FLEET, "head"), valid, KEYS["staff"], retained=c.random() < 0.5)

    def _round(self) -> Hostile:
        c = self._chance
        valid = RoundMessage(
            round_number=c.choice((self.now.round_number, 1, c.randrange(2**53), 2**53)),
            state=c.choice(("open", "open", "closed")),
            base=self.now.base,
            strategy="fedavg",
            kind=c.choice(("delta", "statistics")),
            mode=c.choice(("rounds", "buffered")),
            max_staleness=c.choice((0, 2**53)),
            invited=c.choice((None, (), (VICTIM,), DEVICES)),
            signed=c.random() < 0.2,
            proximal=c.choice((0.3, 0.3, 1e-6, 1e6)),
            shards=c.choice((1, 1024)),
            deadline_s=c.choice((10.0, -1e308, 1e308)),
            opened_utc=UTC_TEXT,
        )
        return self._hurt(topics.fleet_topic(FLEET, "round"), valid, KEYS["staff"], retained=c.random() < 0.5)

    def _told(self) -> Hostile:
        """Whatever devices and the coordinator say of themselves."""
        c, device = self._chance, self._chance.choice(DEVICES)
        head = HeadInUse(use="global", revision=1, loss_global=0.5)
        point = PointStatus(learned=1.0, threshold=2.0)
        band = BandShare(channel="x", share=0.5, low_hz=10.0, high_hz=20.0)
        standing = StandingAlarm(kind="machine", state="raised", raised_utc=UTC_TEXT)
        kind, valid = c.choice(
            (
                (
                    "status",
                    DeviceStatus(
                        device=device,
                        state=c.choice(("online", "offline")),
                        boot_id=f"{c.randrange(9)}",
                        phase=c.choice(("watching", "learning")),
                        base=self.now.base,
                        head=head,
                        examples=c.choice((36, 2**53)),
                        fresh=c.choice((0, 2**53)),
                        points={"0": point},
                        rejected={"head": 3},
                    ),
                ),
                ("score", ScoreSummary(device=device, first=0, count=32, last=1, mean=1.1, max=1e300)),
                (
                    "alarm",
                    Alarm(
                        device=device, state="raised", window=9, at_utc=UTC_TEXT, bands=(band,), standing=(standing,)
                    ),
                ),
                ("fleet", FleetStatus(state="online", release_id=self.now.base.release_id, rejected={"stale": 3})),
            )
        )
        topic = topics.fleet_topic(FLEET, "status") if kind == "fleet" else topics.device_topic(FLEET, device, kind)
        return self._hurt(topic, valid, KEYS["device"], retained=c.random() < 0.3)

    def _command(self) -> Hostile:
        c, device = self._chance, self._chance.choice((VICTIM, DEVICES[1]))
        valid = Command(
            action=c.choice(("acknowledge", "acknowledge", "re-baseline")),
            id=f"{c.randrange(200)}",
            issued_ms=c.choice((0, 2**53, c.randrange(2**41))),
        )
        return self._hurt(topics.device_topic(FLEET, device, "command"), valid, KEYS["staff"])

    def _fleet_command(self) -> Hostile:
        c = self._chance
        valid = FleetCommand(
            action="roll-back",
            release_id=self.now.base.release_id,
            revision=c.choice((0, self.now.base.revision, 2**53)),
            id=f"{c.randrange(200)}",
            issued_ms=c.choice((0, 2**53, c.randrange(2**41))),
        )
        return self._hurt(topics.fleet_topic(FLEET, "command"), valid, KEYS["staff"])

    def _release_message(self) -> Hostile:
        """A damaged release under its own new name; where it is sealed again, only its reader can refuse it."""
        c = self._chance
        data = bytearray(self._release.data)
        for _ in range(c.randint(0, 6)):
            start, end = c.choice(self._structure)
            at = c.randrange(max(start, 0), min(end, len(data)))
            width = c.choice((1, 1, 2, 4))
            data[at : at + width] = c.choice((c.randbytes(width), b"\xff" * width, bytes(width), b"\x7f" * width))
        if c.random() < 0.2:
            del data[c.randrange(len(data)) :]
        runs = False
        if c.random() < 0.5:
            with suppress(ReleaseError, KeyError):
                data, runs = bytearray(sealed(bytes(data))), True
        release_id = hashlib.sha256(data).hexdigest() if c.random() < 0.9 else self.now.base.release_id
        valid = ReleaseMessage(release_id=release_id, serial=c.choice((0, 7, 2**53)), tflite=bytes(data))
        topic = topics.fleet_topic(FLEET, "release")
        if c.random() < 0.7:
            return Hostile(topic, self._sign(topic, codec.encode(valid), KEYS["staff"], "cbor"), False, runs)
        hurt = self._hurt(topic, valid, KEYS["staff"])
        return Hostile(topic, hurt.payload, hurt.retained, runs)

    # --- what messages carry ---

    def _numbers(self, dtype: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """Plausible ones, with poison among them at times; or anything that the bits can mean."""
        c = self._chance
        kind = np.dtype(dtype)
        if c.random() < 0.1:
            return np.frombuffer(self._rng.bytes(math.prod(shape) * kind.itemsize), kind).reshape(shape).copy()
        with np.errstate(over="ignore"):
            values = (self._rng.normal(size=shape) * c.choice((0.01, 0.01, 0.1, 0.1, 1.0, 0.0, 1e5, 1e30))).astype(kind)
            for _ in range(c.choice((0, 0, 0, 0, 0, 1, 3))):
                values[tuple(c.randrange(size) for size in shape)] = c.choice(FLOATS)
        return values

    def _delta(self) -> bytes:
        with np.errstate(all="ignore"):
            return self._packed(pack_delta(self._numbers("<f4", self._shape)))

    def _statistics(self, count: int) -> bytes:
        outputs, inputs = self._shape
        c = self._chance
        with np.errstate(all="ignore"):
            rows = self._numbers("<f8", (c.choice((1, 36)), inputs))
            rows[:, -1] = 1.0
            gram, cross = rows.T @ rows, rows.T @ self._numbers("<f8", (len(rows), outputs))
            if c.random() < 0.5:  # of as many windows as it says
                gram, cross = gram * (count / len(rows)), cross * (count / len(rows))
            if c.random() < 0.2:
                gram[c.randrange(inputs), c.randrange(inputs)] = c.choice(FLOATS)
            numbers = np.concatenate([gram[np.triu_indices(inputs)], cross.ravel()])
            return self._packed(zlib.compress(numbers.astype("<f8").tobytes(), 0))

    def _packed(self, payload: bytes) -> bytes:
        c = self._chance
        make: Callable[[], bytes] = self._choose(
            (90, lambda: payload),
            (1, lambda: c.choice(BOMBS)),
            (2, lambda: payload[: c.randrange(len(payload))]),
            (2, lambda: payload + b"\0"),
            (2, lambda: zlib.compress(zlib.decompress(payload) + b"\0", 0)),
            (2, lambda: zlib.compress(zlib.decompress(payload)[:-1], 0)),
            (1, lambda: b""),
        )
        return make()

    # --- damage ---

    def _hurt(self, topic: str, valid: Message, key: Ed25519PrivateKey, *, retained: bool = False) -> Hostile:
        """``valid`` with wrong fields, wrong bytes or a wrong signature; some go through as they are."""
        body = self._choose(
            (35, lambda: codec.encode(valid)),
            (40, lambda: self._wrong_fields(valid)),
            (25, lambda: self._mutated(codec.encode(valid))),
        )()
        payload = self._sign(topic, body, key, valid.encoding)
        return Hostile(topic, self._mutated(payload) if self._chance.random() < 0.1 else payload, retained)

    def _sign(self, topic: str, body: bytes, key: Ed25519PrivateKey, encoding: Any) -> bytes:
        c = self._chance
        if c.random() < 0.3:
            return body
        signer = key if c.random() < 0.9 else KEYS["nobody"]
        return signing.sign(topic if c.random() < 0.9 else topic + "x", body, signer, encoding)

    def _wrong_fields(self, valid: Message) -> bytes:
        c = self._chance
        fields = valid.model_dump(mode="python" if valid.encoding == "cbor" else "json")
        for _ in range(c.choice((1, 1, 1, 2, 5))):
            place, keys = fields, sorted(fields)
            key = c.choice(keys)
            if isinstance(fields[key], dict) and fields[key] and c.random() < 0.5:
                place = fields[key]
                key = c.choice(sorted(place))
            action = c.random()
            if action < 0.8:
                place[key] = self._value(valid.encoding)
            elif action < 0.9 and len(place) > 1:
                del place[key]
                fields.setdefault(c.choice(keys), None)
            else:
                place[c.choice(TEXTS)] = self._value(valid.encoding)
        if valid.encoding == "cbor":
            body = cbor2.dumps(fields)
            double = cbor2.dumps(c.choice(sorted(fields))) + cbor2.dumps(self._value("cbor"))
            if c.random() < 0.1 and body[0] < 0xB7:  # a key twice
                return bytes([body[0] + 1]) + body[1:] + double
            return body
        text = json.dumps(fields)
        if c.random() < 0.1:
            text = text[:-1] + f", {json.dumps(c.choice(sorted(fields)))}: {json.dumps(self._value('json'))}}}"
        return text.encode(c.choice(("utf-8",) * 20 + ("utf-16", "utf-32-be", "utf-7")))

    def _value(self, encoding: str) -> Any:
        """Of a type, size or depth that nobody expects."""
        c = self._chance
        make: Callable[[], Any] = self._choose(
            (25, lambda: c.choice(NUMBERS)),
            (25, lambda: c.choice(FLOATS)),
            (15, lambda: c.choice(TEXTS)),
            (5, lambda: c.choice((None, True, False))),
            (5, lambda: c.randbytes(c.randrange(200)) if encoding == "cbor" else "\ud800" * 3),
            (4, lambda: 10 ** c.choice((30, 400, 4290)) if encoding == "json" else 2 ** c.choice((70, 4000))),
            (4, lambda: [None] * c.choice((0, 5, 5000))),
            (4, lambda: {c.choice(TEXTS): c.choice(NUMBERS) for _ in range(3)}),
            (3, lambda: nested(c.choice((3, 9, 400)), c.random() < 0.5)),
            (10, lambda: c.choice(("online", "open", "delta", "raised", VICTIM, "a1" * 32, UTC_TEXT))),
        )
        return make()

    def _mutated(self, payload: bytes) -> bytes:
        """Bits, bytes, lengths and halves of it changed, a few times over."""
        c, data = self._chance, bytearray(payload)
        for _ in range(c.choice((1, 1, 2, 4, 16))):
            if not data:
                return bytes(data)
            # headers and keys lie in front, so half of the damage does
            at = c.randrange(len(data) if c.random() < 0.5 else min(len(data), 300))
            match c.randrange(8):
                case 0 | 1:
                    data[at] ^= 1 << c.randrange(8)
                case 2:
                    data[at] = c.choice(b'\x00\xff\x7f\x9b\xbb\x5b\x7b\x5a\xc2\xf9\xfb\x9f"{}[],:\\')
                case 3:
                    del data[at:]
                case 4:
                    del data[at : at + c.randint(1, 64)]
                case 5:
                    data[at:at] = data[at : at + c.randint(1, 64)] * c.choice((1, 2, 100))
                case 6:
                    start = c.randrange(len(self._last) + 1)
                    data[at : at + c.choice((0, 8, 64))] = self._last[start : start + c.randint(1, 64)]
                case _:
                    data[at : at + 9] = c.choice((b"\x5b", b"\x7b", b"\x9b", b"\xbb")) + c.randbytes(8)
        return bytes(data)

    def _odd_topic(self, topic: str) -> str:
        c = self._chance
        if c.random() < 0.5:
            return c.choice(ODD_TOPICS)
        at = c.randrange(len(topic))
        return topic[:at] + c.choice("\n\x00\x1b/ +#$éЖ٣²\u200d\U0001f6a8A") + topic[at + c.randint(0, 1) :]


def nested(depth: int, mapped: bool) -> Any:
    """A value within a value within a value."""
    value: Any = 0
    for _ in range(depth):
        value = {"a": value} if mapped else [value]
    return value
