"""What the MRFP counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import Counter

from mrf_ops.metrics import Metrics


class MediaMetrics:
    """Counters of the media side; all of them exist from the start, so that a rate is never undefined."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.procedures = metrics.counter(
            "procedures", "Mp procedures, by name and result", ["name", "result"]
        )
        established = metrics.counter("connections_established", "BFCP connections", ["tls"])
        self._established = {
            version: established.labels(version) for version in ("none", "TLSv1.2", "TLSv1.3")
        }
        self.failures = metrics.counter(
            "establishment_failures", "Failures, by kind and reason", ["kind", "reason"]
        )
        self._ended = metrics.counter("connections_ended", "Established connections that ended", ["reason"])
        self._ended_by_reason: dict[str, Counter] = {}
        self.dropped = metrics.counter("candidates_dropped", "Connections that were not the peer's")
        received = metrics.counter("bfcp_messages", "BFCP messages", ["direction"])
        self.received = received.labels("received")
        self.sent = received.labels("sent")
        self.unreadable = metrics.counter("bfcp_unreadable", "BFCP messages that could not be read")

        self.floor_waits = metrics.histogram(
            "floor_wait_seconds",
            "Seconds between asking for a floor and holding it, 0 when it was free",
            buckets=(0.01, 0.1, 1, 5, 10, 30, 60, 120, 300, 600, 1800),
        )

    def count_established(self, tls_version: str) -> None:
        """A BFCP connection is there; "" without TLS."""
        self._established[tls_version or "none"].inc()

    def watch_counts(
        self, name: str, documentation: str, label: str, ask: Callable[[], Mapping[str, float]]
    ) -> None:
        """Gauges, one per value of a label."""
        self._metrics.counts(name, documentation, label, ask)

    def count_ended(self, reason: str) -> None:
        """An established connection is gone."""
        counter = self._ended_by_reason.get(reason)
        if counter is None:
            counter = self._ended_by_reason[reason] = self._ended.labels(reason)
        counter.inc()

    def watch(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """A gauge that asks for its value when it is read."""
        self._metrics.gauge(name, documentation).set_function(value)
