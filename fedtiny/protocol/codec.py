"""Message <-> bytes. Nothing executable, sizes bounded before anything is parsed."""

import io
import json
from typing import Any, TypeVar

import cbor2
from pydantic import ValidationError

from fedtiny.errors import ProtocolError
from fedtiny.protocol.messages import Message

M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    """Message to its wire form: CBOR where it holds tensors, else JSON."""
    if message.encoding == "cbor":
        return cbor2.dumps(message.model_dump())
    return message.model_dump_json(exclude_none=True).encode()


def decode(kind: type[M], payload: bytes) -> M:
    """Wire form to a checked message of ``kind``; ProtocolError says what was wrong with it."""
    if len(payload) > kind.max_bytes:
        raise ProtocolError(f"{kind.__name__}: {len(payload)} bytes, at most {kind.max_bytes} expected")
    try:
        return kind.model_validate(_parse(kind.encoding, payload))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "message"
        raise ProtocolError(f"{kind.__name__}: {where}: {first['msg']}") from None


def _parse(encoding: str, payload: bytes) -> Any:
    try:
        if encoding == "json":
            return json.loads(payload)
        stream = io.BytesIO(payload)
        value = cbor2.load(stream)
    except (ValueError, RecursionError, OverflowError, MemoryError, cbor2.CBORError) as error:
        raise ProtocolError(f"not {encoding.upper()}: {type(error).__name__}") from None
    if stream.tell() != len(payload):
        raise ProtocolError(f"CBOR with {len(payload) - stream.tell()} bytes behind its end")
    return value
