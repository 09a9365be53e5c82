"""The front end in C: a window of samples -> log band energies, as ``fedtiny.signal.features.BandEnergies``.

Float32: within 1e-4 of Python, relative to max(|feature|, 0.05). Fixed point: int16 counts in, Q16.16 natural
logarithms out, integers only, within 2e-5 of Python, near-silent or not; what it computes is here as well, to the bit
(``fixed_features``). In both, a band far below the strongest line, but above the floor, is good to 1e-4 (natural log
units) at 60 dB and to 0.02 at 100 dB.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError
from fedtiny.model.artifact import Release
from firmware_export.csource import array, number
from firmware_export.transform import (
    Q30,
    Ints,
    Stage,
    check_window,
    fixed_bins,
    fixed_cosine,
    quarter_wave,
    rounded,
    stages,
)

LARGEST_WINDOW = {False: 32768, True: 20480}  # float, fixed point: what fits into 32 bits
CMSIS_POINTS = [2**i for i in range(4, 13)]
LOG2 = [1549081665, -774497233, 515409455, -379134322, 273993519, -165519457, 67375618, -12967602]  # Q30, as in C
LN_2 = 1488522236  # Q31


@dataclass(frozen=True)
class BandScale:
    """As fedtiny_band_scale in C."""

    log2_scale: int
    floor_mantissa: int
    floor_exponent: int


@dataclass(frozen=True)
class Front:
    """Constants of a front end. ``window`` in samples, ``floor`` a power in the unit of the training data squared.

    ``lsb``: that unit a count of int16 samples; None: float samples in that unit. ``edges``: first bin of each band,
    and the bin behind the last one.
    """

    window: int
    channels: int
    edges: tuple[int, ...]
    floor: float
    lsb: float | None
    fixed_point: bool

    @property
    def bands(self) -> int:
        """Bands of a channel."""
        return len(self.edges) - 1

    @property
    def stages(self) -> list[Stage]:
        """Stages of the transform."""
        return stages(self.window)

    @property
    def gain(self) -> float:
        """From a sample, times ``window`` when it is int16, to half of its share of the normalised spectrum."""
        unit = 1.0 if self.lsb is None else self.lsb / self.window
        return unit / 4 * math.sqrt(8 / (3 * self.window))  # a Hann window's squares add up to 3 / 8 of its length

    @property
    def narrowest(self) -> int:
        """Bins of the narrowest band."""
        return int(np.diff(self.edges).min())

    @property
    def scales(self) -> tuple[BandScale, BandScale]:
        """Fixed point: for bands of ``narrowest`` bins and of one more."""
        bits = sum(stage.shift for stage in self.stages)
        log2_power = 2 * (math.log2(4 * self.gain) + bits)  # of a sum of 1
        first, second = (self._scale(log2_power - math.log2(self.narrowest + more)) for more in (0, 1))
        return first, second

    def _scale(self, log2_scale: float) -> BandScale:
        log2_floor = math.log2(self.floor) - log2_scale
        exponent = math.floor(log2_floor) - 30
        mantissa = min(round(2 ** (log2_floor - exponent)), 2**31 - 1)
        return BandScale(round(log2_scale * 2**20), mantissa, exponent)

    @property
    def flash_bytes(self) -> int:
        """Constants on a 32-bit target."""
        tables = 4 * (self.window // 4 + 1) + 2 * len(self.edges) + 4 * len(self.stages)
        return tables + (48 if self.fixed_point else 32)

    @property
    def scratch_bytes(self) -> int:
        """RAM that the transform works in."""
        return 4 * self.window


def front_of(release: Release, *, lsb: float | None, fixed_point: bool) -> Front:
    """The front end of ``release``; ``lsb`` is what a count of int16 samples is in the unit of the training data.

    ConfigError for what cannot work: features that no samples are behind, fixed point without int16 samples, windows
    that the transform does not take, constants that no float32 holds.
    """
    m = release.manifest
    if m.feature == "given":
        raise ConfigError("features: the release takes ready-made ones; there is nothing to compute from samples")
    if fixed_point and lsb is None:
        raise ConfigError("fixed point: needs int16 samples; state the unit of a count (lsb)")
    if lsb is not None and not 0 < lsb < math.inf:
        raise ConfigError(f"lsb: {lsb}, expected the unit of a count, above 0")
    check_window(m.window, LARGEST_WINDOW[fixed_point])
    edges = np.round(np.linspace(1, m.window // 2 + 1, m.bands + 1)).astype(int)
    front = Front(m.window, len(m.channels), tuple(edges.tolist()), m.floor, lsb, fixed_point)
    smallest = float(np.finfo(np.float32).tiny)
    for name, value in (("lsb", front.gain**2), ("floor", front.floor)):
        if not smallest <= value < 1 / smallest:
            raise ConfigError(f"{name}: {lsb if name == 'lsb' else value} is out of the range of float32 powers")
    return front


def front_source(front: Front, name: str) -> str:
    """C text: ``<name>_front``, a static const fedtiny_front, with its tables."""
    table = quarter_wave(front.window)
    wave = np.rint(table * Q30).astype(np.int64) if front.fixed_point else table.astype(np.float32)
    steps = ", ".join(f"{{{s.radix}u, {s.shift}u, {s.stride}u}}" for s in front.stages)
    members = [
        f".window = {front.window}u",
        f".channels = {front.channels}u",
        f".bands = {front.bands}u",
        f".cosine = {name}_cosine",
        f".edges = {name}_edges",
        f".stages = {name}_stages",
        f".stage_count = {len(front.stages)}u",
    ]
    if front.fixed_point:
        scales = ", ".join(f"{{{s.log2_scale}, {s.floor_mantissa}, {s.floor_exponent}}}" for s in front.scales)
        members += [f".narrowest = {front.narrowest}u", f".scales = {{{scales}}}"]
    else:
        members += [f".gain = {number('float', front.gain)}", f".floor = {number('float', front.floor)}"]
    body = ",\n".join(f"    {member}" for member in members)
    points = front.window // 2
    if not front.fixed_point and points in CMSIS_POINTS:
        body += f",\n#if defined(FEDTINY_CMSIS_DSP)\n    .plan = arm_cfft_init_{points}_f32\n#endif"
    return (
        array("int32_t" if front.fixed_point else "float", f"{name}_cosine", wave)
        + array("uint16_t", f"{name}_edges", np.array(front.edges))
        + f"static const fedtiny_stage {name}_stages[{len(front.stages)}] = {{{steps}}};\n"
        + f"static const fedtiny_front {name}_front = {{\n{body}\n}};\n"
    )


def fixed_features(front: Front, frames: NDArray[np.int16]) -> NDArray[np.int32]:
    """What the integer C computes of ``frames`` (n, window, channels), int16: Q16.16 (n, channels * bands), int32."""
    x = frames.astype(np.int64).swapaxes(1, 2).reshape(-1, front.window)
    centred = front.window * x - x.sum(axis=1, keepdims=True)
    peak = np.abs(centred).max(axis=1)
    shift = np.zeros(len(x), np.int64)
    for _ in range(30):
        shift += peak << shift < 1 << 29
    weight = (Q30 >> 1) - (fixed_cosine(front.window, np.arange(front.window)) >> 1)
    re, im = fixed_bins(rounded((centred << shift[:, None]) * weight, 30))
    power = np.add.reduceat(re * re + im * im, np.array(front.edges[:-1]) - 1, axis=1)
    widths = np.diff(front.edges) - front.narrowest
    columns = [_fixed_log(power[:, band], shift, front.scales[wider]) for band, wider in enumerate(widths.tolist())]
    return np.stack(columns, axis=1).reshape(len(frames), -1).astype(np.int32)


def _fixed_log(power: Ints, shift: Ints, scale: BandScale) -> Ints:
    """ln(power * scale + floor), Q16.16; ``shift``: bits by which the samples were shifted to the left."""
    exponent = scale.floor_exponent + 2 * shift
    lost = np.maximum(exponent - 30, 0)
    whole = np.where(lost < 64, power >> np.minimum(lost, 63), 0)
    raised = np.int64(scale.floor_mantissa) << np.clip(exponent - lost, 0, 30)
    sunk = np.where(exponent > -32, rounded(np.int64(scale.floor_mantissa) + 0 * shift, np.clip(-exponent, 0, 31)), 0)
    whole = np.maximum(whole + np.where(exponent >= 0, raised, sunk), 1)
    log2 = _fixed_log2(whole) + ((lost - 2 * shift) << 20) + scale.log2_scale
    return rounded(log2 * LN_2, 35)


def _fixed_log2(x: Ints) -> Ints:
    """log2 of x > 0 in Q12.20."""
    bits = np.zeros_like(x)
    for step in (32, 16, 8, 4, 2, 1):
        bits += step * (x >> (bits + step) > 0)
    fraction = (np.where(bits > 31, x >> np.maximum(bits - 31, 0), x << np.maximum(31 - bits, 0))) - (1 << 31)
    y = np.full_like(x, LOG2[-1])
    for coefficient in LOG2[-2::-1]:
        y = rounded(y * fraction, 31) + coefficient
    return (bits << 20) + rounded(y * fraction, 41)
