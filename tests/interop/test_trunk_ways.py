"""Stacks that are not ours on every way: sipp over UDP, TCP and TLS, openssl in front of either end, IPv4 and IPv6.

`openssl s_client` stands between a caller on TCP and the MRFC's TLS port, `openssl s_server` between a caller on TLS
and the MRFC's TCP port. `mrf-ue trunk-test` is the caller, and sipp, which has no TLS of its own in Debian.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openssl_front import s_client, s_server, written
from sipp_support import COMMANDS, SippBench
from system_support import until
from trunk_support import TrunkLab

from lab import CALLER, KMS_IDENTITY, tool

LONGEST = 120.0
CASES = (
    "options",
    "keep-alive",
    "bfcp",
    "everything",
    "large-offer",
    "re-invite",
    "cancel",
    "second-bye",
    "lost-ack",
)
FEW = ("options", "bfcp", "re-invite", "cancel")
HOSTS = {"ipv4": "127.0.0.1", "ipv6": "::1"}
SCENARIOS = ("dial_in.xml", "reinvite.xml")
"""What sipp does on every way; over UDP and TCP on IPv4 it does everything in test_sipp.py."""
WAYS = [("udp", "ipv6"), ("tcp", "ipv6"), ("tls", "ipv4"), ("tls", "ipv6")]


@pytest.fixture(scope="module")
def trunks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrunkLab]:
    """KMS, MRFP, and an MRFC with listeners and trunks of every kind."""
    with TrunkLab(tmp_path_factory.mktemp("ways")) as lab:
        lab.start()
        yield lab


def client_of(lab: TrunkLab, host: str) -> Any:
    """openssl in front of the MRFC's TLS port, as the carrier."""
    return s_client((host, lab.tls_port), lab.carrier_certificate, lab.files.folder / "ca.pem")


async def trunk_test(
    lab: TrunkLab, proxy: str, transport: str, cases: tuple[str, ...], *more: str
) -> dict[str, Any]:
    """The report, over a proxy."""
    words = ["trunk-test", lab.conference(), "--transport", transport, "--proxy", proxy, "--json"]
    words += ["--identity", CALLER, "--psk-id", "alice", "--psk-file", str(lab.folder / "alice.psk")]
    words += ["--kms-identity", KMS_IDENTITY, "--timeout", "30"]
    words += [word for name in cases for word in ("--case", name)]
    process = await asyncio.create_subprocess_exec(
        tool("mrf-ue"), *words, *more, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(LONGEST):
        output, errors = await process.communicate()
    assert output, errors.decode()
    found: dict[str, Any] = json.loads(output)
    return found


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {case["name"]: case["verdict"] for case in found["cases"]}


@pytest.mark.parametrize("family", HOSTS)
async def test_a_caller_behind_s_client(trunks: TrunkLab, family: str) -> None:
    host, before = HOSTS[family], trunks.counted("carrier", "served")
    cases = CASES if family == "ipv4" else FEW
    async with client_of(trunks, host) as port:
        found = await trunk_test(trunks, written((host, port)), "tcp", cases)
    assert verdicts(found) == dict.fromkeys(cases, "pass"), found["cases"]
    assert trunks.counted("carrier", "served") > before
    await until(lambda: trunks.status()["calls"] == 0)


@pytest.mark.parametrize("family", HOSTS)
async def test_a_trunk_behind_s_server(trunks: TrunkLab, family: str) -> None:
    host, authority = HOSTS[family], trunks.files.folder / "ca.pem"
    certificate, key = trunks.carrier_certificate
    cases = CASES if family == "ipv4" else FEW
    tls = ["--tls-ca", str(authority), "--tls-cert", str(certificate), "--tls-key", str(key)]
    async with s_server((host, trunks.ports.sip), trunks.server_certificate, authority) as port:
        found = await trunk_test(trunks, written((host, port)), "tls", cases, *tls)
    assert verdicts(found) == dict.fromkeys(cases, "pass"), found["cases"]
    await until(lambda: trunks.status()["calls"] == 0)


@asynccontextmanager
async def way(lab: TrunkLab, transport: str, host: str) -> AsyncIterator[tuple[str, str]]:
    """What sipp speaks, and with whom, so that the MRFC sees that transport."""
    if transport != "tls":
        yield transport, written((host, lab.ports.sip))
        return
    async with client_of(lab, host) as port:
        yield "tcp", written((host, port))


@pytest.mark.parametrize(("transport", "family"), WAYS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_sipp_calls(
    trunks: TrunkLab, tmp_path: Path, scenario: str, transport: str, family: str
) -> None:
    """Two calls each: the README's five are made in test_sipp.py."""
    bench = SippBench(trunks, tmp_path, HOSTS[family])
    if "-inf" in COMMANDS[scenario]:
        bench.offers()
    trunk = "carrier" if transport == "tls" else "home"
    before = trunks.counted(trunk, "served")
    async with way(trunks, transport, HOSTS[family]) as (spoken, server):
        await asyncio.to_thread(bench.call, scenario, spoken, **{"192.0.2.10:5060": server, "5": "2"})
    assert trunks.counted(trunk, "served") > before
    await until(lambda: trunks.status()["calls"] == 0)
