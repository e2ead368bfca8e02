"""A conference calls: dial-out as the called UE sees it. The caller is a UE whose offer is that of a focus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mrf_ops.trace import ListSink, Tracer
from mrf_protocols import sdp
from mrf_protocols.bfcp import Message
from mrf_protocols.sdp import SessionDescription, Setup
from mrf_ue.answer import answer_calls
from mrf_ue.bearer import BearerClosed
from mrf_ue.errors import AnswerRefused, OfferRefused, SipRefused, TlsFailed
from mrf_ue.keys import start_transfer
from mrf_ue.options import (
    TLS_POLICIES,
    AnswerOptions,
    DialInOptions,
    KeySettings,
    TicketMode,
    Timeouts,
)
from mrf_ue.show import Show, quiet
from mrf_ue.sip import SipSettings
from mrf_ue.steps import UeScript
from mrfp_agent.floor_control import Floor, FloorControlServer, Send

if TYPE_CHECKING:
    from functional.ue.conftest import FakeKms

KMS = "kms.example"
ALICE_KEY, BOB_KEY = bytes(range(32)), bytes(range(96, 128))
BOB = "sip:bob@127.0.0.1"


class Caller(UeScript):
    """A focus as far as its offer goes, and a floor control server on its own connection."""

    def make_offer(self, address: sdp.Address) -> SessionDescription:
        key_mgmt = sdp.KeyMgmt(sdp.MIKEY, self.transfer.init())
        media = sdp.ServerMedia(address, 4321, 7, (sdp.FloorStreams(1, ("10",)),), (key_mgmt,))
        return sdp.offer_bfcp(sdp.Origin.of(address.host, 1), media, setup=self.options.setup)

    async def call_up(self) -> None:
        await self.open()
        await self.get_ticket()
        await self.invite()
        await self.wait_answer()
        self.check_answer()
        await self.ack()

    async def serve(self) -> None:
        await self.connect()
        await self.secure()
        server = FloorControlServer(4321, (Floor(1),))
        server.add_user(7)
        server.connection_up(7, time.monotonic())
        while True:
            item = await self.connection.messages.get()
            if not isinstance(item, Message):
                raise item
            for output in server.receive(7, item, time.monotonic()):
                if isinstance(output, Send):
                    self.connection.send(output.message)


@pytest.fixture(params=["udp"])
def transport(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def bob(kms: FakeKms, transport: str, free_port: int) -> AnswerOptions:
    return AnswerOptions(
        sip=SipSettings(BOB, transport=transport, local=("127.0.0.1", free_port)),
        keys=KeySettings(kms.url, "bob", BOB_KEY, KMS),
        hold=0.01,
        timeouts=Timeouts().at_most(30.0),
    )


@pytest.fixture
async def caller(kms: FakeKms, bob: AnswerOptions) -> AsyncIterator[Caller]:
    host, port = bob.sip.local
    script = Caller(
        DialInOptions(
            callee=f"sip:bob@{host}:{port}",
            sip=SipSettings("sip:alice@example", transport=bob.sip.transport),
            keys=KeySettings(kms.url, "alice", ALICE_KEY, KMS, mode=TicketMode.REQUEST),
            timeouts=Timeouts().at_most(30.0),
        )
    )
    yield script
    await script.close()


async def started(
    options: AnswerOptions, tracer: Tracer | None = None, *, calls: int = 1, heard: Show = quiet
) -> asyncio.Task[None]:
    listening = asyncio.Event()

    def show(what: str, text: str) -> None:
        heard(what, text)
        if text.startswith("waiting for calls"):
            listening.set()

    task = asyncio.create_task(answer_calls(options, tracer, show, calls))
    async with asyncio.timeout(30):
        await listening.wait()
    return task


async def ended(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(60):
        await task


@pytest.mark.parametrize("transport", ["udp", "tcp"], indirect=True)
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("setup", [Setup.ACTIVE, Setup.PASSIVE])
async def test_the_whole_call(caller: Caller, bob: AnswerOptions, setup: Setup, tls: str) -> None:
    sink = ListSink()
    options = replace(bob, setup=setup, tls=TLS_POLICIES[tls])
    task = await started(options, Tracer("UE-B", sink, strict=True))
    await caller.call_up()
    with pytest.raises(SipRefused, match="hung up"):
        await caller.call.while_up(caller.serve())
    await ended(task)
    assert caller.call.hung_up.is_set()
    told = [(event.kind, event.protocol, event.name) for event in sink.events]
    for row in [
        ("received", "SIP", "INVITE"),
        ("sent", "KMS", "RESOLVE_INIT_PSK"),
        ("sent", "SIP", "200 OK (INVITE)"),
        ("received", "SIP", "ACK"),
        ("sent" if setup is Setup.ACTIVE else "received", "TCP", "TCP connect"),
        ("received", "TLS", "ClientHello"),
        ("sent", "TLS", "TLS established"),
        ("received", "BFCP", "FloorRequestStatus Granted"),
        ("sent", "SIP", "BYE"),
    ]:
        assert row in told
    assert {event.correlation for event in sink.events} == {caller.call_id}


async def test_a_ticket_for_somebody_else_is_refused_before_the_kms_is_asked(
    caller: Caller, bob: AnswerOptions, kms: FakeKms
) -> None:
    task = await started(bob)
    caller.responder = "sip:carol@127.0.0.1"
    with pytest.raises(SipRefused, match="488"):
        await caller.call_up()
    with pytest.raises(OfferRefused):
        await ended(task)
    assert kms.requests == 1


async def test_an_offer_without_keys_is_refused_with_a_warning(caller: Caller, bob: AnswerOptions) -> None:
    class NoKeys(Caller):
        def offer_sdp(self) -> bytes:
            lines = super().offer_sdp().split(b"\r\n")
            return b"\r\n".join(line for line in lines if not line.startswith(b"a=key-mgmt"))

    task = await started(bob)
    script = NoKeys(caller.options)
    with pytest.raises(SipRefused, match="key-mgmt"):
        await script.call_up()
    await script.close()
    with pytest.raises(OfferRefused):
        await ended(task)


async def test_a_kms_that_is_gone(caller: Caller, bob: AnswerOptions) -> None:
    task = await started(replace(bob, keys=replace(bob.keys, kms_url="http://127.0.0.1:9")))
    with pytest.raises(SipRefused, match="480"):
        await caller.call_up()
    with pytest.raises(OfferRefused):
        await ended(task)


async def test_a_caller_that_gives_up_while_it_rings(caller: Caller, bob: AnswerOptions) -> None:
    task = await started(replace(bob, ring=3.0))
    await caller.open()
    await caller.get_ticket()
    await caller.invite()
    await caller.call.wait_provisional(3.0)
    assert await caller.cancel() == 487
    with pytest.raises(SipRefused, match="hung up"):
        await ended(task)


async def test_a_caller_with_another_key(caller: Caller, bob: AnswerOptions) -> None:
    task = await started(bob)
    await caller.call_up()
    caller.keys = replace(caller.keys, tek=bytes(32))
    with pytest.raises(TlsFailed):
        await caller.serve()
    with pytest.raises(TlsFailed):
        await ended(task)


async def test_a_second_call_meanwhile_is_told_busy(caller: Caller, bob: AnswerOptions) -> None:
    task = await started(replace(bob, ring=0.5))
    second = Caller(caller.options)
    await caller.open()
    await caller.get_ticket()
    await caller.invite()
    await caller.call.wait_provisional(3.0)
    with pytest.raises(SipRefused, match="486"):
        await second.call_up()
    await second.close()
    await caller.cancel()
    with pytest.raises(SipRefused):
        await ended(task)


async def test_a_called_ue_can_spoil_its_answer(
    caller: Caller, bob: AnswerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mrf_ue.answer_steps import AnswerScript

    def spoiled(self: AnswerScript) -> bytes:
        return self.keys.message[:-1] + bytes([self.keys.message[-1] ^ 1])

    monkeypatch.setattr(AnswerScript, "transfer_response", spoiled)
    task = await started(bob)
    with pytest.raises(AnswerRefused, match="TRANSFER_RESP"):
        await caller.call_up()
    await caller.ack()
    await caller.bye()
    with pytest.raises(SipRefused, match="hung up"):
        await ended(task)


async def test_a_ticket_for_one_call_is_good_for_one_call(
    caller: Caller, bob: AnswerOptions, kms: FakeKms
) -> None:
    task = await started(bob, calls=2)
    await caller.call_up()
    with pytest.raises(SipRefused, match="hung up"):
        await caller.call.while_up(caller.serve())

    class Again(Caller):
        async def get_ticket(self) -> None:
            self.ticket = caller.ticket
            self.transfer = start_transfer(self.ticket, self.initiator, self.responder)

    script, asked = Again(caller.options), kms.requests
    with pytest.raises(SipRefused, match=r"488.*INVALID_TPPAR"):
        await script.call_up()
    await script.close()
    with pytest.raises(OfferRefused, match="used before"):
        await ended(task)
    assert kms.requests == asked


async def test_floor_control_is_taken_out_of_the_call(caller: Caller, bob: AnswerOptions) -> None:
    """BFCP m-line with port 0 (RFC 3264 8.2): agreed to, and the call stays."""
    granted = asyncio.Event()

    def show(_: str, text: str) -> None:
        if "granted" in text:
            granted.set()

    task = await started(replace(bob, hold=60.0), heard=show)
    await caller.call_up()
    serving = asyncio.ensure_future(caller.serve())
    async with asyncio.timeout(30):
        await granted.wait()
    own = sdp.parse(caller.offer_sdp())
    gone = sdp.successor(own, replace(own, media=tuple(map(sdp.refuse, own.media))))
    response = await caller.call.reinvite(sdp.encode(gone), 30.0)
    assert [media.port for media in sdp.parse(response.body).media] == [0]
    with pytest.raises(BearerClosed):
        await serving
    assert not task.done()
    await caller.bye()
    with pytest.raises(SipRefused, match="hung up"):
        await ended(task)
