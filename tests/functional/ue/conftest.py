"""A small focus, KMS and floor control server, so that the UE can be tested without Kamailio and the MRFP agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from aiosipua import SipRequest, SipResponse, SipTransport, TcpSipTransport

from loopback_ports import free_ports
from mrf_protocols import bfcp, mikey, sdp
from mrf_protocols.bfcp import BfcpError, Deframer, Message
from mrf_protocols.tls_psk import PskCredentials, TlsEngine, TlsPolicy, TlsPskError, TlsRole, make_context
from mrf_ue.options import DialInOptions, KeySettings, TicketMode, Timeouts
from mrf_ue.sip import SipSettings
from mrf_ue.sip_transport import UdpTransport
from mrfp_agent.floor_control import CloseConnection, Floor, FloorControlServer, Output, Send

CONFERENCE_ID = 4321
USER_ID = 1234
KMS = "kms.example"
ALICE_KEY = bytes(range(32))
FOCUS_KEY = bytes(range(32, 64))
BOB_KEY = bytes(range(96, 128))
TICKET_KEY = mikey.TicketKey("tpk-1", bytes(range(64, 96)))
CREDENTIALS = {
    "alice": mikey.Credential("alice", ALICE_KEY, ("sip:alice@example",)),
    "bob": mikey.Credential("bob", BOB_KEY, ("sip:bob@127.0.0.1",)),
    "focus": mikey.Credential("focus", FOCUS_KEY, ("sip:conf@127.0.0.1",)),
}


@dataclass
class FakeKms:
    """The KMS's exchanges behind HTTP for the UE, and by function call for the focus."""

    url: str = ""
    requests: int = 0
    reply: bytes | None = None
    """What to answer instead of a ticket."""

    def rules(self) -> mikey.KmsRules:
        return mikey.KmsRules(KMS)

    def find(self, psk_id: str | None, identity: str | None) -> mikey.Credential | None:
        return CREDENTIALS.get(psk_id or "")

    def find_ticket_key(self, identifier: str | None) -> mikey.TicketKey | None:
        if identifier == "alice":
            return mikey.TicketKey("alice", ALICE_KEY, ("sip:alice@example",))
        return TICKET_KEY

    async def handle(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = self.reply
        if body is None and request.query["requesttype"] == "ticketresolve":
            body = self.resolve(await request.read())
        elif body is None:
            issued = mikey.issue_ticket(
                await request.read(),
                rules=self.rules(),
                find_credential=self.find,
                ticket_key=TICKET_KEY,
                rand=os.urandom,
                now=time.time(),
            )
            body = issued.response
        return web.Response(body=body, content_type="application/mikey")

    def resolve(self, request: bytes) -> bytes:
        return mikey.resolve_ticket(
            request,
            rules=self.rules(),
            find_credential=self.find,
            find_ticket_key=self.find_ticket_key,
            rand=os.urandom,
            now=time.time(),
        ).response


@dataclass
class Focus:
    """Answers calls, and serves BFCP over TLS-PSK as the MRFP would."""

    kms: FakeKms
    transport: SipTransport
    setup: sdp.Setup = sdp.Setup.ACTIVE
    tls: TlsPolicy = field(default_factory=TlsPolicy)
    floors: tuple[Floor, ...] = (Floor(1), Floor(2))
    refuse: int = 0
    mute: bool = False
    """Never answers the INVITE, and rings only if `rings`."""
    rings: bool = True
    spoil_answer: Callable[[bytes], bytes] = bytes
    """Changes TRANSFER_RESP on its way."""
    wrong_key: bool = False
    requests: list[str] = field(default_factory=list)
    """Methods of the requests that came, copies left out."""
    bfcp_received: list[Message | BfcpError] = field(default_factory=list)
    tls_failures: list[str] = field(default_factory=list)
    tls_cipher: str = ""
    early_connect: asyncio.Event = field(default_factory=asyncio.Event)
    _seen: set[tuple[str, str, str]] = field(default_factory=set)
    _invite: SipRequest | None = None
    _tag: str = ""
    _answer: bytes | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _result: mikey.TransferResult | None = None

    @property
    def uri(self) -> str:
        host, port = self.transport.local_addr
        suffix = ";transport=tcp" if self.transport.reliable else ""
        return f"sip:conf@{host}:{port}{suffix}"

    async def start(self) -> None:
        self.transport.on_message = self.received
        await self.transport.start()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        await self.transport.stop()

    async def saw(self, method: str) -> None:
        async with asyncio.timeout(60):
            while method not in self.requests:
                await asyncio.sleep(0.005)

    # --- SIP

    def received(self, message: SipRequest | SipResponse, addr: tuple[str, int]) -> None:
        if not isinstance(message, SipRequest):
            self.requests.append(f"{message.status_code}")
            return
        key = (message.method, message.get_header("CSeq") or "", message.get_header("Via") or "")
        if key not in self._seen:  # a slow machine sends again
            self._seen.add(key)
            self.requests.append(message.method)
        if message.method == "INVITE":
            self.spawn(self.invited(message))
        elif message.method == "BYE":
            self.respond(message, 200, "OK")
        elif message.method == "CANCEL":
            self.respond(message, 200, "OK")
            assert self._invite is not None
            self.respond(self._invite, 487, "Request Terminated")

    def spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)

    async def invited(self, invite: SipRequest) -> None:
        if self._invite is not None:
            return  # retransmitted
        self._invite, self._tag = invite, secrets.token_hex(4)
        if self.refuse:
            self.respond(invite, self.refuse, "Refused", Warning='306 focus "no key"')
            return
        if self.rings:
            self.respond(invite, 180, "Ringing")
        if self.mute:
            return
        body = await self.answer(sdp.parse(invite.body))
        self.respond(
            invite, 200, "OK", body, Contact=f"<{self.uri}>;isfocus", **{"Content-Type": "application/sdp"}
        )

    def respond(
        self, request: SipRequest, status: int, reason: str, body: bytes = b"", **headers: str
    ) -> None:
        response = SipResponse(status_code=status, reason_phrase=reason, body=body)
        for name in ("Via", "From", "Call-ID", "CSeq"):
            for value in request.get_header_values(name):
                response.add_header(name, value)
        to = request.get_header("To") or ""
        response.set_header("To", to if "tag=" in to else f"{to};tag={self._tag}")
        for name, value in headers.items():
            response.set_header(name, value)
        self.transport.send_reply(response)

    def send_bye(self, invite_source: tuple[str, int]) -> None:
        assert self._invite is not None
        bye = SipRequest(method="BYE", uri="sip:alice@127.0.0.1")
        host, port = self.transport.local_addr
        bye.set_header("Via", f"SIP/2.0/UDP {host}:{port};branch=z9hG4bKbye;rport")
        bye.set_header("From", f"{self._invite.get_header('To')};tag={self._tag}")
        bye.set_header("To", self._invite.get_header("From") or "")
        bye.set_header("Call-ID", self._invite.call_id or "")
        bye.set_header("CSeq", "1 BYE")
        self.transport.send(bye, invite_source)

    # --- keys and SDP

    async def answer(self, offer: sdp.SessionDescription) -> bytes:
        agreement = sdp.evaluate_offer(offer, sdp.AnswerPolicy(setup=self.setup))
        assert agreement.key_mgmt is not None
        self._result = self.transfer(agreement.key_mgmt.data)
        peer = agreement.peer.address
        address = sdp.Address("127.0.0.1", 9)
        if agreement.tcp_opener is sdp.Party.ANSWERER:
            reader, writer = await asyncio.open_connection(peer.host, peer.port)
            self.early_connect.set()
            self.spawn(self.serve(reader, writer))
        else:
            self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
            address = sdp.Address(*self._server.sockets[0].getsockname())
        message = self.spoil_answer(self._result.message)
        media = sdp.ServerMedia(
            address,
            CONFERENCE_ID,
            USER_ID,
            tuple(sdp.FloorStreams(floor.floor_id, ("10",)) for floor in self.floors),
            (sdp.KeyMgmt(sdp.MIKEY, message),),
        )
        return sdp.encode(sdp.answer_bfcp(offer, agreement, media, sdp.Origin.of("127.0.0.1", 1)))

    def transfer(self, message: bytes) -> mikey.TransferResult:
        now = time.time()
        responder = mikey.TransferResponder(message, now)
        request = responder.resolve_init(
            psk=FOCUS_KEY,
            psk_id="focus",
            identity="sip:conf@127.0.0.1",
            kms=KMS,
            rand=os.urandom,
            now=now,
        )
        responder.resolved(self.kms.resolve(request), now)
        return responder.respond(os.urandom, now)

    # --- BFCP over TLS

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._result is not None
        key = bytes(len(self._result.tek)) if self.wrong_key else self._result.tek
        credentials = PskCredentials(self._result.psk_identity, key)
        engine = TlsEngine(make_context(TlsRole.SERVER, self.tls), TlsRole.SERVER, credentials)
        floors = FloorControlServer(CONFERENCE_ID, self.floors)
        floors.add_user(USER_ID)
        floors.connection_up(USER_ID, time.monotonic())
        deframer = Deframer(max_payload_words=1024)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                try:
                    chunks = engine.feed(data)
                except TlsPskError as error:
                    self.tls_failures.append(error.reason.value)
                    writer.write(engine.take())
                    break
                self.tls_cipher = engine.cipher
                closing = [self.handle(floors, engine, deframer.feed(chunk)) for chunk in chunks]
                writer.write(engine.take())
                if engine.closed or any(closing):
                    break
        writer.close()

    def handle(self, server: FloorControlServer, engine: TlsEngine, items: list[Message | BfcpError]) -> bool:
        outputs: list[Output] = []
        now = time.monotonic()
        for item in items:
            self.bfcp_received.append(item)
            if isinstance(item, BfcpError):
                outputs += server.reject(USER_ID, item, now)
            else:
                outputs += server.receive(USER_ID, item, now)
        for output in outputs:
            if isinstance(output, Send):
                engine.write(bfcp.encode(output.message))
        return any(isinstance(output, CloseConnection) for output in outputs)


