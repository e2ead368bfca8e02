"""openssl s_client and s_server as the user's TLS leg, TLS 1.2 and 1.3, in both TCP roles."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from kernel_tables import is_bound
from mrfp_support import CONFERENCE, IDENTITY, KEY, PATIENT, SECONDS, LocalMrfp, floor_request, until

from loopback_ports import free_ports
from mrf_protocols.bfcp import Deframer, Message, encode
from mrf_protocols.h248.mp import ConfigureBfcpTermination, TlsEstablishmentFailed
from mrf_protocols.tls_psk import TlsPolicy

VERSIONS = pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])


@dataclass
class OpenSsl:
    """A running s_client or s_server whose standard input and output carry the plaintext."""

    process: asyncio.subprocess.Process

    def send(self, octets: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(octets)

    async def message(self, name: str) -> Message:
        """Read BFCP messages until one has this name."""
        deframer = Deframer()
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while octets := await self.process.stdout.read(4096):
                for item in deframer.feed(octets):
                    if isinstance(item, Message) and item.name == name:
                        return item
        raise EOFError(f"no {name}; {await self.complaint()}")

    async def complaint(self) -> str:
        """What it wrote to standard error; waits for its end."""
        assert self.process.stderr is not None
        async with asyncio.timeout(SECONDS):
            return (await self.process.stderr.read()).decode()


@contextlib.asynccontextmanager
async def openssl(*arguments: str, key: bytes = KEY, identity: str = IDENTITY) -> AsyncIterator[OpenSsl]:
    pipe = asyncio.subprocess.PIPE
    command = ["openssl", *arguments, "-quiet", "-psk", key.hex(), "-psk_identity", identity]
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield OpenSsl(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Relay:
    """Joins two ends that cannot meet: both connect to it, or it connects to both."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def join(self, one: tuple[str, int], two: tuple[str, int]) -> None:
        """Connect to both ends and join them."""
        self._pump_both(await asyncio.open_connection(*one), await asyncio.open_connection(*two))

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._waiting.empty():
            self._waiting.put_nowait((reader, writer))
        else:
            self._pump_both(self._waiting.get_nowait(), (reader, writer))

    def _pump_both(
        self,
        one: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        two: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        for reader, writer in ((one[0], two[1]), (two[0], one[1])):
            self._tasks.add(asyncio.create_task(self._pump(reader, writer)))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await reader.read(65536):
                writer.write(octets)
        writer.close()


def dial_in(remote: tuple[str, int] = ("127.0.0.1", 9), **roles: bool) -> ConfigureBfcpTermination:
    procedure = ConfigureBfcpTermination(remote, 1, conference=CONFERENCE, psk=KEY, psk_identity=IDENTITY)
    return replace(procedure, **roles)  # type: ignore[arg-type] # start_tcp and start_tls only


def local_of(mrfp: LocalMrfp, procedure: ConfigureBfcpTermination) -> tuple[str, int]:
    local = mrfp.configure(procedure).local
    assert local is not None
    return local


def end_of(mrfp: LocalMrfp) -> None:
    mrfp.gateway.release_everything()
    assert mrfp.left_over() == {}


@VERSIONS
async def test_s_client_opens_tcp_and_is_tls_client(version: str) -> None:
    mrfp = LocalMrfp()
    host, port = local_of(mrfp, dial_in())
    async with openssl("s_client", "-connect", f"{host}:{port}", version) as client:
        client.send(encode(floor_request(1)))
        granted = await client.message("FloorRequestStatus Granted")
        assert granted.user_id == 1
    end_of(mrfp)


@pytest.mark.parametrize(
    ("version", "identity", "taken"),
    [
        ("-tls1_2", IDENTITY.upper() + "x", True),
        ("-tls1_3", "1432778632.1", True),
        ("-tls1_2", "", True),
        ("-tls1_2", "1432778632.1", False),
        ("-tls1_3", "1432778632.1", False),
    ],
)
async def test_s_client_with_another_habit_of_naming_the_key(
    version: str, identity: str, taken: bool
) -> None:
    """Any identity will do where the operator says so, an empty one too (TLS 1.2): the key is proved all the same."""
    for key in (KEY, bytes(32)):
        served = taken and key == KEY
        mrfp = (
            LocalMrfp(accept_any_identity=taken)
            if served
            else LocalMrfp(timers=PATIENT, accept_any_identity=taken)
        )
        host, port = local_of(mrfp, dial_in())
        async with openssl(
            "s_client", "-connect", f"{host}:{port}", version, key=key, identity=identity
        ) as client:
            client.send(encode(floor_request(1)))
            if served:
                await client.message("FloorRequestStatus Granted")
            else:
                await mrfp.indication(TlsEstablishmentFailed)
        end_of(mrfp)


@VERSIONS
async def test_the_mrfp_opens_tcp_and_s_client_is_tls_client(version: str) -> None:
    mrfp = LocalMrfp()
    async with Relay() as relay:
        local_of(mrfp, dial_in(relay.address, start_tcp=True))
        await until(lambda: mrfp.trace.events)
        host, port = relay.address
        async with openssl("s_client", "-connect", f"{host}:{port}", version) as client:
            client.send(encode(floor_request(1)))
            await client.message("FloorRequestStatus Granted")
        connects = [event for event in mrfp.trace.events if event.name == "TCP connect"]
        assert [event.kind for event in connects] == ["sent"]
        end_of(mrfp)


@VERSIONS
@pytest.mark.parametrize("start_tcp", [True, False], ids=["MRFP opens", "user opens"])
async def test_s_server_is_tls_server(version: str, start_tcp: bool) -> None:
    mrfp = LocalMrfp()
    [port] = free_ports(1)
    arguments = ("s_server", "-accept", f"127.0.0.1:{port}", "-nocert", version)
    async with openssl(*arguments) as server, Relay() as relay:
        await until(lambda: is_bound("tcp", port))  # s_server serves one connection at a time
        local = local_of(mrfp, dial_in(("127.0.0.1", port), start_tcp=start_tcp, start_tls=True))
        if not start_tcp:
            await relay.join(local, ("127.0.0.1", port))
        await until(lambda: mrfp.gateway.status()["established"])
        server.send(encode(floor_request(1)))
        await server.message("FloorRequestStatus Granted")
    end_of(mrfp)


@VERSIONS
@pytest.mark.parametrize(
    ("key", "identity", "reason"),
    [(bytes(32), IDENTITY, "wrong-psk"), (KEY, "99.1", "unknown-psk-identity")],
    ids=["key", "identity"],
)
async def test_s_client_with_a_wrong_key_or_identity_is_refused_with_an_alert(
    version: str, key: bytes, identity: str, reason: str
) -> None:
    mrfp = LocalMrfp(timers=PATIENT)
    host, port = local_of(mrfp, dial_in())
    arguments = ("s_client", "-connect", f"{host}:{port}", version)
    async with openssl(*arguments, key=key, identity=identity) as client:
        failure = await mrfp.indication(TlsEstablishmentFailed)
        assert isinstance(failure, TlsEstablishmentFailed)
        assert failure.reason == reason
        assert "alert" in await client.complaint()
    end_of(mrfp)


@pytest.mark.parametrize(
    "suite", ["PSK-AES128-CBC-SHA", "PSK-AES128-GCM-SHA256", "ECDHE-PSK-AES128-CBC-SHA256"]
)
async def test_s_client_chooses_the_suite(suite: str) -> None:
    mrfp = LocalMrfp()
    host, port = local_of(mrfp, dial_in())
    async with openssl("s_client", "-connect", f"{host}:{port}", "-tls1_2", "-cipher", suite) as client:
        client.send(encode(floor_request(1)))
        await client.message("FloorRequestStatus Granted")
    established = next(event for event in mrfp.trace.events if event.name == "TLS established")
    assert established.fields["cipher"] == suite
    end_of(mrfp)


async def test_plain_suites_can_be_switched_off() -> None:
    mrfp = LocalMrfp(timers=PATIENT, policy=TlsPolicy(plain_psk=False))
    host, port = local_of(mrfp, dial_in())
    arguments = ("s_client", "-connect", f"{host}:{port}", "-tls1_2", "-cipher", "PSK-AES128-GCM-SHA256")
    async with openssl(*arguments) as client:
        failure = await mrfp.indication(TlsEstablishmentFailed)
        assert isinstance(failure, TlsEstablishmentFailed)
        assert failure.reason == "no-common-parameters"
        assert "handshake failure" in await client.complaint()
    end_of(mrfp)
