"""Metrics of one element in Prometheus' words.

Each element makes one `Metrics` object and hands it down; there is no global registry, so that tests and
several elements in one process do not meet. Names get the element's prefix:
`Metrics("mrfp").counter("handshake_failures", ...)` is exported as `mrfp_handshake_failures_total`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mrf_ops.trace import Tracer

CONTENT_TYPE = CONTENT_TYPE_LATEST
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Counts(Collector):
    def __init__(
        self, name: str, documentation: str, label: str, ask: Callable[[], Mapping[str, float]]
    ) -> None:
        self._names = (name, documentation, label)
        self._ask = ask

    def collect(self) -> Iterator[Metric]:
        name, documentation, label = self._names
        gauge = GaugeMetricFamily(name, documentation, labels=[label])
        for value, count in self._ask().items():
            gauge.add_metric([value], count)
        yield gauge

    def describe(self) -> Iterator[Metric]:
        name, documentation, label = self._names
        yield GaugeMetricFamily(name, documentation, labels=[label])


class _Totals(Collector):
    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        ask: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        self._names = (name, documentation)
        self._labels = labels
        self._ask = ask

    def collect(self) -> Iterator[Metric]:
        counter = CounterMetricFamily(*self._names, labels=self._labels)
        for values, count in self._ask().items():
            counter.add_metric(values, count)
        yield counter

    def describe(self) -> Iterator[Metric]:
        yield CounterMetricFamily(*self._names, labels=self._labels)


class Metrics:
    """Registry of one element's metrics.

    element: prefix of every name, lower case ("mrfc", "mrfp", "kms"). process: also export memory, CPU and
    open files of this process (only on a live element; it reads /proc at each scrape).
    """

    def __init__(self, element: str, process: bool = False) -> None:
        self.element = element
        self.registry = CollectorRegistry()
        if process:
            ProcessCollector(namespace=element, registry=self.registry)

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """A count that only grows; `_total` is added to the exported name."""
        return Counter(name, documentation, labels, namespace=self.element, registry=self.registry)

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """A value that goes up and down."""
        return Gauge(name, documentation, labels, namespace=self.element, registry=self.registry)

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = LATENCY_BUCKETS,
    ) -> Histogram:
        """A distribution; the default buckets are seconds from 1 ms to 10 s."""
        return Histogram(
            name,
            documentation,
            labels,
            namespace=self.element,
            registry=self.registry,
            buckets=tuple(buckets),
        )

    def counts(
        self, name: str, documentation: str, label: str, ask: Callable[[], Mapping[str, float]]
    ) -> None:
        """A gauge per value of one label, all of them asked for at once when somebody looks."""
        self.registry.register(_Counts(f"{self.element}_{name}", documentation, label, ask))

    def totals(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        ask: Callable[[], Mapping[tuple[str, ...], float]],
    ) -> None:
        """A counter that somebody else keeps, by the values of its labels, asked for when somebody looks."""
        self.registry.register(_Totals(f"{self.element}_{name}", documentation, labels, ask))

    def watch_tracer(self, tracer: Tracer) -> None:
        """Tell how many trace events could not be written."""
        self.gauge(
            "trace_events_dropped", "Trace events lost since the start, for instance to a full disk"
        ).set_function(lambda: tracer.dropped)

    def value(self, name: str, **labels: str) -> float:
        """Present value of a sample by its exported name ("mrfp_ports_left"); 0.0 when there is none."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def render(self) -> bytes:
        """The exposition text; serve it with `CONTENT_TYPE`."""
        return generate_latest(self.registry)
