"""Mp by UDP and by TLS with certificates of both sides; clear text off the host only by the operator's word."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from loopback_ports import free_ports
from mrf_ops import lines
from mrf_ops.config import ConfigError
from mrf_ops.lines import CleartextError, MessageSocket, TlsFiles, Transport
from mrf_ops.trace import Tracer
from mrf_protocols.h248 import decode, encode, mp, tpkt
from mrf_protocols.h248.values import DeviceName, Message, TransactionReply, TransactionRequest
from mrfc.mp.controller import MpController, MpTransports, MrfpUnavailable
from mrfp_agent.config import load
from mrfp_agent.mp_gateway import MpGateway
from mrfp_agent.mp_settings import MpSettings, MrfcAddress

CONFIGURE = mp.ConfigureBfcpTermination(
    ("192.0.2.7", 40000), 7, conference=mp.Conference(4711, (mp.Floor(1),)), psk=bytes(16), psk_identity="a.1"
)


async def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.01)


@dataclass
class FakeMedia:
    """Counts what it was asked; a new termination every time."""

    procedures: list[mp.Procedure] = field(default_factory=list)

    def handle(self, procedure: mp.Procedure) -> mp.Acknowledgement:
        self.procedures.append(procedure)
        if isinstance(procedure, mp.ReleaseBfcpTermination):
            return mp.TerminationReleased(procedure.context, procedure.termination)
        if isinstance(procedure, mp.AuditHeartbeat):
            return mp.HeartbeatAnswered()
        return mp.TerminationConfigured(
            len(self.procedures), f"bfcp/{len(self.procedures)}", ("127.0.0.1", 5000)
        )

    def adds(self) -> int:
        return sum(isinstance(item, mp.ConfigureBfcpTermination) for item in self.procedures)


@asynccontextmanager
async def controller(
    transports: MpTransports, host: str = "127.0.0.1", heartbeat: float = 30.0
) -> AsyncIterator[MpController]:
    made = MpController(host, 0, Tracer("MRFC"), timeout=60.0, heartbeat=heartbeat, transports=transports)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def gateway(
    media: FakeMedia, *mrfcs: MrfcAddress, timeout: float = 60.0, **more: object
) -> AsyncIterator[MpGateway]:
    settings = MpSettings(mrfcs, DeviceName("mrfp1"), timeout=timeout, first_pause=0.05, **more)  # type: ignore[arg-type]  # as the test says
    made = MpGateway(settings, media.handle, Tracer("MRFP"))
    made.start()
    try:
        yield made
    finally:
        await made.close()


UDP = MpTransports((Transport.UDP,))


async def test_udp() -> None:
    media = FakeMedia()
    async with (
        controller(UDP) as mrfc,
        gateway(media, MrfcAddress("127.0.0.1", mrfc.port, Transport.UDP)) as mrfp,
    ):
        await until(lambda: mrfc.mrfps() and mrfc.mrfps()[0].in_service and mrfp.registered)
        assert isinstance(await mrfc.request("mrfp1", CONFIGURE), mp.TerminationConfigured)
        heard: list[mp.NotifyIndication] = []
        mrfc.on_notify = lambda _, indication: heard.append(indication)
        mrfp.notify(mp.BearerReleased(1, "bfcp/1"))
        await until(lambda: heard)


async def test_an_mrfc_that_stops_sends_away_who_would_not_notice() -> None:
    """By UDP nobody sees the end of an association, and this MRFP would be silent for a minute."""
    async with (
        controller(UDP) as mrfc,
        gateway(FakeMedia(), MrfcAddress("127.0.0.1", mrfc.port, Transport.UDP)) as mrfp,
    ):
        await until(lambda: mrfc.mrfps() and mrfc.mrfps()[0].in_service and mrfp.registered)
        await mrfc.close()
        await until(lambda: not mrfp.registered)


class LossyRelay(asyncio.DatagramProtocol):
    """Stands between one MRFP and the MRFC and drops every datagram that the test says."""

    def __init__(self, mrfc: tuple[str, int], drop: Callable[[int], bool]) -> None:
        self.count = itertools.count()
        self.dropped = 0
        self._mrfc = mrfc
        self._mrfp: tuple[str, int] | None = None
        self._drop = drop
        self._socket: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport  # type: ignore[assignment]  # asyncio's own class does not say that it is one

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._socket is not None
        if addr != self._mrfc:
            self._mrfp = addr
        target = self._mrfp if addr == self._mrfc else self._mrfc
        if self._drop(next(self.count)) or target is None:
            self.dropped += 1
        else:
            self._socket.sendto(data, target)


async def test_udp_that_loses_every_third_datagram_executes_everything_once() -> None:
    media = FakeMedia()
    async with controller(UDP) as mrfc:
        loop = asyncio.get_running_loop()
        transport, relay = await loop.create_datagram_endpoint(
            lambda: LossyRelay(("127.0.0.1", mrfc.port), lambda number: number % 3 == 1), ("127.0.0.1", 0)
        )
        port = transport.get_extra_info("sockname")[1]
        async with gateway(media, MrfcAddress("127.0.0.1", port, Transport.UDP)):
            await until(lambda: any(status.in_service for status in mrfc.mrfps()))
            answers = await asyncio.gather(
                *(mrfc.request("mrfp1", CONFIGURE, loop.time() + 60) for _ in range(12))
            )
        assert relay.dropped > 5
        assert (
            media.adds()
            == len(
                {
                    (answer.context, answer.termination)
                    for answer in answers
                    if isinstance(answer, mp.TerminationConfigured)
                }
            )
            == 12
        )
        transport.close()


async def test_silent_mrfc_by_udp_is_left() -> None:
    """A peer that only swallows: registration ends by time, and the next MRFC is tried."""
    with socket.socket(type=socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        async with controller(UDP) as mrfc:
            addresses = (
                MrfcAddress("127.0.0.1", mute.getsockname()[1], Transport.UDP),
                MrfcAddress("127.0.0.1", mrfc.port, Transport.UDP),
            )
            async with gateway(FakeMedia(), *addresses, timeout=2.0):
                await until(lambda: any(status.in_service for status in mrfc.mrfps()))


async def test_a_stranger_by_udp_does_not_touch_the_association() -> None:
    media = FakeMedia()
    async with controller(UDP) as mrfc, gateway(media, MrfcAddress("127.0.0.1", mrfc.port, Transport.UDP)):
        await until(lambda: any(status.in_service for status in mrfc.mrfps()))
        with socket.socket(type=socket.SOCK_DGRAM) as stranger:
            stranger.connect(("127.0.0.1", mrfc.port))
            stranger.setblocking(False)
            for octets in (b"nonsense", b"\x00" * 1000, b"!/3 x P=1{}", b"!/3 x T=5{C=1{S=bfcp/1}}"):
                stranger.send(octets)
            answers = []

            def drained() -> bool:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        answers.append(decode(stranger.recv(65536)))
                return bool(answers)

            await until(drained)
            assert await mrfc.request("mrfp1", CONFIGURE)  # meanwhile more would have come
            drained()
            refused = [item for answer in answers for item in answer.transactions]
            assert [isinstance(item, TransactionReply) for item in refused] == [True]
        assert [status.mrfp for status in mrfc.mrfps()] == ["mrfp1"]
        assert await mrfc.request("mrfp1", CONFIGURE)


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certification authority with certificates for an MRFC and an MRFP, and a stranger's."""
    folder = tmp_path_factory.mktemp("ca")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name, issuer in (("mrfc", "ca"), ("mrfp", "ca"), ("stranger", "other")):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-days", "2",
                "-extfile", "san", "-out", f"{name}.pem")  # fmt: skip
    return folder


