"""What the demo says while it runs: progress on a terminal, plain lines in a pipe, a table at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fedtiny.errors import ConfigError


class Screen:
    """Progress on a terminal, plain lines in a pipe."""

    def __init__(self) -> None:
        try:
            from rich.console import Console
        except ImportError:
            raise ConfigError("the demo needs TensorFlow, a broker and rich: pip install 'fedtiny[demo]'") from None
        self.console = Console(highlight=False)
        self.started = time.monotonic()

    def say(self, words: str) -> None:
        """One line, with the seconds since the start."""
        from rich.markup import escape

        self.console.print(f"[dim]{time.monotonic() - self.started:5.1f} s[/]  {escape(words)}", soft_wrap=True)

    @contextmanager
    def busy(self, words: str) -> Iterator[Any]:
        """A spinner while something takes long; yields a function that changes its words."""
        if not self.console.is_terminal:
            yield lambda _: None
            return
        with self.console.status(words) as status:
            yield status.update


def print_summary(screen: Screen, summary: dict[str, Any]) -> None:
    """The figures of the run, as ``figures.evaluate`` has them."""
    from rich.table import Table

    table = Table(title="Failing against normal, on machines that the trainer never saw")
    table.add_column("")
    for column in ("AUC mean", "worst", "one threshold", "detected", "false alarms"):
        table.add_column(column, justify="right")

    def cell(value: float | None, percent: bool = False) -> str:
        return "–" if value is None else f"{value:.1%}" if percent else f"{value:.3f}"

    for kind, words in (
        ("frozen", "frozen base"),
        ("calibrated", "its local score"),
        ("federated", "federated"),
        ("central", "central, float"),
        ("zscore", "z-score alone"),
    ):
        auc = summary["auc"][kind]
        table.add_row(
            words,
            *(cell(auc[key]) for key in ("per_device_mean", "per_device_min", "one_threshold")),
            cell(summary["detection_rate"][kind], True),
            cell(summary["false_alarm_rate"][kind], True),
            style="bold" if kind == "federated" else "",
        )
    screen.console.print(table)
    standing = summary["alarms_standing"]
    machines = summary["devices"]
    screen.say(f"alarms at the end: {standing} of {machines} machines (scores follow slow drift, the table does not)")
    traffic = summary["bytes_per_device_round"]
    screen.say(f"bytes a device a round: {traffic['up']:,.0f} up, {traffic['down']:,.0f} down")
    screen.say(f"peak memory of an edge agent: {summary['edge_peak_rss_mb']:.1f} MB")
