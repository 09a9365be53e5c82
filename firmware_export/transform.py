"""The Fourier transform of the C runtime: which windows it takes, its stages, and its integer twin.

Half as many complex points as the window has samples, loaded in digit-reversed order and joined in place by stages of
radix 2, 3, 4 and 5; the C says more (runtime/fedtiny_fft.h).
"""

from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError

Ints = NDArray[np.int64]
SMALLEST = 8  # samples
Q30 = 1 << 30
SIN_60, COS_72, SIN_72, COS_36, SIN_36 = 929887697, 331804471, 1021189158, 868675383, 631129613  # Q30


class Stage(NamedTuple):
    """As fedtiny_stage in C: joins ``radix`` transforms; ``shift`` in bits, ``stride`` in points."""

    radix: int
    shift: int
    stride: int


def check_window(window: int, largest: int) -> None:
    """Raise ConfigError unless the transform takes windows of ``window`` samples, ``largest`` at most."""
    if SMALLEST <= window <= largest and _fits(window):
        return
    below = next((w for w in range(min(window, largest), SMALLEST - 1, -1) if _fits(w)), None)
    above = next(w for w in count(max(window, SMALLEST)) if _fits(w))
    nearest = [str(w) for w in (below, above if above <= largest else None) if w is not None]
    raise ConfigError(
        f"window: {window} samples; the firmware's transform takes multiples of 4 from {SMALLEST} to {largest} without "
        f"prime factors beyond 2, 3 and 5, nearest {' and '.join(nearest)}"
    )


def _fits(window: int) -> bool:
    rest = window
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1 and window % 4 == 0


def stages(window: int) -> list[Stage]:
    """Stages in order: a 2 can only be first, and where there is none a 4 is, as these need no multiplication."""
    points = rest = window // 2
    counts = {}
    for radix in (4, 2, 3, 5):
        counts[radix] = 0
        while rest % radix == 0:
            rest //= radix
            counts[radix] += 1
    first = 2 if counts[2] else 4
    counts[first] -= 1
    radices = [first] + [radix for radix in (5, 3, 4) for _ in range(counts[radix])]
    made, length, bits = [], 1, 0
    for radix in radices:
        length *= radix
        shift = (length - 1).bit_length() - bits
        bits += shift
        made.append(Stage(radix, shift, points // length))
    return made


def quarter_wave(window: int) -> NDArray[np.float64]:
    """cos(2 pi i / window), i from 0 to window / 4, float64."""
    return np.cos(2 * np.pi * np.arange(window // 4 + 1) / window)


def fixed_cosine(window: int, i: Ints) -> Ints:
    """cos(2 pi i / window) in Q30, folded into the first quarter as the C does; 0 <= i <= window."""
    table = np.rint(quarter_wave(window) * Q30).astype(np.int64)
    folded = np.minimum(i, window - i)
    later = folded > window // 4
    return np.where(later, -table[np.where(later, window // 2 - folded, 0)], table[np.where(later, 0, folded)])


def rounded(x: Ints, shift: int | Ints) -> Ints:
    """Divide x by 2^shift, to the nearest; ties upward."""
    return (x + (np.int64(1) << np.asarray(shift, np.int64) >> 1)) >> shift


def fixed_bins(samples: Ints) -> tuple[Ints, Ints]:
    """Bins 1 to window / 2 of windowed ``samples`` (n, window), |sample| < 1.35e9: real and imaginary parts.

    Each is (n, window / 2), int64; scaled down by two to the sum of the stages' shifts.
    """
    window = samples.shape[1]
    order, plan = np.zeros(1, np.int64), stages(window)
    for stage in plan:
        order = (np.arange(stage.radix)[:, None] * stage.stride + order).ravel()
    re, im = samples[:, 2 * order], samples[:, 2 * order + 1]
    for stage in plan:
        re, im = _join(re, im, stage, window)
    return _split(re, im, window)


def _turned(re: Ints, im: Ints, turn: Ints, shift: int, window: int) -> tuple[Ints, Ints]:
    """(re + i im) * exp(-2 pi i turn / window) / 2^shift."""
    c, s = fixed_cosine(window, turn), fixed_cosine(window, np.abs(turn - window // 4))
    return rounded(re * c + im * s, 30 + shift), rounded(im * c - re * s, 30 + shift)


def _join(re: Ints, im: Ints, stage: Stage, window: int) -> tuple[Ints, Ints]:
    radix, shift, stride = stage
    points = window // 2
    length = points // (radix * stride)
    re, im = (part.reshape(len(part), stride, radix, length) for part in (re, im))
    x = [(rounded(re[:, :, 0], shift), rounded(im[:, :, 0], shift))]
    turn = np.arange(length) * (window // (radix * length))
    x += [_turned(re[:, :, q], im[:, :, q], q * turn, shift, window) for q in range(1, radix)]
    # complex numbers as arrays (2, ...), so that sums read as such
    joined = np.stack(_BUTTERFLIES[radix](*(np.stack(leg) for leg in x)), axis=3)
    return joined[0].reshape(-1, points), joined[1].reshape(-1, points)


def _times(x: Ints, factor: int) -> Ints:
    return rounded(x * factor, 30)


def _minus_i(x: Ints) -> Ints:
    return np.stack([x[1], -x[0]])


def _two(a: Ints, b: Ints) -> list[Ints]:
    return [a + b, a - b]


def _three(a: Ints, b: Ints, c: Ints) -> list[Ints]:
    m, u = a - _times(b + c, Q30 // 2), _minus_i(_times(b - c, SIN_60))
    return [a + b + c, m + u, m - u]


def _four(a: Ints, b: Ints, c: Ints, d: Ints) -> list[Ints]:
    u = _minus_i(b - d)
    return [a + c + b + d, a - c + u, a + c - b - d, a - c - u]


def _five(a: Ints, b: Ints, c: Ints, d: Ints, e: Ints) -> list[Ints]:
    s, t, u, v = b + e, c + d, b - e, c - d
    m = a + _times(s, COS_72) - _times(t, COS_36)
    n = a - _times(s, COS_36) + _times(t, COS_72)
    p = _minus_i(_times(u, SIN_72) + _times(v, SIN_36))
    q = _minus_i(_times(u, SIN_36) - _times(v, SIN_72))
    return [a + s + t, m + p, n + q, n - q, m - p]


_BUTTERFLIES: dict[int, Any] = {2: _two, 3: _three, 4: _four, 5: _five}


def _split(re: Ints, im: Ints, window: int) -> tuple[Ints, Ints]:
    """Bins of the real signal out of the transform (n, window / 2) of its even and odd samples."""
    k = np.arange(1, window // 4 + 1)
    ar, ai, br, bi = re[:, k], im[:, k], re[:, -k], im[:, -k]
    er, ei = rounded(ar + br, 1), rounded(ai - bi, 1)
    odd_re, odd_im = _turned(ai + bi, br - ar, k, 1, window)
    last = re[:, :1] - im[:, :1]
    upper = slice(None, None, -1)  # bins window / 2 - k; the middle one is there as what the C stores last
    return (
        np.concatenate([(er + odd_re)[:, :-1], (er - odd_re)[:, upper], last], axis=1),
        np.concatenate([(ei + odd_im)[:, :-1], (odd_im - ei)[:, upper], 0 * last], axis=1),
    )
