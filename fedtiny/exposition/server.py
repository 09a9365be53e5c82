"""Serves a table of metrics over HTTP, from a thread of its own."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from fedtiny.config import Metrics
from fedtiny.errors import ConfigError
from fedtiny.exposition.latest import Latest
from fedtiny.exposition.series import AGE, Series, Table

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)
T = TypeVar("T")
G = TypeVar("G")
S = TypeVar("S")
PATIENCE_S = 3.0  # that a scrape waits for the loop; Prometheus gives up after 10


class TableCollector(Generic[T, G]):
    """The metrics of a table as prometheus-client wants them, read anew at each scrape; see ``exposed``."""

    def __init__(self, table: Table[T, G], latest: Latest[T], common: Mapping[str, str], ground: G) -> None:
        self._table, self._latest, self._common, self._ground = table, latest, common, ground

    def collect(self) -> "Iterator[Metric]":
        """All families; before the process has begun its work those that can be told always, and since when."""
        snapshot, age = self._latest.ask(PATIENCE_S)
        yield from self._families(self._table.always, self._ground)
        if snapshot is not None:
            yield from self._families(self._table.series, snapshot)
        yield from self._families([Series("gauge", self._table.age, AGE, lambda found: found)], age)

    def _families(self, table: Iterable[Series[S]], source: S) -> "Iterator[Metric]":
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for series in table:
            labels = (*self._common, *series.labels)
            kind = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
            family: CounterMetricFamily | GaugeMetricFamily = kind(series.name, series.help, labels=labels)
            for values, value in series.values(source):
                family.add_metric([*self._common.values(), *values], value)
            if family.samples:
                yield family


@contextmanager
def exposed(settings: Metrics, table: Table[T, G], common: Mapping[str, str], ground: G) -> Iterator[Latest[T] | None]:
    """Serve ``table`` where a port is set; yields where its snapshots go, or None.

    common: labels that all metrics have. ground: what those are read from that are always there.

    Raises ConfigError where prometheus-client is missing, or the address cannot be listened on.
    """
    if settings.port is None:
        yield None
        return
    try:
        from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
    except ImportError:
        raise ConfigError("metrics.port: needs prometheus-client: pip install 'fedtiny[metrics]'") from None
    latest: Latest[T] = Latest()
    registry = CollectorRegistry()
    registry.register(TableCollector(table, latest, common, ground))
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(settings.port, settings.host, registry)
    except OSError as error:
        raise ConfigError(f"metrics.port: cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
    log.info("metrics on http://%s:%d/metrics", settings.host, settings.port)
    try:
        yield latest
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
