"""SIP over TLS through openssl, in both directions, with certificates of both ends.

`openssl s_client` stands between a caller on TCP and the MRFC's TLS port, `openssl s_server` between a caller on TLS
and the MRFC's TCP port. `mrf-ue trunk-test` is the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kernel_tables import is_bound
from system_support import until
from trunk_support import TrunkLab

from lab import CALLER, KMS_IDENTITY, tool
from loopback_ports import free_ports

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


@pytest.fixture(scope="module")
def trunks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrunkLab]:
    """KMS, MRFP, and an MRFC with listeners and trunks of every kind."""
    with TrunkLab(tmp_path_factory.mktemp("openssl")) as lab:
        lab.start()
        yield lab


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes until it ends."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def through(program: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand a connection to a program's input and output."""
    process = await asyncio.create_subprocess_exec(
        *program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await asyncio.gather(pipe(reader, process.stdin), pipe(process.stdout, writer))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def s_client(lab: TrunkLab) -> AsyncIterator[int]:
    """A TCP port behind which openssl speaks TLS with the MRFC, as the carrier; gives the port."""
    certificate, key = lab.carrier_certificate
    program = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{lab.tls_port}"]
    program += ["-cert", str(certificate), "-key", str(key), "-CAfile", str(lab.files.folder / "ca.pem")]
    program += ["-verify_return_error", "-verify_ip", "127.0.0.1"]
    [port] = free_ports(1)
    server = await asyncio.start_server(
        lambda reader, writer: through(program, reader, writer), "127.0.0.1", port
    )
    async with server:
        yield port


async def trunk_test(lab: TrunkLab, port: int, transport: str, *more: str) -> dict[str, Any]:
    """The report, over a proxy at that port."""
    words = [
        "trunk-test",
        lab.conference(),
        "--transport",
        transport,
        "--proxy",
        f"127.0.0.1:{port}",
        "--json",
    ]
    words += ["--identity", CALLER, "--psk-id", "alice", "--psk-file", str(lab.folder / "alice.psk")]
    words += ["--kms-identity", KMS_IDENTITY, "--timeout", "30"]
    words += [word for name in CASES for word in ("--case", name)]
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


async def test_a_caller_behind_s_client(trunks: TrunkLab) -> None:
    async with s_client(trunks) as port:
        found = await trunk_test(trunks, port, "tcp")
    assert verdicts(found) == dict.fromkeys(CASES, "pass"), found["cases"]
    assert trunks.counted("carrier", "served") > 0
    await until(lambda: trunks.status()["calls"] == 0)


@asynccontextmanager
async def s_server(lab: TrunkLab) -> AsyncIterator[int]:
    """A port where openssl speaks TLS and wants a certificate, with the MRFC's TCP port behind it; gives the port.

    One s_server serves one connection, so that each gets one of its own.
    """
    certificate, key = lab.server_certificate
    program = ["openssl", "s_server", "-quiet", "-naccept", "1", "-Verify", "3", "-verify_return_error"]
    program += ["-cert", str(certificate), "-key", str(key), "-CAfile", str(lab.files.folder / "ca.pem")]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        [own] = free_ports(1)
        to_mrfc = await asyncio.open_connection("127.0.0.1", lab.ports.sip)
        served = asyncio.create_task(through([*program, "-accept", f"127.0.0.1:{own}"], *to_mrfc))
        try:
            await until(lambda: is_bound("tcp", own), seconds=30.0)
            from_openssl, to_openssl = await asyncio.open_connection("127.0.0.1", own)
            await asyncio.gather(pipe(reader, to_openssl), pipe(from_openssl, writer))
        finally:
            served.cancel()
            await asyncio.gather(served, return_exceptions=True)

    [port] = free_ports(1)
    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield port


async def test_a_trunk_behind_s_server(trunks: TrunkLab) -> None:
    certificate, key = trunks.carrier_certificate
    tls = ["--tls-ca", str(trunks.files.folder / "ca.pem")]
    tls += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    async with s_server(trunks) as port:
        found = await trunk_test(trunks, port, "tls", *tls)
    assert verdicts(found) == dict.fromkeys(CASES, "pass"), found["cases"]
    await until(lambda: trunks.status()["calls"] == 0)
