"""How the pictures look: one palette, plain axes, the same file from the same figures."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

mpl.use("svg")
OURS, PEER, OTHER, FAINT, ALARM = "#0b6e99", "#c8792a", "#6a737d", "#c9ced3", "#b3261e"
WIDTH_IN = 7.2

mpl.rcParams.update(
    {
        "svg.hashsalt": "fedtiny",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": OTHER,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
    }
)


def axes(columns: int = 1, height_in: float = 2.6) -> "tuple[Figure, list[Axes]]":
    """A picture of ``columns`` plots side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in))
    return figure, [figure.add_subplot(1, columns, column + 1) for column in range(columns)]


def save(figure: "Figure", path: Path) -> None:
    """Write ``figure`` as SVG without the date in it."""
    figure.savefig(path, format="svg", metadata={"Date": None})
