"""The release: one .tflite file with our manifest and the head's float weights inside.

Any TFLite tool opens it. The manifest (JSON) and the float32 head ride in the model's own metadata buffers. A release
is immutable and its id is the SHA-256 of the file; a newer head is patched into a copy of its bytes: int8 weights,
per-channel scales, int32 biases and their scales, and the output's scale and zero point. A checksum within the file
refuses a damaged one before an interpreter sees it: tflite-runtime does not check what it is given and would crash.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedtiny.errors import ConfigError, ReleaseError
from fedtiny.model import flatbuffer as fb
from fedtiny.model.head import Head
from fedtiny.signal.features import Standardisation
from fedtiny.signal.given import ROW, Extractor, FeatureKind, make_extractor
from fedtiny.signal.windows import WindowPlan

MANIFEST, HEAD, CHECKSUM = "fedtiny.manifest", "fedtiny.head", "fedtiny.sha256"
UNSEALED = bytes(hashlib.sha256().digest_size)
FULLY_CONNECTED = 9
Positive = Annotated[int, Field(ge=1, le=1 << 20)]
Floats = tuple[Annotated[float, Field(allow_inf_nan=False)], ...]


class Gate(BaseModel):
    """Float against int8, as measured before the release was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rank_correlation: float
    windows: int
    auc_float: float | None = None
    auc_int8: float | None = None


class Manifest(BaseModel):
    """What a device must know about the model that it runs. Units: Hz, samples, natural log of power.

    Given features have a channel each, windows of one sample, no bands and no floor (0).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    name: str
    sample_rate_hz: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    channels: Annotated[tuple[str, ...], Field(min_length=1, max_length=1024)]
    window: Positive
    hop: Positive
    feature: FeatureKind = "log-band-energies"
    bands: Annotated[int, Field(ge=0, le=1 << 20)]
    floor: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    mean: Floats
    deviation: Floats
    layers: tuple[Positive, ...]
    trainable: tuple[int, ...]
    output_min: float
    output_max: float
    score: Literal["residual-ppca"] = "residual-ppca"
    training: dict[str, Any]
    gate: Gate
    made_with: dict[str, str]


@dataclass(frozen=True)
class Tensor:
    """Where a tensor's numbers lie in the file: offsets in bytes, counts of elements."""

    index: int
    name: str
    shape: tuple[int, ...]
    type: int
    data: tuple[int, int]
    scale: tuple[int, int]
    zero_point: tuple[int, int]


@dataclass(frozen=True)
class Dense:
    """One fully connected layer: its tensors, in the order of the data's way."""

    input: Tensor
    weights: Tensor
    bias: Tensor
    output: Tensor


