"""A sensor node that publishes frames of samples on an MQTT topic, as JSON or CBOR.

A frame is a map; all but ``samples`` may be left out, and keys that are not listed are ignored::

    seq       counts frames from any number on; a gap is a fault of the sensor
    rate      Hz; must be the configured one
    at        Unix time of the first sample, seconds
    channels  names of the columns, in any order; the configured ones are taken. Left out: these, in their order
    samples   rows of numbers, [[x, y, z], ...] ([x, ...] where there is one channel); in CBOR also a byte string of
              rows: float32, or int16 where ``scale`` is given, little-endian
    scale     physical units of a step of int16
    speed_hz  turns of the shaft a second
    point     operating point

What is no such frame is counted, and said once for each reason.
"""

import json
import logging
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictBytes, ValidationError

from fedtiny.config import Broker
from fedtiny.protocol import cbor
from fedtiny.signal.recording import IDLE_S, Recording, Samples
from fedtiny.sources.chunks import NOT_FINITE, limit_of
from fedtiny.transport import Connection, Disconnected, Received

MAX_FRAME_BYTES = 1 << 20

log = logging.getLogger(__name__)


class Frame(BaseModel):
    """A frame as it comes in; the samples are checked when they are put in order."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    samples: StrictBytes | list[Any]
    seq: Annotated[int, Field(ge=0)] | None = None
    rate: float | None = None
    at: Annotated[float, Field(allow_inf_nan=False)] | None = None
    channels: tuple[str, ...] | None = None
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    speed_hz: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    point: Annotated[str, Field(max_length=64)] = ""


@dataclass(frozen=True)
class _Checked:
    frame: Frame
    samples: Samples


class Mqtt:
    """The frames of one topic. It never ends; a broker that is away is tried again and again.

    Args:
        broker: Where the node publishes.
        topic: Its topic; no wildcards.
        sample_rate_hz: Of the frames.
        channels: To be taken of each frame.
        continuous: A frame begins where the one before it ended; else each is a snapshot of its own.

    Attributes:
        rejected: Frames that could not be used, by reason.
    """

    live = True

    def __init__(
        self,
        broker: Broker,
        topic: str,
        sample_rate_hz: float,
        channels: tuple[str, ...],
        *,
        continuous: bool = False,
    ) -> None:
        self.name = f"mqtt {broker.host}:{broker.port} {topic}"
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self.rejected: Counter[str] = Counter()
        self._topic, self._continuous = topic, continuous
        client_id = f"fedtiny-source-{secrets.token_hex(4)}"  # its own connection: two of one name oust each other
        self._connection = Connection(broker, client_id, subscriptions=[(topic, 1)])

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """Frames from now on; a cursor means nothing here."""
        self._connection.start()
        due: int | None = None
        follows = False
        while True:
            event = self._connection.next_event(IDLE_S)
            if isinstance(event, Disconnected):
                log.warning("%s", event.reason)
                follows = False
            if not isinstance(event, Received) or event.retained:  # a retained frame is of some other time
                yield None
                continue
            try:
                checked = self._check(event.payload)
                seq = checked.frame.seq
                if seq is not None and due == seq + 1:
                    raise ValueError(f"duplicate: frame {seq} came before")  # QoS 1 delivers at least once
            except ValueError as error:
                self._reject(error)
                yield None
                continue
            fault = _gap(due, seq)
            due = None if seq is None else seq + 1
            yield from self._cut(checked, fault, follows and not fault)
            follows = self._continuous

    def close(self) -> None:
        """Disconnect."""
        self._connection.stop(timeout_s=0)

    def _reject(self, error: ValueError) -> None:
        reason = str(error).split(":")[0]
        self.rejected[reason] += 1
        if self.rejected[reason] == 1:
            log.warning("%s: a frame is left out, as others like it will be: %s", self._topic, error)

    def _check(self, payload: bytes) -> _Checked:
        """Hostile bytes to a frame and its samples in the order of our channels; ValueError says what is wrong."""
        if len(payload) > MAX_FRAME_BYTES:
            raise ValueError(f"too large: {len(payload)} bytes, expected at most {MAX_FRAME_BYTES}")
        json_like = payload.lstrip()[:1] == b"{"  # no CBOR map begins so: 0x7b is a text's head
        try:
            found = json.loads(payload) if json_like else cbor.loads(payload)
            frame = Frame.model_validate(found)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(f"{first['loc'][0] if first['loc'] else 'frame'}: {first['msg']}") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not {'JSON' if json_like else 'CBOR'}: {error}") from None
        if frame.rate is not None and not np.isclose(frame.rate, self.sample_rate_hz, rtol=1e-3):
            raise ValueError(f"rate: {frame.rate:g} Hz, expected {self.sample_rate_hz:g} Hz")
        names = self.channels if frame.channels is None else frame.channels
        if missing := [name for name in self.channels if name not in names]:
            raise ValueError(f"channels: {', '.join(names)}; {missing[0]!r} is expected")
        rows = _rows(frame, len(names))
        return _Checked(frame, rows[:, [names.index(name) for name in self.channels]])

    def _cut(self, checked: _Checked, fault: str, follows: bool) -> Iterator[Recording]:
        """A frame as recordings, none too long."""
        frame, samples, limit = checked.frame, checked.samples, limit_of(self.sample_rate_hz)
        for start in range(0, len(samples), limit):
            part = samples[start : start + limit]
            finite = np.isfinite(part).all()
            yield Recording(
                self._topic,
                part if finite else np.where(np.isfinite(part), part, np.float32(np.nan)),
                at=None if frame.at is None else frame.at + start / self.sample_rate_hz,
                follows=follows or start > 0,
                speed_hz=frame.speed_hz,
                point=frame.point,
                fault=fault or ("" if finite else NOT_FINITE),
            )
            fault = ""


def _gap(due: int | None, seq: int | None) -> str:
    if seq is None or due is None or seq == due:
        return ""
    missing = seq - due
    if missing < 0:
        return f"dropped: frame {seq} came where {due} was due"
    return f"dropped: {missing} frame{'' if missing == 1 else 's'} missing"


def _rows(frame: Frame, width: int) -> Samples:
    """(samples, width) in physical units; ValueError where the samples are none such."""
    if not frame.samples:
        raise ValueError("samples: none")
    if isinstance(frame.samples, bytes):
        kind = np.dtype("<f4" if frame.scale is None else "<i2")
        if len(frame.samples) % (kind.itemsize * width):
            raise ValueError(f"samples: {len(frame.samples)} bytes, expected rows of {width} {kind.name}")
        values = np.frombuffer(frame.samples, kind).reshape(-1, width)
    else:
        try:
            values = np.array(frame.samples)
        except ValueError:
            raise ValueError(f"samples: rows of different lengths, expected {width} numbers each") from None
        values = values.reshape(-1, 1) if values.ndim == 1 and width == 1 else values
        if values.ndim != 2 or values.shape[1] != width or values.dtype.kind not in "iuf":
            raise ValueError(f"samples: shape {values.shape} of {values.dtype}, expected rows of {width} numbers")
    with np.errstate(over="ignore"):
        return values.astype(np.float32) * np.float32(1 if frame.scale is None else frame.scale)
