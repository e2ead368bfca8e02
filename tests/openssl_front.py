"""openssl in front of SIP over TCP, in both directions: it speaks the TLS, with certificates of both ends."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kernel_tables import is_bound
from system_support import until

from loopback_ports import free_ports

Address = tuple[str, int]
Certificate = tuple[Path, Path]
"""Its file and that of its key."""


def written(address: Address) -> str:
    """Host and port as programs want them."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes until it ends."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _through(program: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand a connection to a program's input and output."""
    process = await asyncio.create_subprocess_exec(
        *program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await asyncio.gather(_pipe(reader, process.stdin), _pipe(process.stdout, writer))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _own(certificate: Certificate, authority: Path) -> list[str]:
    file, key = certificate
    return ["-cert", str(file), "-key", str(key), "-CAfile", str(authority), "-verify_return_error"]


@asynccontextmanager
async def s_client(server: Address, certificate: Certificate, authority: Path) -> AsyncIterator[int]:
    """A TCP port on the server's host behind which `openssl s_client` speaks TLS with the server; gives the port."""
    program = ["openssl", "s_client", "-quiet", "-connect", written(server), "-verify_ip", server[0]]
    program += _own(certificate, authority)
    [port] = free_ports(1)
    front = await asyncio.start_server(
        lambda reader, writer: _through(program, reader, writer), server[0], port
    )
    async with front:
        yield port


@asynccontextmanager
async def s_server(behind: Address, certificate: Certificate, authority: Path) -> AsyncIterator[int]:
    """A port where `openssl s_server` speaks TLS and wants a certificate, with a TCP port behind it; gives the port.

    One s_server serves one connection, so that each gets one of its own.
    """
    host = behind[0]
    program = [
        "openssl",
        "s_server",
        "-quiet",
        "-naccept",
        "1",
        "-Verify",
        "3",
        *_own(certificate, authority),
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        [own] = free_ports(1)
        onward = await asyncio.open_connection(*behind)
        served = asyncio.create_task(_through([*program, "-accept", written((host, own))], *onward))
        try:
            await until(lambda: is_bound("tcp", own), seconds=30.0)
            from_openssl, to_openssl = await asyncio.open_connection(host, own)
            await asyncio.gather(_pipe(reader, to_openssl), _pipe(from_openssl, writer))
        finally:
            served.cancel()
            await asyncio.gather(served, return_exceptions=True)

    [port] = free_ports(1)
    async with await asyncio.start_server(serve, host, port):
        yield port
