"""A head as it travels: between ``model.head.Head`` and ``protocol.messages.HeadMessage``."""

import numpy as np

from fedtiny.errors import ProtocolError
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.protocol.messages import Base, HeadMessage, RoundMessage


def to_message(head: Head, base: Base, closed: RoundMessage | None = None, num_examples: int = 0) -> HeadMessage:
    """``head`` as revision ``base.revision``, with what is known of the round that made it."""
    return HeadMessage(
        release_id=base.release_id,
        revision=base.revision,
        weights=head.weights.astype("<f4").tobytes(),
        output_min=head.output_min,
        output_max=head.output_max,
        strategy=closed.strategy if closed else None,
        round_number=closed.round_number if closed else 0,
        devices=closed.updates if closed else 0,
        num_examples=num_examples,
    )


def from_message(message: HeadMessage, release: Release) -> Head:
    """The head in ``message``; ProtocolError or ReleaseError when it does not fit ``release``."""
    outputs, columns = release.head.weights.shape
    if len(message.weights) != 4 * outputs * columns:
        raise ProtocolError(f"head: {len(message.weights)} bytes of weights, expected {4 * outputs * columns}")
    weights = np.frombuffer(message.weights, "<f4").reshape(outputs, columns)
    return Head(weights, message.output_min, message.output_max)
