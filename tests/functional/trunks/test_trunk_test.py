"""`mrf-ue trunk-test` against the MRFC itself: over UDP, TCP and TLS, IPv4 and IPv6, with digest, and without keys."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from system_support import until
from trunk_support import PASSWORD, PBX, TrunkLab

from lab import CALLER, KMS_IDENTITY, tool
from loopback_ports import free_ports

LONGEST = 180.0
NOT_SERVED = {"audio"}
"""What the MRFC has no use for."""
NOT_RUN = {"udp": ["ipv6"], "tcp": ["rport", "ipv6"], "tls": ["rport", "ipv6"]}
"""What cannot be tried with an IPv4 address for a target."""


def trunk_test(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("mrf-ue"), "trunk-test", *words], check=False, capture_output=True, text=True, timeout=LONGEST
    )


def report(lab: TrunkLab, transport: str, *more: str, ipv6: bool = False) -> tuple[int, dict[str, Any]]:
    """The exit code and the report, of a caller who has an account at the KMS."""
    words = [*way(lab, transport, ipv6=ipv6), "--json", "--timeout", "30", "--identity", CALLER]
    words += [
        "--psk-id",
        "alice",
        "--psk-file",
        str(lab.folder / "alice.psk"),
        "--kms-identity",
        KMS_IDENTITY,
    ]
    words += ["--kms", f"http://127.0.0.1:{lab.ports.kms}"]
    done = trunk_test(*words, *more)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def way(lab: TrunkLab, transport: str, *, ipv6: bool = False) -> list[str]:
    """The target, and how to get there."""
    port = lab.tls_port if transport == "tls" else lab.ports.sip
    server = "[::1]" if ipv6 else "127.0.0.1"
    words = [lab.conference(), "--transport", transport, "--proxy", f"{server}:{port}"]
    if transport == "tls":
        certificate, key = lab.carrier_certificate
        words += ["--tls-ca", str(lab.files.folder / "ca.pem")]
        words += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    return words


def only(*names: str) -> list[str]:
    """The option for some cases."""
    return [word for name in names for word in ("--case", name)]


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {case["name"]: case["verdict"] for case in found["cases"]}


def check(found: dict[str, Any]) -> None:
    """No case fails, and what the MRFC has is there."""
    told = {case["name"]: case["findings"] for case in found["cases"]}
    for name, verdict in verdicts(found).items():
        if verdict != "pass":
            accepted = "not supported" if name in NOT_SERVED else "not run"
            assert verdict == accepted, (name, told[name])
    assert [name for name, verdict in verdicts(found).items() if verdict == "not run"] == NOT_RUN[
        found["transport"]
    ]


async def settled(lab: TrunkLab) -> None:
    """Every call has ended."""
    await until(lambda: lab.status()["calls"] == 0 and lab.status()["terminations"] == 0)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_ourselves(trunks: TrunkLab, transport: str) -> None:
    """Every case; over TLS with a certificate of ours."""
    status, found = await asyncio.to_thread(report, trunks, transport)
    check(found)
    assert status == 0
    assert "INVITE" in found["features"]["Allow"]
    assert found["features"]["Contact"] == "isfocus"
    assert found["media"]["audio, video, BFCP"][0] == "audio RTP/AVP: declined"
    assert found["media"]["audio, video, BFCP"][2].startswith("application TCP/TLS/BFCP: port ")
    await settled(trunks)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_ourselves_over_ipv6(trunks: TrunkLab, transport: str) -> None:
    """One case of each kind."""
    names = ["options", "bfcp", "everything", "re-invite", "cancel", "second-bye", "dial-in", "ipv6"]
    status, found = await asyncio.to_thread(report, trunks, transport, *only(*names), ipv6=True)
    assert verdicts(found) == dict.fromkeys(names, "pass")
    assert status == 0
    await settled(trunks)


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
async def test_a_trunk_that_wants_credentials(trunks: TrunkLab, tmp_path: Path, password: str) -> None:
    names = ["cancel", "options", "bfcp", "re-invite", "glare", "wrong-cseq", "second-bye", "bye-no-dialog"]
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(password)
    login = ["--local-address", PBX, "--user", "pbx", "--password-file", str(file)]
    status, found = await asyncio.to_thread(report, trunks, "udp", *only(*names), *login)
    good = password == PASSWORD
    assert verdicts(found) == dict.fromkeys(names, "pass" if good else "not run")
    assert status == 0
    assert password not in json.dumps(found) or not good
    await settled(trunks)


async def test_without_keys(trunks: TrunkLab) -> None:
    """No call comes up, which is nobody's fault: nothing fails."""
    names = only("options", "bfcp", "re-invite", "cancel", "dial-in")
    done = await asyncio.to_thread(trunk_test, *way(trunks, "udp"), *names, "--json")
    assert verdicts(json.loads(done.stdout)) == {
        "options": "pass",
        "bfcp": "not supported",
        "re-invite": "not run",
        "cancel": "not run",
        "dial-in": "not run",
    }
    assert done.returncode == 0


async def test_the_report_on_a_terminal(trunks: TrunkLab) -> None:
    done = await asyncio.to_thread(trunk_test, *way(trunks, "udp"), *only("options", "unknown-user"))
    assert done.returncode == 0
    assert "pass          options" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 cases: 2 pass"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nobody_there(transport: str) -> None:
    [port] = free_ports(1)
    done = trunk_test(f"sip:conf@127.0.0.1:{port};transport={transport}", "--timeout", "0.5")
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


async def test_a_server_whose_certificate_nobody_vouches_for(trunks: TrunkLab) -> None:
    words = [word for word in way(trunks, "tls") if word != "--tls-ca"]
    words.remove(str(trunks.files.folder / "ca.pem"))
    done = await asyncio.to_thread(trunk_test, *words)
    assert done.returncode == 2
    assert "certificate verify failed" in done.stderr
    assert len(done.stderr.splitlines()) == 1
