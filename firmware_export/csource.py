"""Numbers and arrays as C99 text, exact to the bit."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ReleaseError

WIDTH = 118  # columns of a line
INT32_MIN = -(2**31)


def number(ctype: str, value: float) -> str:
    """``value`` as a literal of ``ctype``: an integer type of C, or ``float`` (which must be finite)."""
    if ctype != "float":
        return "(-2147483647 - 1)" if int(value) == INT32_MIN else str(int(value))
    single = np.float32(value)
    if not math.isfinite(single):
        raise ReleaseError(f"{value} is no finite float32: it cannot be a constant in C")
    text = str(single)  # the shortest decimal that gives the same float32 again
    return text + "f" if "." in text or "e" in text else text + ".0f"


def array(ctype: str, name: str, values: NDArray[Any], *, align: int | None = None) -> str:
    """``static const`` array ``name`` of ``values``, flattened in C order; ``align`` in bytes."""
    attribute = f" __attribute__((aligned({align})))" if align else ""
    lines, line = [], "   "
    for value in values.ravel().tolist():
        item = f" {number(ctype, value)},"
        if len(line) + len(item) > WIDTH:
            lines.append(line)
            line = "   "
        line += item
    lines.append(line)
    body = "\n".join(lines)
    return f"static const {ctype} {name}[{values.size}]{attribute} = {{\n{body}\n}};\n"