class Release:
    """A release, opened and checked. Raises ReleaseError with the reason for a file that is none."""

    def __init__(self, data: bytes, source: str = "release") -> None:
        self.data, self.id = data, hashlib.sha256(data).hexdigest()
        try:
            self.layers, spans = _parse(data)
            metadata = {name: data[start : start + size] for name, (start, size) in spans.items()}
            if MANIFEST not in metadata:
                raise ReleaseError("a TFLite model, but not a fedtiny release: it holds no manifest")
            if metadata.get(CHECKSUM) != _checksum(data, spans):
                raise ReleaseError("damaged: the content does not match its checksum")
            self.manifest = self._manifest(metadata)
            self.head = self._head(metadata)
        except ReleaseError as error:
            raise ReleaseError(f"{source}: {error}") from None

    @classmethod
    def open(cls, path: Path) -> "Release":
        """Read and check the file at ``path``."""
        try:
            return cls(path.read_bytes(), str(path))
        except OSError as error:
            raise ReleaseError(f"{path}: cannot be read: {error.strerror}") from None

    def _manifest(self, metadata: dict[str, bytes]) -> Manifest:
        try:
            manifest = Manifest.model_validate(json.loads(metadata[MANIFEST]))
            plan = WindowPlan(manifest.window, manifest.hop, manifest.bands)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ReleaseError(f"manifest: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except ConfigError as error:
            raise ReleaseError(f"manifest: {error}") from None
        except (ValueError, RecursionError) as error:
            raise ReleaseError(f"manifest: not JSON: {error}") from None
        given = manifest.feature == "given"
        if given and plan != ROW:
            raise ReleaseError(f"manifest: given features have windows of 1 sample and no bands, not {plan}")
        if not given and manifest.floor == 0:
            raise ReleaseError("manifest: floor: 0, expected a positive power")
        features = len(manifest.channels) * (1 if given else plan.bands)
        sizes = [layer.weights.shape[0] for layer in self.layers]
        if list(manifest.layers) != sizes or sizes[-1] != features:
            raise ReleaseError(
                f"manifest and model disagree: layers {list(manifest.layers)} and {features} features in the "
                f"manifest, layers {sizes} in the model"
            )
        if not len(manifest.mean) == len(manifest.deviation) == features or min(manifest.deviation) <= 0:
            raise ReleaseError(f"manifest: mean and deviation must have {features} numbers, deviations above 0")
        return manifest

    def _head(self, metadata: dict[str, bytes]) -> Head:
        outputs, inputs = self.layers[-1].weights.shape
        raw = metadata.get(HEAD, b"")
        if len(raw) != 4 * outputs * (inputs + 1):
            raise ReleaseError(f"head: {len(raw)} bytes, expected {4 * outputs * (inputs + 1)}")
        weights = np.frombuffer(raw, "<f4").reshape(outputs, inputs + 1)
        return Head(weights, self.manifest.output_min, self.manifest.output_max)

    @property
    def hidden_tensor(self) -> int:
        """Index of the tensor that holds the activations before the head."""
        return self.layers[-1].input.index

    @property
    def features(self) -> Extractor:
        """The feature extractor that the model was trained with."""
        m = self.manifest
        return make_extractor(m.feature, WindowPlan(m.window, m.hop, m.bands), m.channels, m.floor)

    @property
    def standardisation(self) -> Standardisation:
        """The base's standardisation."""
        m = self.manifest
        return Standardisation(np.array(m.mean, np.float32), np.array(m.deviation, np.float32))

    def check_head(self, head: Head) -> None:
        """Raise ReleaseError when ``head`` has another shape than this release's."""
        if head.weights.shape != self.head.weights.shape:
            raise ReleaseError(
                f"head of shape {head.weights.shape}, but release {self.id[:12]} has {self.head.weights.shape}"
            )

    def patched(self, head: Head) -> bytes:
        """The model's bytes with ``head`` quantised into them; the same length, nothing else moved."""
        self.check_head(head)
        layer = self.layers[-1]
        in_scale = struct.unpack_from("<f", self.data, layer.input.scale[0])[0]
        scale, zero_point = quantise_range(head.output_min, head.output_max)
        weights, weight_scale, bias, bias_scale = quantise_dense(
            head.weights, in_scale, per_channel=layer.weights.scale[1] > 1
        )
        data = bytearray(self.data)
        for (at, count), values in (
            (layer.weights.data, weights),
            (layer.weights.scale, weight_scale),
            (layer.bias.data, bias),
            (layer.bias.scale, bias_scale),
            (layer.output.scale, np.array([scale], "<f4")),
            (layer.output.zero_point, np.array([zero_point], "<i8")),
        ):
            raw = values.tobytes()
            if values.size != count:
                raise ReleaseError(f"head: {values.size} numbers do not fit the {count} of the model")
            data[at : at + len(raw)] = raw
        return bytes(data)


def quantise_range(low: float, high: float) -> tuple[float, int]:
    """int8 scale and zero point for [low, high], widened to hold 0 (Jacob et al., CVPR 2018, section 3)."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255))
    return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127))


def quantise_dense(
    weights: NDArray[np.float32], in_scale: float, *, per_channel: bool
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(int8 weights, float32 scales, int32 biases, float32 bias scales) of float (outputs, inputs + 1)."""
    matrix, bias = weights[:, :-1], weights[:, -1]
    largest = np.abs(matrix).max(axis=1) if per_channel else np.abs(matrix).max(keepdims=True)[0]
    scale = np.maximum(largest / np.float32(127), np.float32(1e-9)).astype("<f4")
    q = np.rint(matrix / scale[:, None]).clip(-127, 127).astype(np.int8)
    bias_scale = (np.float32(in_scale) * scale).astype("<f4")
    q_bias = np.rint(bias.astype(np.float64) / bias_scale).clip(-(2**31), 2**31 - 1).astype("<i4")
    return q, scale, q_bias, bias_scale


def sealed(data: bytes) -> bytes:
    """A release's bytes with their checksum written into its metadata buffer."""
    _, spans = _parse(data)
    start, size = spans[CHECKSUM]
    return data[:start] + _checksum(data, spans) + data[start + size :]


def _checksum(data: bytes, spans: dict[str, tuple[int, int]]) -> bytes:
    """SHA-256 of all but the checksum itself."""
    start, size = spans.get(CHECKSUM, (0, 0))
    return hashlib.sha256(data[:start] + data[start + size :]).digest()


def _parse(data: bytes) -> tuple[tuple[Dense, ...], dict[str, tuple[int, int]]]:
    """Dense layers in order; our metadata by name, as (offset, size in bytes)."""
    r = fb.Reader(data)
    buffers = list(r.tables(r.root, fb.MODEL_BUFFERS))
    graphs = list(r.tables(r.root, fb.MODEL_SUBGRAPHS))
    if len(graphs) != 1:
        raise ReleaseError(f"{len(graphs)} subgraphs, expected 1")
    codes = [
        max(r.scalar(c, fb.CODE_DEPRECATED, "b"), r.scalar(c, fb.CODE_BUILTIN, "i"))
        for c in r.tables(r.root, fb.MODEL_CODES)
    ]

    def content(index: int) -> tuple[int, int]:
        if not 0 <= index < len(buffers):
            raise ReleaseError(f"buffer {index} of {len(buffers)} does not exist")
        return r.vector(buffers[index], 0, 1)

    tensors = []
    for i, table in enumerate(r.tables(graphs[0], fb.GRAPH_TENSORS)):
        quantization = r.table(table, fb.TENSOR_QUANTIZATION)
        kind = r.scalar(table, fb.TENSOR_TYPE, "b")
        start, size = content(r.scalar(table, fb.TENSOR_BUFFER, "I"))
        tensors.append(
            Tensor(
                i,
                r.text(table, fb.TENSOR_NAME),
                r.ints(table, fb.TENSOR_SHAPE),
                kind,
                (start, size if kind == fb.TYPE_INT8 else size // 4),
                r.vector(quantization, fb.QUANT_SCALE, 4) if quantization else (0, 0),
                r.vector(quantization, fb.QUANT_ZERO_POINT, 8) if quantization else (0, 0),
            )
        )
    layers = []
    for number, table in enumerate(r.tables(graphs[0], fb.GRAPH_OPERATORS)):
        code = r.scalar(table, fb.OP_CODE, "I")
        if code >= len(codes) or codes[code] != FULLY_CONNECTED:
            raise ReleaseError(f"operator {number} is not FULLY_CONNECTED: not a dense autoencoder")
        used = r.ints(table, fb.OP_INPUTS) + r.ints(table, fb.OP_OUTPUTS)
        if len(used) != 4 or not all(0 <= t < len(tensors) for t in used):
            raise ReleaseError(f"operator {number}: tensors {used}, expected input, weights, bias and output")
        layers.append(Dense(*(tensors[t] for t in used)))
    for layer in layers:
        if layer.weights.type != fb.TYPE_INT8 or len(layer.weights.shape) != 2 or not layer.input.scale[1]:
            raise ReleaseError(f"layer {layer.weights.name!r} is not full int8")
    if not layers:
        raise ReleaseError("the model has no layers")
    metadata = {}
    for table in r.tables(r.root, fb.MODEL_METADATA):
        name = r.text(table, fb.METADATA_NAME)
        if name in (MANIFEST, HEAD, CHECKSUM):
            metadata[name] = content(r.scalar(table, fb.METADATA_BUFFER, "I"))
    return tuple(layers), metadata