@pytest.fixture
async def kms() -> AsyncIterator[FakeKms]:
    fake = FakeKms()
    application = web.Application()
    application.router.add_post("/keymanagement", fake.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    yield fake
    await runner.cleanup()


@pytest.fixture(name="free_port")
def free_port_fixture() -> int:
    return free_ports(1)[0]


@pytest.fixture(params=["udp"])
def sip_transport(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
async def focus(kms: FakeKms, sip_transport: str) -> AsyncIterator[Focus]:
    kind = UdpTransport if sip_transport == "udp" else TcpSipTransport
    fake = Focus(kms, kind(local_addr=("127.0.0.1", free_ports(1)[0])))
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def options(focus: Focus, kms: FakeKms, sip_transport: str) -> DialInOptions:
    return DialInOptions(
        callee=focus.uri,
        sip=SipSettings("sip:alice@example", transport=sip_transport),
        keys=KeySettings(kms.url, "alice", ALICE_KEY, KMS, mode=TicketMode.REQUEST),
        hold=0.01,
        timeouts=Timeouts().at_most(30.0),
    )


@pytest.fixture
def psk_file(tmp_path: Path) -> Path:
    path = tmp_path / "alice.psk"
    path.write_text(ALICE_KEY.hex() + "\n")
    path.chmod(0o600)
    return path
