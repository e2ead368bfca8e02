"""`mrf-ue trunk-test` against aiosipua's own server as a trunk, on every way.

It takes audio and declines the rest. What it does by the rules is found to be so, and what not is told.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiosipua import IncomingCall, SipTransport, SipUAS, TcpSipTransport, UdpSipTransport, parse_sdp
from trunk_support import Files, make_files

from lab import tool
from loopback_ports import free_ports
from mrf_protocols import sdp

LONGEST = 120.0
KEPT = (
    "max-forwards",
    "bye-no-dialog",
    "update-no-dialog",
    "cancel-nothing",
    "long-headers",
    "bfcp-without-keys",
    "bfcp-udp",
    "everything",
    "audio",
    "large-offer",
    "re-invite",
    "hold",
    "update",
    "options-in-call",
    "wrong-cseq",
    "bye-before-ack",
    "second-bye",
)
"""Rules that it keeps."""
BROKEN = ("unknown-method", "unknown-require", "cseq-mismatch", "invite-no-dialog")
"""Rules that it does not keep."""
MIRRORED = {"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
WAYS = [(transport, host) for transport in ("udp", "tcp", "tls") for host in ("127.0.0.1", "::1")]


def answer(offer: str) -> str:
    """Audio, and nothing else."""
    lines = ["v=0", "o=- 7 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    for media in sdp.parse(offer).media:
        taken = media.media == "audio" and media.port
        lines.append(
            f"m={media.media} {6000 if taken else 0} {media.proto} "
            f"{media.formats[0] if taken else ' '.join(media.formats)}"
        )
        wanted = [MIRRORED[each.name] for each in media.attributes if each.name in MIRRORED]
        lines += [f"a={(*wanted, 'sendrecv')[0]}"] if taken else []
    return "\r\n".join(lines) + "\r\n"


def take(call: IncomingCall) -> None:
    body = call.invite.body
    text = body.decode() if isinstance(body, bytes) else body or ""
    try:
        call.accept(parse_sdp(answer(text)))
    except sdp.SdpError:
        call.reject(488, "Not Acceptable Here")


@dataclass
class TlsSipTransport(TcpSipTransport):
    """What aiosipua does on TCP, over TLS."""

    context: ssl.SSLContext | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._handle_connection, *self.local_addr, ssl=self.context)


@asynccontextmanager
async def trunk(transport: str, host: str, files: Files) -> AsyncIterator[tuple[str, list[str]]]:
    """The trunk on one way: where it is, and what the kit has to know besides."""
    own, more = (host, free_ports(1)[0]), []
    below: SipTransport = UdpSipTransport(own) if transport == "udp" else TcpSipTransport(own)
    if transport == "tls":
        below = TlsSipTransport(own, context=files.server(files.issue("trunk", 1, hosts=(host,))))
        certificate, key = files.issue("kit", 2)
        more = ["--tls-ca", str(files.folder / "ca.pem"), "--tls-cert", str(certificate)]
        more += ["--tls-key", str(key)]
    server = SipUAS(below)
    server.on_invite = server.on_reinvite = take
    await server.start()
    try:
        yield f"[{host}]:{own[1]}" if ":" in host else f"{host}:{own[1]}", more
    finally:
        await server.stop()


async def trunk_test(where: str, transport: str, *more: str) -> dict[str, Any]:
    """The report."""
    words = ["trunk-test", f"sip:conf@{where}", "--transport", transport, "--json", "--timeout", "30"]
    process = await asyncio.create_subprocess_exec(
        tool("mrf-ue"), *words, *more, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(LONGEST):
        output, errors = await process.communicate()
    assert output, errors.decode()
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("aiosipua"))


@pytest.mark.parametrize(("transport", "host"), WAYS)
async def test_what_it_does_by_the_rules(files: Files, transport: str, host: str) -> None:
    names = [word for name in KEPT for word in ("--case", name)]
    async with trunk(transport, host, files) as (where, more):
        found = await trunk_test(where, transport, *names, *more)
    told = {case["name"]: case["findings"] for case in found["cases"] if case["verdict"] != "pass"}
    assert told == {}
    assert found["good"]
    assert found["media"]["audio"][0].startswith("audio RTP/AVP: 8")


async def test_what_it_does_not(files: Files) -> None:
    names = [word for name in BROKEN for word in ("--case", name)]
    async with trunk("udp", "127.0.0.1", files) as (where, more):
        found = await trunk_test(where, "udp", *names, *more)
    assert {case["name"]: case["verdict"] for case in found["cases"]} == dict.fromkeys(BROKEN, "fail")
    assert not found["good"]
