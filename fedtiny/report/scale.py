"""From data to pixels."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedtiny.report.values import LARGEST, Array


@dataclass(frozen=True)
class Scale:
    """A mapping of data to pixels, linear or logarithmic (base 10)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def fit(
        cls, values: npt.ArrayLike, start: float, end: float, *, log: bool = False, margin: float = 0.04
    ) -> "Scale":
        """Span the finite (for log: positive) values, with a margin as a share of the span at both ends."""
        data = np.asarray(values, dtype=np.float64)
        data = data[np.isfinite(data) & ((data > 1 / LARGEST) | (not log))]
        low, high = (float(data.min()), float(data.max())) if data.size else (1.0, 1.0)
        if log:
            low, high = math.log10(low), math.log10(high)
        if high <= low:
            spare = 0.5 if log else abs(low) / 10 or 0.5
            low, high = low - spare, high + spare
        else:
            spare = (high - low) * margin
            low, high = (low if low == 0 and not log else low - spare), high + spare
        return cls(low, high, start, end, log)

    def __call__(self, values: npt.ArrayLike) -> Any:
        """Pixels of values, of their shape; outside values stay at the edge, NaN stays NaN."""
        data = np.asarray(values, dtype=np.float64)
        if self.log:
            data = np.log10(np.where(data <= 0, 10.0**self.low, data))
        share = np.where(np.isfinite(data), (data - self.low) / (self.high - self.low), np.nan)
        return self.start + np.clip(share, 0, 1) * (self.end - self.start)

    def ticks(self, count: int = 5, *, whole: bool = False) -> list[float]:
        """Round values inside the span, at most about ``count``."""
        if self.log:
            decades = range(math.floor(self.low), math.ceil(self.high) + 1)
            for factors in ((1,), (1, 3), (1, 2, 5)):
                logs = [math.log10(f) + d for d in decades for f in factors]
                found = [10.0**t for t in logs if self.low <= t <= self.high]
                if len(found) >= 3:
                    return found[:: math.ceil(len(found) / count)]
            return found if len(found) >= 2 else [10.0**self.low, 10.0**self.high]
        raw = (self.high - self.low) / count
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(f * size for f in (1, 2, 5, 10) if f * size >= raw * (1 - 1e-9))
        step = max(step, 1.0) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def envelope(x: Array, y: Array, columns: int) -> tuple[Array, Array]:
    """Thin a curve for a picture without losing a peak: the lowest and highest point of every column.

    Args:
        x: (n,), ascending, finite.
        y: (n,); not finite where there is no value.
        columns: how many columns of equal width to divide the span of x into.

    Returns:
        x and y of at most 2 * columns points, in order; a column without any finite value keeps one gap.
    """
    if x.size <= 2 * columns:
        return x, y
    inner = np.linspace(x[0], x[-1], columns + 1)[1:-1]
    kept: list[int] = []
    for part in np.split(np.arange(x.size), np.searchsorted(x, inner)):
        finite = part[np.isfinite(y[part])]
        if finite.size:
            kept += sorted({int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])})
        elif part.size:
            kept.append(int(part[0]))
    return x[kept], y[kept]
