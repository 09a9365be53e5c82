"""Serves a table of metrics over HTTP, from a thread of its own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from fedtiny.config import Metrics
from fedtiny.errors import ConfigError
from fedtiny.exposition.latest import Latest
from fedtiny.exposition.series import AGE, Table

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)
T = TypeVar("T")
PATIENCE_S = 3.0  # that a scrape waits for the loop; Prometheus gives up after 10


class TableCollector(Generic[T]):
    """The metrics of a table as prometheus-client wants them, read anew at each scrape."""

    def __init__(self, table: Table[T], latest: Latest[T]) -> None:
        self._table, self._latest = table, latest

    def collect(self) -> "Iterator[Metric]":
        """All families; none before the process has begun its work."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        found = self._latest.ask(PATIENCE_S)
        if found is None:
            return
        snapshot, age = found
        common = [read(snapshot) for read in self._table.common.values()]
        for series in self._table.series:
            labels = (*self._table.common, *series.labels)
            kind = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
            family: CounterMetricFamily | GaugeMetricFamily = kind(series.name, series.help, labels=labels)
            for values, value in series.values(snapshot):
                family.add_metric([*common, *values], value)
            if family.samples:
                yield family
        aged = GaugeMetricFamily(self._table.age, AGE, labels=[*self._table.common])
        aged.add_metric(common, age)
        yield aged


@contextmanager
def exposed(settings: Metrics, table: Table[T]) -> Iterator[Latest[T] | None]:
    """Serve ``table`` where a port is set; yields where its snapshots go, or None.

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
    registry.register(TableCollector(table, latest))
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
