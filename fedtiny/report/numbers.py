"""Numbers as words. One that is missing or not finite reads as an en dash."""

import math
from typing import Any

from fedtiny.report.values import DASH, as_number

BEYOND = 1e12


def number_text(value: Any, digits: int, unit: str = "") -> str:
    """With so many digits, thousands apart, a true minus sign, and a unit; three digits of what is beyond all sense."""
    number = as_number(value)
    if abs(number) >= BEYOND:
        return short(number) + unit
    return f"{number:,.{digits}f}{unit}".replace("-", "−") if math.isfinite(number) else DASH


def counted(value: Any, noun: str) -> str:
    """A number of things: "1 round", "2 rounds"."""
    return f"{plain(value)} {noun}{'' if as_number(value) == 1 else 's'}"


def auc_text(value: Any) -> str:
    """An AUC, 0..1."""
    return number_text(value, 3)


def percent(value: Any) -> str:
    """A share as a percentage with a digit behind the point."""
    return number_text(100 * as_number(value), 1, "\u00a0%")


def percent0(value: Any) -> str:
    """A share as a whole percentage."""
    return number_text(100 * as_number(value), 0, "\u00a0%")


def mb(value: Any) -> str:
    """Megabytes."""
    return number_text(value, 0, "\u00a0MB")


def seconds_text(value: Any) -> str:
    """A duration of seconds to minutes."""
    return number_text(value, 1 if as_number(value) < 100 else 0, "\u00a0s")


def bytes_text(value: Any) -> str:
    """A size, in the unit that fits it."""
    number = as_number(value)
    for size, unit in ((1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return number_text(number / size, 1, f"\u00a0{unit}")
    return number_text(value, 0, "\u00a0B")


def plain(value: Any) -> str:
    """As it is, up to ten digits."""
    number = as_number(value)
    return f"{number:.10g}".replace("-", "−") if math.isfinite(number) else DASH


def short(value: Any) -> str:
    """Three digits."""
    number = as_number(value)
    return f"{number:.3g}".replace("-", "−") if math.isfinite(number) else DASH


def loss_text(value: Any) -> str:
    """Three digits, zeros behind the point kept."""
    number = as_number(value)
    return f"{number:#.3g}".rstrip(".").replace("-", "−") if math.isfinite(number) else DASH
