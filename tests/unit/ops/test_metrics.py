"""Metrics: one registry per element, none shared."""

from mrf_ops.metrics import CONTENT_TYPE, Metrics


def test_values_and_exposition() -> None:
    metrics = Metrics("mrfp")
    failures = metrics.counter("handshake_failures", "TLS handshakes that failed.", ["reason"])
    failures.labels("unknown_psk_identity").inc()
    metrics.gauge("ports_left", "Free ports.").set(17)
    metrics.histogram("handshake_seconds", "Duration of a TLS handshake.").observe(0.004)
    assert metrics.value("mrfp_handshake_failures_total", reason="unknown_psk_identity") == 1
    assert metrics.value("mrfp_ports_left") == 17
    assert metrics.value("mrfp_unheard_of") == 0
    text = metrics.render().decode()
    assert 'mrfp_handshake_failures_total{reason="unknown_psk_identity"} 1.0' in text
    assert 'mrfp_handshake_seconds_bucket{le="0.005"} 1.0' in text
    assert 'mrfp_handshake_seconds_bucket{le="0.0025"} 0.0' in text
    assert CONTENT_TYPE.startswith("text/plain")


def test_elements_do_not_meet() -> None:
    first, second = Metrics("kms"), Metrics("kms")
    first.counter("tickets", "Tickets issued.").inc()
    second.counter("tickets", "Tickets issued.")
    assert (first.value("kms_tickets_total"), second.value("kms_tickets_total")) == (1, 0)


def test_process_metrics_on_request() -> None:
    assert "kms_process_open_fds" in Metrics("kms", process=True).render().decode()
    assert "process" not in Metrics("kms").render().decode()
