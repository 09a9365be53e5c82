"""A table of metrics: the name, the kind and the meaning of each, and how it is read from a snapshot.

What is served and what the documentation lists both come from such a table. No library is needed for it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
G = TypeVar("G")
Values = Mapping[tuple[str, ...], float]
AGE = (
    "Seconds since these figures were taken, or since the start where none could be. It grows where the process hangs."
)


@dataclass(frozen=True)
class Series(Generic[T]):
    """One metric. ``read`` gives its value, None where there is none, or a value for each combination of ``labels``.

    A counter's name goes without its suffix ``_total``.
    """

    kind: Literal["gauge", "counter"]
    name: str
    help: str
    read: Callable[[T], float | Values | None]
    labels: tuple[str, ...] = ()

    @property
    def exposed_name(self) -> str:
        """As Prometheus knows it."""
        return self.name + "_total" * (self.kind == "counter")

    def values(self, snapshot: T) -> Iterable[tuple[tuple[str, ...], float]]:
        """(values of the labels, value) of each sample."""
        found = self.read(snapshot)
        if found is None:
            return ()
        return found.items() if isinstance(found, Mapping) else [((), found)]


@dataclass(frozen=True)
class Table(Generic[T, G]):
    """All metrics of one process: ``series`` are read from a snapshot, ``always`` from what is there before the first.

    age: name of the gauge that says how old the snapshot is, in seconds.
    """

    age: str
    series: tuple[Series[T], ...]
    always: tuple[Series[G], ...] = ()

    def markdown(self) -> str:
        """As a table for people."""
        age = (self.age, "gauge", "", AGE)
        every: list[Series[T] | Series[G]] = [*self.series, *self.always]
        rows = [(one.exposed_name, one.kind, ", ".join(one.labels), one.help) for one in every]
        lines = [f"| `{name}` | {kind} | {labels} | {text} |" for name, kind, labels, text in (*rows, age)]
        return "\n".join(["| Metric | Kind | Labels | What |", "| --- | --- | --- | --- |", *lines])


def one_of(chosen: str | None, *choices: str) -> Values:
    """1 for the choice that holds and 0 for all others."""
    return {(choice,): float(choice == chosen) for choice in choices}


def by_name(counts: Mapping[str, float]) -> Values:
    """The values of a metric with one label."""
    return {(name,): value for name, value in counts.items()}
