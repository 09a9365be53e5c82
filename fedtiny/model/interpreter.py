"""The only import of a TFLite interpreter: LiteRT (ai-edge-litert) or tflite-runtime.

Delegates are off. Both runtimes then round alike, to the bit, as does the exported firmware; XNNPACK, which LiteRT
would switch on, differs by a few steps, and a threshold must be calibrated under the rounding that is deployed.
"""

import importlib.metadata
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError, ReleaseError

Runtime = Literal["auto", "litert", "tflite"]


def _litert() -> tuple[Any, Any, str]:
    from ai_edge_litert import interpreter as module

    return module.Interpreter, module.OpResolverType, "litert " + importlib.metadata.version("ai-edge-litert")


def _tflite() -> tuple[Any, Any, str]:
    if int(np.__version__.split(".")[0]) >= 2:  # it would import, then fail when a model is loaded
        raise ImportError(f"tflite-runtime needs numpy<2, found numpy {np.__version__}")
    from tflite_runtime import interpreter as module

    return module.Interpreter, module.OpResolverType, "tflite-runtime " + importlib.metadata.version("tflite-runtime")


def _load(runtime: Runtime) -> tuple[Any, Any, str]:
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


class Interpreter:
    """One int8 model, ready to run; ``name`` says on which runtime and version."""

    def __init__(self, tflite: bytes, runtime: Runtime, hidden_tensor: int) -> None:
        factory, resolver, self.name = _load(runtime)
        try:
            self._run = factory(
                model_content=bytes(tflite),
                num_threads=1,
                experimental_op_resolver_type=resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self._run.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ReleaseError(f"{self.name} refuses the model: {str(error).splitlines()[0]}") from None
        source, target = self._run.get_input_details()[0], self._run.get_output_details()[0]
        self._in, self._out, self._hidden = source["index"], target["index"], hidden_tensor
        self._in_scale, self._in_zero = map(np.float32, source["quantization"])
        self._out_scale, self._out_zero = map(np.float32, target["quantization"])
        hidden = next(t for t in self._run.get_tensor_details() if t["index"] == hidden_tensor)
        self._hidden_scale, self._hidden_zero = map(np.float32, hidden["quantization"])
        self._sizes = int(target["shape"][-1]), int(hidden["shape"][-1])

    def __call__(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Standardised features (n, features) -> (reconstructions (n, features), activations before the head).

        Inputs are quantised (what lies outside the int8 range is clipped), outputs dequantised to float32.
        """
        q = np.rint(inputs / self._in_scale + self._in_zero).clip(-128, 127).astype(np.int8)
        outputs = np.empty((len(q), self._sizes[0]), np.int8)
        hidden = np.empty((len(q), self._sizes[1]), np.int8)
        run = self._run
        for i, row in enumerate(q):
            run.set_tensor(self._in, row[None])
            run.invoke()
            outputs[i] = run.get_tensor(self._out)[0]
            hidden[i] = run.get_tensor(self._hidden)[0]
        return (
            (outputs.astype(np.float32) - self._out_zero) * self._out_scale,
            (hidden.astype(np.float32) - self._hidden_zero) * self._hidden_scale,
        )
