"""Numbers of the score as C takes them: float32, or fixed point with 16 fraction bits; and its fixed-point twin.

``runtime/fedtiny_score.c`` computes ``fedtiny.model.scoring`` and ``fedtiny.model.drift``. In float it does so to a few
units in the last place; in fixed point it is equal to ``FixedScore`` here to the bit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError
from firmware_export.csource import number

Fixed = NDArray[np.int32]
Wide = NDArray[np.int64]
Values = NDArray[Any]
FRACTION_BITS, STEP_BITS = 16, 24  # of a value; of the output's step
ROUGH = 1e-3  # relative error that a factor may have in fixed point
CANNOT_TELL = np.float32(-3.4e38)  # still_below of features that have no power; in fixed point the least value
VOTES = 32  # windows of a vote, at most


def ctype(*, fixed_point: bool) -> str:
    """What a fedtiny_value is."""
    return "int32_t" if fixed_point else "float"


def to_values(numbers: Any, what: str, *, fixed_point: bool, factor: bool = False) -> Values:
    """``numbers`` as fedtiny_value: float32 or int32, same shape. ``factor``: their relative error counts.

    Raises ConfigError, with ``what`` they are, where fixed point cannot hold them.
    """
    exact = np.asarray(numbers, np.float64)
    if not fixed_point:
        return exact.astype(np.float32)
    scaled = np.rint(exact * 2**FRACTION_BITS)
    if not ((scaled >= -(2**31)) & (scaled < 2**31)).all():
        most = exact.ravel()[np.abs(exact).argmax()]
        raise ConfigError(f"{what}: {most:g} is beyond fixed point, which ends at 32768: export with float numbers")
    if factor and (np.abs(scaled / 2**FRACTION_BITS - exact) > ROUGH * np.abs(exact)).any():
        least = exact.ravel()[np.abs(exact).argmin()]
        raise ConfigError(f"{what}: {least:g} is too small for fixed point's steps of 2^-16: export with float numbers")
    return scaled.astype(np.int32)


def input_codes(scale: float, zero_point: int, *, fixed_point: bool) -> str:
    """Initialiser of a fedtiny_input_codes, from the scale and zero point of the network's input."""
    per_unit = to_values(1 / scale, "codes of a unit of the input", fixed_point=fixed_point, factor=True)
    return f"{{ {number(ctype(fixed_point=fixed_point), per_unit.item())}, {zero_point} }}"


def output_codes(scale: float, zero_point: int, *, fixed_point: bool) -> str:
    """Initialiser of a fedtiny_output_codes, from the scale and zero point of the network's output."""
    step = output_step(scale) if fixed_point else scale
    return f"{{ {number(ctype(fixed_point=fixed_point), step)}, {zero_point} }}"


def output_step(scale: float) -> int:
    """The output's scale in 2^-24; ConfigError from 128 on."""
    step = max(round(scale * 2**STEP_BITS), 1)
    if step >= 2**31:
        raise ConfigError(f"a step of the output is {scale:g}, below 128 expected in fixed point")
    return step


def check_vote(window: int) -> None:
    """Raise ConfigError for a vote of more windows than a microcontroller remembers."""
    if window > VOTES:
        raise ConfigError(f"edge.alarm_window: {window}, at most {VOTES} windows in firmware")


class FixedScore:
    """The score in fixed point, as C computes it to the bit, of many windows at once.

    constants: mean, factor, residual_mean, gain, centre (features,), directions (rank, features) and shrink (rank,),
    int32 in 2^-16. Scales and zero points are those of the network's input and output.
    """

    def __init__(
        self, constants: Mapping[str, Values], in_scale: float, in_zero: int, out_scale: float, out_zero: int
    ) -> None:
        self._of = {name: values.astype(np.int64) for name, values in constants.items()}
        self._per_unit = int(to_values(1 / in_scale, "input", fixed_point=True))
        self._step, self._in_zero, self._out_zero = output_step(out_scale), in_zero, out_zero

    def standardise(self, features: Fixed) -> tuple[Fixed, NDArray[np.int8]]:
        """(z, the network's inputs) of features, all (n, features)."""
        z = _product(_saturated(features - self._of["mean"]), self._of["factor"])
        exact = z * self._per_unit + self._in_zero * 2**32
        codes = (exact + 2**31) >> 32
        codes -= codes & (exact & (2**32 - 1) == 2**31)  # half to even
        return z.astype(np.int32), np.clip(codes, -128, 127).astype(np.int8)

    def away(self, z: Fixed, outputs: NDArray[np.int8]) -> Fixed:
        """Whitened residuals as seen from the centre of drift, of z and the network's outputs, all (n, features)."""
        decoded = ((outputs.astype(np.int64) - self._out_zero) * self._step + 128) >> (STEP_BITS - FRACTION_BITS)
        x = _saturated(z - _saturated(decoded))
        x = _product(_saturated(x - self._of["residual_mean"]), self._of["gain"])
        for direction, shrink in zip(self._of["directions"], self._of["shrink"], strict=True):
            along = _product(_saturated((x @ direction + 2**15) >> FRACTION_BITS), shrink)
            x = _saturated(x - _product(along[:, None], direction))
        return _saturated(x - self._of["centre"]).astype(np.int32)


def fixed_mean_square(away: Fixed) -> Fixed:
    """Scores (n,) of what ``FixedScore.away`` gives, (n, features)."""
    squares = np.square(away.astype(np.int64)) >> FRACTION_BITS
    return np.minimum(squares.sum(axis=1) // away.shape[1], 2**31 - 1).astype(np.int32)


def _saturated(values: Wide) -> Wide:
    return np.clip(values, -(2**31), 2**31 - 1)


def _product(a: Wide, b: Wide) -> Wide:
    return _saturated((a * b + 2 ** (FRACTION_BITS - 1)) >> FRACTION_BITS)
