"""The focus within somebody's own Kamailio: their requests keep their routes, ours reach the conference."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from beside_support import KemiLab, NativeLab

from lab import CALLEE, CALLER, KMS_IDENTITY, Lab, tool
from loopback_ports import free_ports


@pytest.fixture(scope="module", params=[NativeLab, KemiLab], ids=["native", "KEMI"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with request.param(tmp_path_factory.mktemp("beside")) as started:
        started.start()
        yield started


def ask(lab: Lab, method: str, uri: str) -> str:
    """One request over UDP; gives the status line of the response."""
    host, port = lab.sip_address.split(":")
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.settimeout(30)
        peer.connect((host, int(port)))
        own = f"127.0.0.1:{peer.getsockname()[1]}"
        peer.send(
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{time.time_ns()}\r\n"
            f"From: <sip:x@own.example>;tag=1\r\nTo: <{uri}>\r\nCall-ID: {time.time_ns()}\r\nCSeq: 1 {method}\r\n"
            f"Contact: <sip:x@{own}>\r\nMax-Forwards: 9\r\nContent-Length: 0\r\n\r\n".encode()
        )
        while (answer := peer.recv(4096).decode()).startswith("SIP/2.0 100"):
            pass
        return answer.splitlines()[0]


def test_their_requests_keep_their_routes(lab: Lab) -> None:
    assert (
        ask(lab, "OPTIONS", f"sip:{lab.sip_address.replace('127.0.0.1', 'own.example')}")
        == "SIP/2.0 200 Own Route"
    )
    assert ask(lab, "INVITE", "sip:nobody@own.example") == "SIP/2.0 404 Own Route Knows Nobody"


def test_ours_are_answered_by_the_focus(lab: Lab) -> None:
    assert ask(lab, "INVITE", "sip:unknown@conf.example") == "SIP/2.0 404 Not Found"
    assert ask(lab, "OPTIONS", "sip:meeting@conf.example") == "SIP/2.0 200 OK"


def ue(lab: Lab, command: str, *more: str) -> list[str]:
    return [
        *(tool("mrf-ue"), command, *more, "--local-address", "127.0.0.1", "--floor", "1"),
        *("--kms", f"http://127.0.0.1:{lab.ports.kms}", "--kms-identity", KMS_IDENTITY, "--timeout", "20"),
    ]


def test_a_dial_in_from_end_to_end(lab: Lab) -> None:
    account = ("--identity", CALLER, "--psk-id", "alice", "--psk-file", str(lab.folder / "alice.psk"))
    command = ue(lab, "dial-in", lab.conference(), "--proxy", lab.sip_address, "--hold", "0.2", *account)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    lab.wait_for("the call to end", lambda: lab.status()["calls"] == 0 and lab.status()["terminations"] == 0)


def test_a_dial_out_from_end_to_end(lab: Lab) -> None:
    """Responses come back through their reply route."""
    [port] = free_ports(1)
    account = ("--identity", CALLEE, "--psk-id", "bob", "--psk-file", str(lab.folder / "bob.psk"))
    command = ue(lab, "answer", "--hold", "0.2", *account)
    command[command.index("127.0.0.1")] = f"127.0.0.1:{port}"
    called = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    operator = [tool("mrfc-ctl"), "dial-out", "meeting", f"{CALLEE}:{port}", "--wait"]
    operator += [
        "--url",
        f"http://127.0.0.1:{lab.ports.http}",
        "--token-file",
        str(lab.folder / "operator.token"),
    ]
    try:
        assert called.stdout is not None
        assert "waiting for calls" in called.stdout.readline()
        asked = subprocess.run(operator, check=False, capture_output=True, text=True, timeout=60)
        assert asked.returncode == 0, asked.stdout + asked.stderr
        said, _ = called.communicate(timeout=60)
        assert called.returncode == 0, said
    finally:
        if called.poll() is None:
            called.kill()
            called.wait()
