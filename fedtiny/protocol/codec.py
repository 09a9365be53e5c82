"""Message <-> bytes. Nothing executable, sizes bounded before anything is parsed."""

from typing import Any, TypeVar

import cbor2
from pydantic import ValidationError
from pydantic_core import from_json

from fedtiny.errors import ProtocolError
from fedtiny.protocol import cbor, signing
from fedtiny.protocol.messages import Message

M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    """Message to its wire form: CBOR where it holds tensors, else JSON."""
    if message.encoding == "cbor":
        return cbor2.dumps(message.model_dump())
    return message.model_dump_json(exclude_none=True).encode()


def decode(kind: type[M], payload: bytes) -> M:
    """Wire form to a checked message of ``kind``; ProtocolError says what was wrong with it.

    A signature in front is skipped unseen: ``signing.verify`` comes before this where keys are pinned.
    """
    body = signing.split(payload, kind.encoding)[1]
    if len(body) > kind.max_bytes:
        raise ProtocolError(f"{kind.__name__}: {len(body)} bytes, at most {kind.max_bytes} expected")
    try:
        return kind.model_validate(_parse(kind.encoding, body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "message"
        raise ProtocolError(f"{kind.__name__}: {where}: {first['msg']}") from None


def _parse(encoding: str, payload: bytes) -> Any:
    """The value in ``payload``. Not by ``json``, which takes half a surrogate pair: nobody could write it again."""
    try:
        return from_json(payload) if encoding == "json" else cbor.loads(payload)
    except ValueError as error:
        raise ProtocolError(f"not {encoding.upper()}: {error}") from None
