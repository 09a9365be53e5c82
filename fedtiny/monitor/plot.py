"""Scores over time in braille characters: two by four dots in a cell (Unicode 6.0, block 2800)."""

import math
from collections.abc import Sequence

from fedtiny.monitor.rows import Cell, Row
from fedtiny.monitor.trace import Point
from fedtiny.monitor.view import utc

BLANK = 0x2800
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # [column][line from the top]
MARGIN = 9  # cells left of the plot, for its scale
LARGEST = 1e100
WIDEST = 6  # columns of dots for one point
WIDE = 30.0  # largest score, as a multiple of the threshold, from which on the scale is logarithmic


def plot(points: Sequence[Point], width: int, height: int) -> list[Row]:
    """``height`` lines of ``width`` cells, then one with the times: each span from its mean to its largest score.

    Spans that share a column of dots show as one, from their least mean to their largest score. The newest threshold
    is a dashed line; what reaches the threshold that it stood under is red. The scale begins at 0, or is logarithmic
    where a score is more than ``WIDE`` times the threshold.
    """
    if not points:
        return [(("no score yet", "dim"),)]
    threshold = points[-1].threshold
    scale = _Scale(points, threshold, height)
    columns = min((width - MARGIN) * 2, len(points) * WIDEST)
    canvas = [[0] * (width - MARGIN) for _ in range(height)]
    over = [[False] * (width - MARGIN) for _ in range(height)]
    for column in range(columns):
        first = column * len(points) // columns
        spans = points[first : max((column + 1) * len(points) // columns, first + 1)]
        low, high = scale.line(min(span.mean for span in spans)), scale.line(max(span.largest for span in spans))
        reached = [span.threshold for span in spans if span.threshold and span.largest >= span.threshold]
        red = scale.line(min(reached)) if reached else -1
        for line in range(high, low + 1):
            canvas[line // 4][column // 2] |= DOTS[column % 2][line % 4]
            over[line // 4][column // 2] |= line <= red
    at = scale.line(threshold) // 4 if threshold else None
    rows = [_line(canvas[y], over[y], scale.label(y, at), y == at) for y in range(height)]
    begin, end = utc(points[0].at)[11:19], f"{utc(points[-1].at)[11:19]} UTC"
    between = columns // 2 - len(begin) - len(end)
    return [*rows, ((" " * MARGIN + begin + " " * max(between, 3) + end, "dim"),)]


class _Scale:
    """From scores to lines of dots, 0 at the top, and back."""

    def __init__(self, points: Sequence[Point], threshold: float, height: int) -> None:
        scores = [_bounded(score) for point in points for score in (point.mean, point.largest)]
        threshold = _bounded(threshold)
        top = max(*scores, threshold)
        self._log = threshold > 0 and top > WIDE * threshold
        floor = min((score for score in scores if score > 0), default=threshold)
        self._low = math.log(min(floor, threshold)) if self._log else min(0.0, *scores)
        self._high = math.log(top) if self._log else top
        if self._high <= self._low:
            self._high = self._low + max(1.0, abs(self._low) * 1e-9)  # more than the rounding of a large one
        self._lines, self._threshold = height * 4 - 1, threshold

    def line(self, score: float) -> int:
        """The line of dots for a score."""
        value = (math.log(score) if score > 0 else self._low) if self._log else _bounded(score)
        share = (value - self._low) / (self._high - self._low)
        return round((1.0 - min(max(share, 0.0), 1.0)) * self._lines)

    def value(self, line: int) -> float:
        """The score at a line of dots."""
        value = self._low + (1.0 - line / self._lines) * (self._high - self._low)
        return math.exp(value) if self._log else value

    def label(self, row: int, threshold_row: int | None) -> str:
        """What stands beside a row of cells: the threshold, the largest, the smallest."""
        if row == threshold_row:
            return _short(self._threshold)
        rows = self._lines // 4
        return _short(self.value(row * 4 + 3 * (row > 0))) if row in (0, rows) else ""


def _short(value: float) -> str:
    """In at most 7 characters."""
    text = f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return text if len(text) <= MARGIN - 2 else f"{value:.0e}"


def _bounded(score: float) -> float:
    """As large as it can be without an overflow in what is computed with it."""
    return min(max(score, -LARGEST), LARGEST)


def _line(cells: Sequence[int], over: Sequence[bool], label: str, threshold: bool) -> Row:
    row: list[Cell] = [(f"{label:>{MARGIN - 2}} " + ("┤" if label else "│"), "yellow" if threshold else "dim")]
    for dots, red in zip(cells, over, strict=True):
        text = chr(BLANK + dots) if dots else "╌" if threshold else " "
        style = "red" if red else "cyan" if dots else "yellow" if threshold else ""
        if row[-1][1] == style and len(row) > 1:
            row[-1] = (row[-1][0] + text, style)
        else:
            row.append((text, style))
    return tuple(row)
