"""The int8 model as it runs: one release under one head."""

import numpy as np
from numpy.typing import NDArray

from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.model.interpreter import Interpreter, Runtime

Array = NDArray[np.float32]


class Network:
    """Standardised features in, reconstructions and activations out, under the current head."""

    def __init__(self, release: Release, runtime: Runtime = "auto", head: Head | None = None) -> None:
        self.release, self.runtime, self.features = release, runtime, release.features
        self.head = head or release.head
        model = release.data if head is None else release.patched(head)
        self._interpreter = Interpreter(model, runtime, release.hidden_tensor)

    @property
    def interpreter(self) -> str:
        """Name and version of the runtime."""
        return self._interpreter.name

    def set_head(self, head: Head) -> None:
        """Patch ``head`` into the model; ReleaseError, and no change, when it does not fit."""
        self._interpreter = Interpreter(self.release.patched(head), self.runtime, self.release.hidden_tensor)
        self.head = head

    def reconstruct(self, z: Array) -> Array:
        """The reconstructions alone: all that scoring needs."""
        return self._interpreter.reconstruct(z)

    def __call__(self, z: Array) -> tuple[Array, Array]:
        """(reconstructions (n, features), activations before the head (n, inputs)) of z (n, features), float32."""
        return self._interpreter(z)
