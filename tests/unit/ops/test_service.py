"""Pulse, recent calls, changed keys and secrets: what elements share to be run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from mrf_ops.config import Secret, changed_keys, read_secret, secret_of_environment
from mrf_ops.metrics import Metrics
from mrf_ops.pulse import Pulse
from mrf_ops.recent import RecentCalls
from mrf_ops.service import Service
from mrf_ops.trace import JsonLinesSink, ListSink, TraceEvent, Tracer


def event(call: str, name: str = "INVITE") -> TraceEvent:
    return TraceEvent(1.0, "MRFC", call, "received", "UE-A", "SIP", name)


def test_the_last_calls_are_kept_and_all_is_passed_on() -> None:
    onward = ListSink()
    recent = RecentCalls(onward, calls=2, events=2)
    for call in ("a", "b", "c", "c", "c", ""):
        recent.write(event(call))
    assert recent.correlations() == ["c", "b"]
    assert len(recent.events("c")) == 2
    assert recent.events("a") == []
    assert len(onward.events) == 6


async def test_a_loop_that_stands_still_is_late() -> None:
    metrics = Metrics("test")
    pulse = Pulse(metrics, Service({}))
    pulse.start()
    await asyncio.sleep(0)
    time.sleep(0.4)  # the fault that is looked for
    await asyncio.sleep(0.05)
    pulse.stop()
    count = metrics.value("test_loop_lag_seconds_count")
    assert count >= 2
    assert metrics.value("test_loop_lag_seconds_bucket", le="0.1") < count
    await asyncio.sleep(0.3)
    assert metrics.value("test_loop_lag_seconds_count") == count  # no beat after the end


class Inner(msgspec.Struct):
    level: str = "info"
    token: Secret | None = None


class Outer(msgspec.Struct):
    log: Inner
    rows: list[int]


def test_changed_keys_are_named_by_their_path_and_secrets_compared_by_value() -> None:
    def config(level: str, token: bytes | None, rows: list[int]) -> Outer:
        return Outer(Inner(level, None if token is None else Secret(token)), rows)

    old = config("info", b"one", [1])
    assert changed_keys(old, config("info", b"one", [1])) == []
    assert changed_keys(old, config("debug", b"two", [1, 2])) == ["log.level", "log.token", "rows"]
    assert changed_keys(old, config("info", None, [1])) == ["log.token"]


def test_secrets_of_the_environment() -> None:
    secret = secret_of_environment("KEY", {"KEY": " 00ff \n"})
    assert secret.reveal_hex() == b"\x00\xff"
    assert "00ff" not in repr(secret)
    with pytest.raises(ValueError, match="environment variable KEY is not set"):
        secret_of_environment("KEY", {"KEY": " "})


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("00ff\n")
    file.chmod(0o640)
    assert read_secret(file).reveal() == b"00ff"
    file.chmod(0o644)
    with pytest.raises(ValueError, match="chmod o="):
        read_secret(file)


def test_gauges_by_label_are_asked_for_together() -> None:
    metrics = Metrics("test")
    asked = []

    def ask() -> dict[str, float]:
        asked.append(1)
        return {"idle": 2, "busy": 3}

    metrics.counts("things", "Things", "state", ask)
    assert 'test_things{state="busy"} 3.0' in metrics.render().decode()
    assert len(asked) == 1


def test_a_trace_file_that_was_removed_is_made_anew_and_a_broken_one_counted(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    sink = JsonLinesSink(file)
    tracer = Tracer("MRFC", sink)
    tracer.emit("call", "local", "", "SIP", "first")
    file.unlink()
    sink._look_at = 0.0
    tracer.emit("call", "local", "", "SIP", "second")
    assert "second" in file.read_text()
    metrics = Metrics("test")
    metrics.watch_tracer(tracer)
    sink.close()
    sink.write(event("call"))
    assert metrics.value("test_trace_events_dropped") == 1