def files(folder: Path, name: str) -> TlsFiles:
    return TlsFiles(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")


async def test_tls_with_certificates_of_both(authority: Path) -> None:
    transports = MpTransports((Transport.TLS,), tls=files(authority, "mrfc"))
    async with controller(transports) as mrfc:
        address = MrfcAddress("127.0.0.1", mrfc.ports[Transport.TLS], Transport.TLS)
        async with gateway(FakeMedia(), address, tls=files(authority, "mrfp")):
            await until(lambda: any(status.in_service for status in mrfc.mrfps()))
            assert isinstance(await mrfc.request("mrfp1", CONFIGURE), mp.TerminationConfigured)
            assert list(mrfc.ports) == [Transport.TLS]


@pytest.mark.parametrize(("server", "client"), [("mrfc", "stranger"), ("stranger", "mrfp")])
async def test_tls_refuses_the_stranger(authority: Path, server: str, client: str) -> None:
    transports = MpTransports((Transport.TLS,), tls=files(authority, server))
    async with controller(transports) as mrfc:
        address = MrfcAddress("127.0.0.1", mrfc.ports[Transport.TLS], Transport.TLS)
        async with gateway(FakeMedia(), address, tls=files(authority, client)):
            await asyncio.sleep(0.5)
            assert mrfc.mrfps() == []
            with pytest.raises(MrfpUnavailable):
                mrfc.choose_mrfp()


async def test_tls_does_not_speak_to_clear_text(authority: Path) -> None:
    transports = MpTransports((Transport.TLS,), tls=files(authority, "mrfc"))
    async with controller(transports) as mrfc:
        address = MrfcAddress("127.0.0.1", mrfc.ports[Transport.TLS], Transport.TCP)
        async with gateway(FakeMedia(), address):
            await asyncio.sleep(0.3)
            assert mrfc.mrfps() == []


# clear text


async def test_clear_text_off_the_host_is_refused_by_the_mrfc() -> None:
    with pytest.raises(CleartextError, match="allow_cleartext"):
        async with controller(MpTransports(), host="0.0.0.0"):
            pass


async def test_clear_text_that_is_allowed_is_told_loudly_at_every_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        caplog.clear()
        async with controller(MpTransports(allow_cleartext=True), host="0.0.0.0"):
            pass
        assert [record.levelno for record in caplog.records if "IN CLEAR TEXT" in record.message] == [
            logging.CRITICAL
        ]


async def test_clear_text_off_the_host_is_refused_by_the_mrfp(caplog: pytest.LogCaptureFixture) -> None:
    async with gateway(FakeMedia(), MrfcAddress("192.0.2.1", 2944)):
        await until(lambda: "allow_cleartext" in caplog.text)


def test_configurations_say_it_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "mrfp.toml"

    def written(mp_lines: str) -> None:
        path.write_text(f'[mp]\n{mp_lines}\n[media]\nipv4 = "127.0.0.1"\nports = [20000, 20010]\n')

    written('mrfcs = ["192.0.2.1:2944"]')
    with pytest.raises(ConfigError, match="clear text"):
        load(path)
    written('mrfcs = ["tls:mrfc.example:2944"]')
    with pytest.raises(ConfigError, match="certificate"):
        load(path)
    written('mrfcs = ["udp:192.0.2.1:2944", "127.0.0.1:2945"]\nallow_cleartext = true')
    assert load(path).mp.addresses() == (
        MrfcAddress("192.0.2.1", 2944, Transport.UDP),
        MrfcAddress("127.0.0.1", 2945, Transport.TCP),
    )
    written('mrfcs = ["tls:[2001:db8::1]:2944"]\ncertificate = "a"\nkey = "b"\nauthority = "c"')
    assert load(path).mp.addresses() == (MrfcAddress("2001:db8::1", 2944, Transport.TLS),)


# SCTP


@pytest.mark.skipif(not lines.has_sctp(), reason="this kernel has no SCTP")
async def test_sctp() -> None:
    async with (
        controller(MpTransports((Transport.SCTP,))) as mrfc,
        gateway(FakeMedia(), MrfcAddress("127.0.0.1", mrfc.port, Transport.SCTP)),
    ):
        await until(lambda: any(status.in_service for status in mrfc.mrfps()))
        assert isinstance(await mrfc.request("mrfp1", CONFIGURE), mp.TerminationConfigured)


@pytest.mark.skipif(lines.has_sctp(), reason="this kernel has SCTP")
async def test_without_sctp_the_others_are_served() -> None:
    async with controller(MpTransports((Transport.SCTP, Transport.TCP))) as mrfc:
        assert list(mrfc.ports) == [Transport.TCP]


@dataclass
class Listener:
    """A user of a line."""

    got: list[bytes] = field(default_factory=list)
    ended: str = ""
    line: lines.Line | None = None

    def line_up(self, line: lines.Line) -> None:
        self.line = line

    def line_received(self, octets: bytes) -> None:
        self.got.append(octets)

    def line_down(self, reason: str) -> None:
        self.ended = reason


async def test_what_serves_sctp_keeps_messages_apart() -> None:
    """The same code on sockets of another family that keep messages apart."""
    loop = asyncio.get_running_loop()
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left, right = Listener(), Listener()
    MessageSocket(loop, one, left, lines.H248_TEXT_PPID)
    MessageSocket(loop, two, right, lines.H248_TEXT_PPID)
    assert left.line is not None
    assert right.line is not None
    messages = [bytes([number % 256]) * 5000 for number in range(300)]
    for message in messages:
        left.line.write(message)
    assert left.line.unsent > 0
    await until(lambda: len(right.got) == len(messages))
    assert right.got == messages
    assert left.line.unsent == 0
    right.line.abort()
    await until(lambda: left.ended and right.ended)
    left.line.write(b"to nobody")


# peers that do not read

LONG = replace(CONFIGURE, correlation="x" * 30000)


async def test_an_mrfp_that_does_not_read_is_cut_off_and_no_other_notices() -> None:
    media = FakeMedia()
    async with (
        controller(MpTransports(), heartbeat=60) as mrfc,
        gateway(media, MrfcAddress("127.0.0.1", mrfc.port)),
    ):
        deaf = socket.create_connection(("127.0.0.1", mrfc.port))
        change = mp.service_change_actions(mp.ServiceChange(mp.ServiceMethod.RESTART, 901))
        message = encode(Message(1, DeviceName("deaf"), (TransactionRequest(1, change),)))
        deaf.sendall(tpkt.frame(message))
        await until(lambda: len(mrfc.mrfps()) == 2)
        asked = []
        while len(mrfc.mrfps()) == 2:  # what the kernel holds for the deaf one has an end
            asked += [asyncio.ensure_future(mrfc.request("deaf", LONG)) for _ in range(50)]
            await asyncio.sleep(0)
            assert len(asked) < 2000
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in ended} == {MrfpUnavailable}
        assert await mrfc.request("mrfp1", CONFIGURE)
        deaf.close()


async def test_ports_of_all_transports() -> None:
    port = free_ports(1)[0]
    made = MpController(
        "127.0.0.1", port, Tracer("MRFC"), transports=MpTransports((Transport.TCP, Transport.UDP))
    )
    await made.start()
    assert made.ports == {Transport.TCP: port, Transport.UDP: port}
    await made.close()
