"""`mrf-ue trunk-test` against the MRFC itself: over UDP and TCP, IPv4 and IPv6, and without keys."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import certify

from lab import CALLER, KMS_IDENTITY, Element, Lab, Settings, free_ports, tool

LONGEST = 180.0
NOT_SERVED = {"audio": "not supported"}
"""What the MRFC has no use for."""
YET_TO_COME = {
    "100rel-supported",
    "100rel-required",
    "session-timer",
    "session-timer-small",
    "session-refresh",
    "hold",
    "subscribe",
    "subscribe-unknown",
}
"""Extensions that the MRFC may say it does not have."""


AUTHORITY = certify("trunk test authority", 40, authority=True, now=time.time())
SERVER = certify("mrfc", 41, hosts=("127.0.0.1",), issuer=AUTHORITY, now=time.time())
CLIENT = certify("ue", 42, hosts=("127.0.0.1",), issuer=AUTHORITY, now=time.time())


class TlsLab(Lab):
    """The MRFC listens with TLS where other labs have TCP, and wants certificates."""

    def start_mrfc(self) -> Element:
        """Kamailio, with a certificate; the caller's is in the same folder."""
        for name, certified in (("mrfc", SERVER), ("ue", CLIENT)):
            (self.folder / f"{name}.pem").write_bytes(certified.pem)
            (self.folder / f"{name}.key").write_bytes(certified.key_pem)
        (self.folder / "ca.pem").write_bytes(AUTHORITY.pem)
        self.settings.defines |= {
            "MRFC_LISTEN_TCP": f"tcp:127.0.0.1:{free_ports(1)[0]}",
            "MRFC_LISTEN_TLS": f"tls:{self.sip_address}",
            "MRFC_TLS_CERTIFICATE": f'"{self.folder}/mrfc.pem"',
            "MRFC_TLS_KEY": f'"{self.folder}/mrfc.key"',
            "MRFC_TLS_CA": f'"{self.folder}/ca.pem"',
        }
        return super().start_mrfc()

    def options(self) -> list[str]:
        """What the caller says of certificates."""
        names = {"--tls-ca": "ca.pem", "--tls-cert": "ue.pem", "--tls-key": "ue.key"}
        return [word for option, name in names.items() for word in (option, str(self.folder / name))]


class Ipv6Lab(Lab):
    """The MRFC listens on ::1."""

    @property
    def sip_address(self) -> str:
        """Where it listens."""
        return f"[::1]:{self.ports.sip}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("trunk"), Settings(trace=False)) as running:
        running.start()
        yield running


@pytest.fixture(scope="module")
def ipv6_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    chosen = Settings(mrfp={"media": {"ipv6": "::1"}}, trace=False)
    with Ipv6Lab(tmp_path_factory.mktemp("trunk6"), chosen) as running:
        running.start()
        yield running


@pytest.fixture(scope="module")
def tls_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsLab]:
    running = TlsLab(tmp_path_factory.mktemp("trunk-tls"), Settings(trace=False))
    with running:
        running.start()
        yield running


def trunk_test(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("mrf-ue"), "trunk-test", *words], check=False, capture_output=True, text=True, timeout=LONGEST
    )


def report(lab: Lab, transport: str, *more: str, keys: bool = True) -> tuple[int, dict[str, Any]]:
    words = [
        lab.conference(),
        "--transport",
        transport,
        "--proxy",
        lab.sip_address,
        "--json",
        "--timeout",
        "30",
    ]
    if keys:
        words += ["--identity", CALLER, "--psk-id", "alice", "--psk-file", str(lab.folder / "alice.psk")]
        words += ["--kms", f"http://127.0.0.1:{lab.ports.kms}", "--kms-identity", KMS_IDENTITY]
    done = trunk_test(*words, *more)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def check(found: dict[str, Any]) -> None:
    """No case fails, and what the MRFC has is there."""
    verdicts = {case["name"]: case["verdict"] for case in found["cases"]}
    told = {case["name"]: case["findings"] for case in found["cases"]}
    for name, verdict in verdicts.items():
        if verdict != "pass":
            accepted = NOT_SERVED.get(name) or ("not supported" if name in YET_TO_COME else "not run")
            assert verdict == accepted, (name, told[name])
    assert verdicts["dial-in"] == "pass", told["dial-in"]
    assert verdicts["bfcp"] == "pass"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_ourselves(lab: Lab, transport: str) -> None:
    status, found = report(lab, transport)
    check(found)
    assert status == 0
    assert "INVITE" in found["features"]["Allow"]
    assert found["features"]["Contact"] == "isfocus"
    assert found["media"]["audio, video, BFCP"][0] == "audio RTP/AVP: declined"
    assert found["media"]["audio, video, BFCP"][2].startswith("application TCP/TLS/BFCP: port ")
    lab.wait_for("every call to end", lambda: lab.status()["calls"] == 0)
    assert lab.status()["terminations"] == 0


def test_ourselves_over_tls(tls_lab: TlsLab) -> None:
    """With a certificate of the caller's, too."""
    status, found = report(tls_lab, "tls", *tls_lab.options())
    check(found)
    assert status == 0
    tls_lab.wait_for("every call to end", lambda: tls_lab.status()["calls"] == 0)


def test_tls_without_our_certificate(tls_lab: TlsLab) -> None:
    """The handshake fails, and that is told in one sentence."""
    target = tls_lab.conference()
    done = trunk_test(
        *(target, "--transport", "tls", "--proxy", tls_lab.sip_address, "--timeout", "5"),
        *tls_lab.options()[:2],
    )
    assert done.returncode == 2
    assert f"nobody answers SIP at {tls_lab.sip_address} over tls" in done.stderr
    assert "the connection is gone" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ourselves_over_ipv6(ipv6_lab: Lab) -> None:
    """All but the case that takes seconds."""
    names = ["options", "bfcp", "everything", "re-invite", "cancel", "second-bye", "dial-in", "ipv6"]
    status, found = report(ipv6_lab, "tcp", *(word for name in names for word in ("--case", name)))
    assert {case["name"]: case["verdict"] for case in found["cases"]} == dict.fromkeys(names, "pass")
    assert status == 0


def test_without_keys(lab: Lab) -> None:
    """No call comes up, which is nobody's fault: nothing fails."""
    names = ["options", "bfcp", "re-invite", "cancel", "dial-in"]
    status, found = report(lab, "udp", *(word for name in names for word in ("--case", name)), keys=False)
    assert {case["name"]: case["verdict"] for case in found["cases"]} == {
        "options": "pass",
        "bfcp": "not supported",
        "re-invite": "not run",
        "cancel": "not run",
        "dial-in": "not run",
    }
    assert status == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nobody_there(transport: str) -> None:
    [port] = free_ports(1)
    done = trunk_test(f"sip:conf@127.0.0.1:{port};transport={transport}", "--timeout", "0.5")
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_the_report_on_a_terminal(lab: Lab, tmp_path: Path) -> None:
    done = trunk_test(
        lab.conference(), "--proxy", lab.sip_address, "--case", "options", "--case", "unknown-user"
    )
    assert done.returncode == 0
    assert "pass          options" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 cases: 2 pass"
