"""The only import of a TFLite interpreter: LiteRT (ai-edge-litert) or tflite-runtime.

Delegates are off. Both runtimes then round alike, to the bit, as does the exported firmware; XNNPACK, which LiteRT
would switch on, differs by a few steps, and a threshold must be calibrated under the rounding that is deployed.
How many windows are run at a time does not change the rounding either on x86-64; on arm64 the kernels for several rows
differ from those for one by up to two steps, so there it is one at a time.
"""

import platform
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError, ReleaseError

Array = NDArray[np.float32]
Runtime = Literal["auto", "litert", "tflite"]
EXACT_BATCHES = platform.machine() in ("x86_64", "AMD64")
BATCH = 64 if EXACT_BATCHES else 1  # windows run at a time, at most


@dataclass(frozen=True)
class _Package:
    """A runtime's parts; ``fewest_rows`` is the smallest input that its fast kernels take."""

    interpreter: Any
    resolver: Any
    name: str
    fewest_rows: int


def _litert() -> _Package:
    import ai_edge_litert
    from ai_edge_litert import interpreter as module

    return _Package(module.Interpreter, module.OpResolverType, f"litert {ai_edge_litert.__version__}", 1)


def _tflite() -> _Package:
    if int(np.__version__.split(".")[0]) >= 2:  # it would import, then fail when a model is loaded
        raise ImportError(f"tflite-runtime needs numpy<2, found numpy {np.__version__}")
    import tflite_runtime
    from tflite_runtime import interpreter as module

    # one row takes a kernel that is seven times as slow as that for two (2.14.0, x86-64)
    return _Package(
        module.Interpreter, module.OpResolverType, f"tflite-runtime {tflite_runtime.__version__}", 1 + EXACT_BATCHES
    )


def load_runtime(runtime: Runtime) -> _Package:
    """The runtime that is asked for; ConfigError where it is not installed."""
    loaders = {"auto": (_litert, _tflite), "litert": (_litert,), "tflite": (_tflite,)}[runtime]
    problems = []
    for loader in loaders:
        try:
            return loader()
        except ImportError as error:
            problems.append(str(error))
    raise ConfigError(
        f"runtime {runtime!r} is not usable here ({'; '.join(problems)}); "
        "install ai-edge-litert, or tflite-runtime with numpy<2"
    )


class _Quantisation:
    """A tensor's index, size and affine int8 code: real = (code - zero) * scale.

    ``scale`` and ``zero`` are rows (1, size): numpy takes the straight way through operands of one shape, which
    for a single window is twice as fast as with a scalar.
    """

    def __init__(self, details: dict[str, Any]) -> None:
        self.index, self.size = int(details["index"]), int(details["shape"][-1])
        scale, zero = details["quantization"]
        self.scale = np.full((1, self.size), scale, np.float32)
        self.zero = np.full((1, self.size), zero, np.float32)

    def dequantise(self, codes: Array) -> Array:
        """Real values of ``codes`` (n, size), in their place."""
        codes -= self.zero
        codes *= self.scale
        return codes


class Interpreter:
    """One int8 model, ready to run; ``name`` says on which runtime and version. For one thread at a time."""

    def __init__(self, tflite: bytes, runtime: Runtime, hidden_tensor: int) -> None:
        package = load_runtime(runtime)
        self.name = package.name
        try:
            self._run = package.interpreter(
                model_content=bytes(tflite),
                num_threads=1,
                experimental_op_resolver_type=package.resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self._run.allocate_tensors()
            self._in = _Quantisation(self._run.get_input_details()[0])
            self._out = _Quantisation(self._run.get_output_details()[0])
            self._hidden = _Quantisation(next(t for t in self._run.get_tensor_details() if t["index"] == hidden_tensor))
        except (ValueError, RuntimeError, LookupError, StopIteration, MemoryError) as error:
            said = str(error).splitlines()[:1] or [type(error).__name__]
            raise ReleaseError(f"{self.name} refuses the model: {said[0]}") from None
        self._lowest, self._highest = (np.full_like(self._in.zero, end) for end in (-128, 127))
        self._fewest = package.fewest_rows
        self._resize(1)

    def __call__(self, inputs: Array) -> tuple[Array, Array]:
        """Standardised features (n, features) -> (reconstructions (n, features), activations before the head).

        Inputs are quantised (what lies outside the int8 range is clipped), outputs dequantised to float32.
        """
        outputs = np.empty((len(inputs), self._out.size), np.float32)
        hidden = np.empty((len(inputs), self._hidden.size), np.float32)
        for at in range(0, len(inputs), BATCH):
            rows = self._invoke(inputs[at : at + BATCH])
            outputs[at : at + rows] = self._run.get_tensor(self._out.index)[:rows]
            hidden[at : at + rows] = self._run.get_tensor(self._hidden.index)[:rows]
        return self._out.dequantise(outputs), self._hidden.dequantise(hidden)

    def reconstruct(self, inputs: Array) -> Array:
        """The reconstructions alone: all that scoring needs."""
        outputs = np.empty((len(inputs), self._out.size), np.float32)
        for at in range(0, len(inputs), BATCH):
            rows = self._invoke(inputs[at : at + BATCH])
            outputs[at : at + rows] = self._run.get_tensor(self._out.index)[:rows]
        return self._out.dequantise(outputs)

    def _invoke(self, inputs: Array) -> int:
        """Run ``inputs``, at most BATCH rows; returns how many they are."""
        if len(inputs) != len(self._scaled):
            self._resize(len(inputs))
        q = np.divide(inputs, self._in.scale, out=self._scaled)
        q += self._in.zero
        np.rint(q, out=q)
        np.maximum(q, self._lowest, out=q)
        np.minimum(q, self._highest, out=q)
        self._used[...] = q
        self._run.set_tensor(self._in.index, self._codes)
        self._run.invoke()
        return len(q)

    def _resize(self, rows: int) -> None:
        """Make the model and the buffers before it ready for ``rows`` windows at a time."""
        self._scaled = np.empty((rows, self._in.size), np.float32)
        self._codes = np.zeros((max(rows, self._fewest), self._in.size), np.int8)
        self._used = self._codes[:rows]
        self._run.resize_tensor_input(self._in.index, self._codes.shape)
        self._run.allocate_tensors()
