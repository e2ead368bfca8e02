"""Readiness, watchdog, reload and stop, as systemd sees them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from mrf_ops.service import Service, cannot_listen

Bench = Any  # of conftest.py, which tests cannot import
Supervisor = Any


@pytest.mark.parametrize("element", ["kms", "mrfp", "mrfc"])
def test_ready_and_alive(bench: Bench, supervisor: Supervisor, element: str) -> None:
    bench.start(element, environment=supervisor.environment)
    assert "STATUS=" in supervisor.next("READY=1")
    for _ in range(3):
        supervisor.next("WATCHDOG=1")


@pytest.mark.parametrize("element", ["kms", "mrfp"])
def test_a_stopped_element_says_so_and_exits_well(bench: Bench, supervisor: Supervisor, element: str) -> None:
    started = bench.start(element, environment=supervisor.environment)
    supervisor.next("READY=1")
    started.process.send_signal(signal.SIGTERM)
    supervisor.next("STOPPING=1")
    assert started.ended() == 0


@pytest.mark.parametrize(
    ("element", "more", "later", "key"),
    [
        ("kms", '[log]\nlevel = "debug"\n', ("[kms]", "[kms]\nclock_skew = 30.0"), "kms.clock_skew"),
        (
            "mrfp",
            '[log]\nlevel = "debug"\n[termination]\nhandshake = 5.0\n',
            ("[mp]", '[mp]\nname = "other"'),
            "mp.name",
        ),
    ],
)
def test_reload(
    bench: Bench, supervisor: Supervisor, element: str, more: str, later: tuple[str, str], key: str
) -> None:
    started = bench.start(element, environment=supervisor.environment)
    supervisor.next("READY=1")
    bench.file(element).write_text(bench.good(element).replace(*later) + more)
    started.process.send_signal(signal.SIGHUP)
    supervisor.next("RELOADING=1")
    supervisor.next("READY=1")
    assert "after a restart" in started.says(f": {key}")
    bench.file(element).write_text("colour = 1\n")
    started.process.send_signal(signal.SIGHUP)
    assert "colour: is not a known key" in started.says("not reloaded")
    assert started.process.poll() is None


def test_notifications_go_to_both_kinds_of_address(tmp_path: Path) -> None:
    for address, bound in ((str(tmp_path / "s"), str(tmp_path / "s")), ("@mrf-test", "\0mrf-test")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(bound)
            Service({"NOTIFY_SOCKET": address}).ready("all well")
            assert listening.recv(100) == b"READY=1\nSTATUS=all well"
    Service({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("nobody hears it")
    Service({}).alive()


@pytest.mark.parametrize(
    ("host", "number", "words"),
    [
        (
            "127.0.0.1",
            98,
            "cannot listen on 127.0.0.1:80: another program has it (ss -ltunp 'sport = :80' shows which)",
        ),
        ("2001:db8::1", 99, "cannot listen on [2001:db8::1]:80: no interface of this host has the address"),
        ("127.0.0.1", 13, "ports below 1024 need CAP_NET_BIND_SERVICE"),
        ("127.0.0.1", 5, "Input/output error: see http.port"),
    ],
)
def test_what_is_said_of_a_port(host: str, number: int, words: str) -> None:
    assert words in cannot_listen("http.port", host, 80, OSError(number, os.strerror(number)))


def test_an_address_that_is_not_there_as_later_pythons_tell_it() -> None:
    error = OSError("could not bind on any address out of [('192.0.2.1', 80)]")
    assert "no interface of this host has the address" in cannot_listen("http.port", "192.0.2.1", 80, error)
