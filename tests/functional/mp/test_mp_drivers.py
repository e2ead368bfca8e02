"""Both ends of Mp over loopback: registration, procedures, indications, and peers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from mrf_ops.trace import ListSink, Tracer
from mrf_protocols.h248 import ErrorCode, H248Error, decode, encode, mp, tpkt
from mrf_protocols.h248.values import (
    ALL_CONTEXTS,
    NULL_CONTEXT,
    ROOT,
    Action,
    Command,
    CommandKind,
    DeviceName,
    ErrorDescriptor,
    Message,
    TransactionReply,
    TransactionRequest,
)
from mrfc.mp.controller import MpController, MrfpRefused, MrfpTimeout, MrfpUnavailable
from mrfp_agent.mp_gateway import MpGateway
from mrfp_agent.mp_settings import MpSettings

CONFERENCE = mp.Conference(4711, (mp.Floor(1, ("10",)),))
KEY = bytes(range(16))
CONFIGURE = mp.ConfigureBfcpTermination(
    ("192.0.2.7", 40000),
    7,
    conference=CONFERENCE,
    psk=KEY,
    psk_identity="55667788.1",
    start_tcp=True,
    correlation="call-1@ue",
)


async def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.01)


@dataclass
class FakeMedia:
    """Stands for the media side of an MRFP."""

    procedures: list[mp.Procedure] = field(default_factory=list)
    answer: Callable[[mp.Procedure], mp.Acknowledgement] | None = None
    registered: int = 0
    lost: int = 0

    def handle(self, procedure: mp.Procedure) -> mp.Acknowledgement:
        self.procedures.append(procedure)
        if self.answer is not None:
            return self.answer(procedure)
        if isinstance(procedure, mp.ReleaseBfcpTermination):
            return mp.TerminationReleased(procedure.context, procedure.termination)
        if isinstance(procedure, mp.AuditHeartbeat):
            return mp.HeartbeatAnswered()
        return mp.TerminationConfigured(12, "bfcp/5", ("127.0.0.1", 5000))

    def on_registered(self) -> None:
        self.registered += 1

    def on_lost(self) -> None:
        self.lost += 1

    def asked(self, kind: type) -> list[mp.Procedure]:
        return [item for item in self.procedures if isinstance(item, kind)]


@dataclass
class Mrfc:
    """A controller and what it told."""

    controller: MpController
    trace: ListSink
    registered: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    notified: list[mp.NotifyIndication] = field(default_factory=list)

    def gateway(self, media: FakeMedia, name: str = "mrfp1", sink: ListSink | None = None) -> MpGateway:
        settings = MpSettings(
            (("127.0.0.1", self.controller.port),), DeviceName(name), timeout=30.0, first_pause=0.05
        )
        tracer = Tracer("MRFP", sink or ListSink())
        return MpGateway(
            settings, media.handle, tracer, on_registered=media.on_registered, on_lost=media.on_lost
        )


@pytest.fixture
async def mrfc() -> AsyncIterator[Mrfc]:
    """With so much patience that nothing ends by time."""
    async for found in running(60.0):
        yield found


@pytest.fixture
async def hasty() -> AsyncIterator[Mrfc]:
    """One that loses patience soon."""
    async for found in running(1.0):
        yield found


async def running(patience: float) -> AsyncIterator[Mrfc]:
    sink = ListSink()
    controller = MpController("127.0.0.1", 0, Tracer("MRFC", sink), timeout=patience, heartbeat=patience)
    found = Mrfc(controller, sink)
    controller.on_registered = found.registered.append
    controller.on_lost = found.lost.append
    controller.on_notify = lambda _, indication: found.notified.append(indication)
    await controller.start()
    yield found
    await controller.close()


async def test_register_configure_release_notify(mrfc: Mrfc) -> None:
    media, sink = FakeMedia(), ListSink()
    gateway = mrfc.gateway(media, sink=sink)
    gateway.start()
    await until(lambda: gateway.registered and mrfc.registered)
    mrfp = mrfc.controller.choose_mrfp()
    answer = await mrfc.controller.request(mrfp, CONFIGURE)
    assert answer == mp.TerminationConfigured(12, "bfcp/5", ("127.0.0.1", 5000))
    assert media.asked(mp.ConfigureBfcpTermination) == [CONFIGURE]
    assert mrfc.controller.mrfps()[0].terminations == 1
    gateway.notify(mp.BearerReleased(12, "bfcp/5", "closed by the user"))
    await until(lambda: mrfc.notified)
    assert mrfc.notified == [mp.BearerReleased(12, "bfcp/5", "closed by the user")]
    await mrfc.controller.request(mrfp, mp.ReleaseBfcpTermination(12, "bfcp/5"))
    assert mrfc.controller.mrfps()[0].terminations == 0
    await gateway.close()
    await until(lambda: mrfc.lost == ["mrfp1"])
    assert media.lost == 1
    with pytest.raises(MrfpUnavailable):
        mrfc.controller.choose_mrfp()


async def test_both_ends_trace_the_same_and_no_key(mrfc: Mrfc) -> None:
    media, sink = FakeMedia(), ListSink()
    gateway = mrfc.gateway(media, sink=sink)
    gateway.start()
    await until(lambda: mrfc.registered)
    await mrfc.controller.request("mrfp1", CONFIGURE)
    gateway.notify(mp.TlsEstablishmentFailed(12, "bfcp/5", "no ClientHello"))
    await until(lambda: mrfc.notified)
    await mrfc.controller.request("mrfp1", mp.ReleaseBfcpTermination(12, "bfcp/5"))
    await gateway.close()
    call = "call-1@ue"
    ours = [(e.kind, e.name, e.key) for e in mrfc.trace.events if e.correlation == call]
    theirs = [(e.kind, e.name, e.key) for e in sink.events if e.correlation == call]
    other = {"sent": "received", "received": "sent"}
    assert sorted((other[kind], name, key) for kind, name, key in ours) == sorted(theirs)
    assert [name for _, name, _ in ours] == [
        "Add request: Configure BFCP Termination",
        "Add reply",
        "Notify request: TLS session establishment failure",
        "Subtract request: Release BFCP Termination",
        "Subtract reply",
    ]
    written = repr(mrfc.trace.events) + repr(sink.events)
    assert KEY.hex() not in written
    assert "192.0.2.7:40000" in written
    assert "127.0.0.1:5000" in written


async def test_dial_out_procedures(mrfc: Mrfc) -> None:
    media = FakeMedia()
    gateway = mrfc.gateway(media)
    gateway.start()
    await until(lambda: mrfc.registered)
    reserve = mp.ReserveBfcpTermination(8, conference=CONFERENCE, correlation="call-2")
    assert isinstance(await mrfc.controller.request("mrfp1", reserve), mp.TerminationConfigured)
    configure = mp.ConfigureReservedBfcpTermination(
        12,
        "bfcp/5",
        ("2001:db8::7", 41000),
        psk=KEY,
        psk_identity="a.1",
        start_tls=True,
        correlation="call-2",
    )
    answer = await mrfc.controller.request("mrfp1", configure)
    assert answer == mp.TerminationConfigured(12, "bfcp/5")
    assert media.asked(mp.ConfigureReservedBfcpTermination) == [configure]
    await gateway.close()


async def test_least_loaded(mrfc: Mrfc) -> None:
    one, two = mrfc.gateway(FakeMedia(), "mrfp1"), mrfc.gateway(FakeMedia(), "mrfp2")
    one.start()
    two.start()
    await until(lambda: len(mrfc.registered) == 2)
    first = mrfc.controller.choose_mrfp()
    await mrfc.controller.request(first, CONFIGURE)
    assert mrfc.controller.choose_mrfp() != first
    await one.close()
    await two.close()


async def test_refusal(mrfc: Mrfc) -> None:
    def refuse(procedure: mp.Procedure) -> mp.Acknowledgement:
        raise H248Error(ErrorCode.INSUFFICIENT_RESOURCES, "no port left")

    media = FakeMedia()
    gateway = mrfc.gateway(media)
    gateway.start()
    await until(lambda: mrfc.registered)
    media.answer = refuse
    with pytest.raises(MrfpRefused, match="no port left") as caught:
        await mrfc.controller.request("mrfp1", CONFIGURE)
    assert caught.value.code == 510
    assert any(event.name == "Add reply: 510" for event in mrfc.trace.events)
    await gateway.close()


async def test_an_indication_made_while_configuring_comes_behind_the_reply(mrfc: Mrfc) -> None:
    def fail_at_once(procedure: mp.Procedure) -> mp.Acknowledgement:
        if isinstance(procedure, mp.ConfigureBfcpTermination):
            gateway.notify(mp.TcpEstablishmentFailed(12, "bfcp/5", "no route"))
            return mp.TerminationConfigured(12, "bfcp/5", ("127.0.0.1", 5000))
        return mp.HeartbeatAnswered()

    gateway = mrfc.gateway(FakeMedia(answer=fail_at_once))
    gateway.start()
    await until(lambda: mrfc.registered)
    await mrfc.controller.request("mrfp1", CONFIGURE)
    await until(lambda: mrfc.notified)
    names = [event.name for event in mrfc.trace.events if event.correlation == "call-1@ue"]
    assert names[1:] == ["Add reply", "Notify request: TCP connection establishment failure"]
    await gateway.close()


async def test_fault_of_the_media_side_is_500(mrfc: Mrfc) -> None:
    def fail(procedure: mp.Procedure) -> mp.Acknowledgement:
        raise ZeroDivisionError

    media = FakeMedia()
    gateway = mrfc.gateway(media)
    gateway.start()
    await until(lambda: mrfc.registered)
    media.answer = fail
    with pytest.raises(MrfpRefused) as caught:
        await mrfc.controller.request("mrfp1", CONFIGURE)
    assert caught.value.code == 500
    assert gateway.registered
    await gateway.close()


async def test_a_transaction_that_fails_ends_nothing_else(
    mrfc: Mrfc, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = FakeMedia()
    gateway = mrfc.gateway(media)
    gateway.start()
    await until(lambda: gateway.registered and mrfc.registered)
    mrfp = mrfc.controller.choose_mrfp()
    with monkeypatch.context() as patch:
        patch.setattr("mrfp_agent.mp_execution.Execution.carry_out", lambda *_: 1 // 0)
        with pytest.raises(MrfpRefused) as caught:
            await mrfc.controller.request(mrfp, CONFIGURE)
    assert caught.value.code == ErrorCode.INTERNAL_SOFTWARE_FAILURE
    assert isinstance(await mrfc.controller.request(mrfp, CONFIGURE), mp.TerminationConfigured)
    assert (media.registered, media.lost) == (1, 0)
    await gateway.close()


async def test_a_name_that_is_none_does_not_keep_from_the_next_mrfc(mrfc: Mrfc) -> None:
    media = FakeMedia()
    addresses = (("mrfc..example", 2944), ("127.0.0.1", mrfc.controller.port))
    settings = MpSettings(
        addresses, DeviceName("mrfp1"), timeout=30.0, first_pause=0.05, allow_cleartext=True
    )
    gateway = MpGateway(settings, media.handle, Tracer("MRFP"))
    gateway.start()
    await until(lambda: gateway.registered and mrfc.registered)
    await gateway.close()


async def test_unknown_mrfp(mrfc: Mrfc) -> None:
    with pytest.raises(MrfpUnavailable):
        await mrfc.controller.request("nobody", CONFIGURE)


async def test_gateway_comes_back_and_is_cleaned(mrfc: Mrfc) -> None:
    media = FakeMedia()
    gateway = mrfc.gateway(media)
    gateway.start()
    await until(lambda: mrfc.registered)
    port = mrfc.controller.port
    await mrfc.controller.close()
    await until(lambda: mrfc.lost and media.lost)
    again = MpController("127.0.0.1", port, Tracer("MRFC"), timeout=60.0)
    registered: list[str] = []
    again.on_registered = registered.append
    await again.start()
    await until(lambda: registered)
    assert media.asked(mp.ReleaseBfcpTermination) == [mp.ReleaseBfcpTermination(ALL_CONTEXTS)]
    assert media.registered == 2
    await gateway.close()
    await again.close()


async def test_gateway_tries_the_next_mrfc(mrfc: Mrfc) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    addresses = (("127.0.0.1", 1), server.sockets[0].getsockname(), ("127.0.0.1", mrfc.controller.port))
    settings = MpSettings(addresses, DeviceName("mrfp1"), timeout=1.0, first_pause=0.05)
    gateway = MpGateway(settings, FakeMedia().handle, Tracer("MRFP"))
    gateway.start()
    await until(lambda: mrfc.registered == ["mrfp1"])
    await gateway.close()
    server.close()


class RawMrfp:
    """An MRFP that does only what the test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.deframer = tpkt.Deframer()
        self.waiting: list[bytes] = []

    @classmethod
    async def connect(cls, mrfc: Mrfc) -> RawMrfp:
        return cls(*await asyncio.open_connection("127.0.0.1", mrfc.controller.port))

    def send(self, *transactions: TransactionRequest | TransactionReply, version: int = 3) -> None:
        self.send_octets(tpkt.frame(encode(Message(version, DeviceName("raw"), transactions))))

    def send_octets(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def receive(self) -> Message:
        while not self.waiting:
            data = await asyncio.wait_for(self.reader.read(65536), 30)
            assert data, "closed"
            self.waiting = self.deframer.feed(data)
        return decode(self.waiting.pop(0))

    async def register(self, mrfc: Mrfc) -> None:
        change = mp.ServiceChange(mp.ServiceMethod.RESTART, 901)
        self.send(TransactionRequest(1, mp.service_change_actions(change)), version=1)
        answer = await self.receive()
        assert answer.version == 1
        reply = answer.transactions[0]
        assert isinstance(reply, TransactionReply)
        assert mp.parse_service_change_reply(reply).version == 3
        await until(lambda: "raw" in mrfc.registered)
        watch = (await self.receive()).transactions[0]
        assert isinstance(watch, TransactionRequest)
        assert mp.parse_watch(watch.actions[0].commands[0]).congestion
        watched = Command(CommandKind.MODIFY, (ROOT,))
        self.send(TransactionReply(watch.transaction_id, (Action(NULL_CONTEXT, (watched,)),)))

    async def request(self) -> tuple[TransactionRequest, mp.Procedure]:
        """The next request that is no heartbeat; heartbeats are answered."""
        while True:
            message = await self.receive()
            for item in message.transactions:
                if isinstance(item, TransactionRequest):
                    action = item.actions[0]
                    procedure = mp.parse_command(action, action.commands[0])
                    if not isinstance(procedure, mp.AuditHeartbeat):
                        assert message.version == 3
                        return item, procedure
                    answer = mp.reply_action(procedure, mp.HeartbeatAnswered())
                    self.send(TransactionReply(item.transaction_id, (answer,)))

    async def closed(self) -> None:
        while await asyncio.wait_for(self.reader.read(65536), 30):
            pass


async def read_to_the_end(raw: RawMrfp) -> None:
    try:
        await raw.closed()
    except ConnectionError:
        return  # a reset is an end as well


async def test_silent_mrfp_times_out_and_late_termination_is_released(hasty: Mrfc) -> None:
    raw = await RawMrfp.connect(hasty)
    await raw.register(hasty)
    asked = asyncio.create_task(hasty.controller.request("raw", CONFIGURE))
    request, procedure = await raw.request()
    heartbeats = asyncio.create_task(raw.request())
    with pytest.raises(MrfpTimeout):
        await asked
    late = mp.TerminationConfigured(3, "t/1", ("127.0.0.1", 1234))
    raw.send(TransactionReply(request.transaction_id, (mp.reply_action(procedure, late),)))
    _, released = await heartbeats
    assert released == mp.ReleaseBfcpTermination(3, "t/1")


async def test_termination_of_a_caller_who_left_is_released(mrfc: Mrfc) -> None:
    raw = await RawMrfp.connect(mrfc)
    await raw.register(mrfc)
    asked = asyncio.create_task(mrfc.controller.request("raw", CONFIGURE))
    request, procedure = await raw.request()
    asked.cancel()
    answer = mp.TerminationConfigured(3, "t/1", ("127.0.0.1", 1234))
    raw.send(TransactionReply(request.transaction_id, (mp.reply_action(procedure, answer),)))
    _, released = await raw.request()
    assert released == mp.ReleaseBfcpTermination(3, "t/1")


async def test_mrfp_gone_in_the_middle(mrfc: Mrfc) -> None:
    raw = await RawMrfp.connect(mrfc)
    await raw.register(mrfc)
    asked = asyncio.create_task(mrfc.controller.request("raw", CONFIGURE))
    await raw.request()
    raw.writer.transport.abort()
    with pytest.raises(MrfpUnavailable):
        await asked
    await until(lambda: mrfc.lost == ["raw"])


async def test_no_heartbeat_answer_ends_the_association(hasty: Mrfc) -> None:
    raw = await RawMrfp.connect(hasty)
    await raw.register(hasty)
    await read_to_the_end(raw)
    await until(lambda: hasty.lost == ["raw"])


async def test_who_does_not_register_is_disconnected(hasty: Mrfc) -> None:
    raw = await RawMrfp.connect(hasty)
    await read_to_the_end(raw)
    assert hasty.lost == []


async def test_notify_before_registration_is_refused(mrfc: Mrfc) -> None:
    raw = await RawMrfp.connect(mrfc)
    raw.send(TransactionRequest(5, mp.notify_actions(mp.BearerReleased(1, "t/1"))))
    answer = (await raw.receive()).transactions[0]
    assert isinstance(answer, TransactionReply)
    found = answer.actions[0].commands[0].find(ErrorDescriptor)
    assert found is not None
    assert found.code == 505


async def test_wrong_reply_is_refused(mrfc: Mrfc) -> None:
    raw = await RawMrfp.connect(mrfc)
    await raw.register(mrfc)
    asked = asyncio.create_task(mrfc.controller.request("raw", CONFIGURE))
    request, _ = await raw.request()
    raw.send(
        TransactionReply(
            request.transaction_id, (mp.reply_action(mp.AuditHeartbeat(), mp.HeartbeatAnswered()),)
        )
    )
    with pytest.raises(MrfpRefused) as caught:
        await asked
    assert caught.value.code == 401


async def test_unreadable_request_gets_its_reply(mrfc: Mrfc) -> None:
    raw = await RawMrfp.connect(mrfc)
    await raw.register(mrfc)
    raw.send_octets(tpkt.frame(b"!/3 raw T=77{C=1{N=a{OE=}}}"))
    answer = (await raw.receive()).transactions[0]
    assert isinstance(answer, TransactionReply)
    assert answer.transaction_id == 77
    assert answer.error is not None
    assert answer.error.code == 403


async def test_message_errors_are_never_answered(mrfc: Mrfc) -> None:
    raw = await RawMrfp.connect(mrfc)
    await raw.register(mrfc)
    raw.send_octets(tpkt.frame(b'!/3 raw ER=406{"version"}'))
    raw.send_octets(tpkt.frame(b"!/3 raw ER=400{broken"))
    raw.send_octets(tpkt.frame(b"!/3 raw P=9{broken"))
    raw.send_octets(tpkt.frame(b"!/3 raw T=78{C=1{N=a{OE=}}}"))
    answer = (await raw.receive()).transactions[0]
    assert isinstance(answer, TransactionReply)
    assert answer.transaction_id == 78


GARBAGE = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "length below the header": b"\x03\x00\x00\x03abc",
    "length of the header alone": b"\x03\x00\x00\x04",
    "version 4": b"\x04\x00\x00\x20" + b"a" * 28,
    "zeros": bytes(64),
    "faulty messages": tpkt.frame(b"nonsense") * 8,
}


@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_costs_the_connection_only(mrfc: Mrfc, octets: bytes) -> None:
    good = mrfc.gateway(FakeMedia())
    good.start()
    await until(lambda: mrfc.registered)
    raw = await RawMrfp.connect(mrfc)
    raw.send_octets(octets)
    await read_to_the_end(raw)
    assert await mrfc.controller.request("mrfp1", CONFIGURE)
    assert mrfc.lost == []
    await good.close()


async def test_length_that_lies_waits_no_longer_than_registration(hasty: Mrfc) -> None:
    raw = await RawMrfp.connect(hasty)
    raw.send_octets(b"\x03\x00\xff\xff!/3 raw T=1{")
    await read_to_the_end(raw)
    assert hasty.controller.mrfps() == []


async def test_ten_megabytes_without_an_end(hasty: Mrfc) -> None:
    raw = await RawMrfp.connect(hasty)
    packet = tpkt.frame(b"!/3 raw T=1{C=1{" + b"A=a," * 16000)
    try:
        for _ in range(10 * 1024 * 1024 // len(packet)):
            raw.send_octets(packet)
            await raw.writer.drain()
    except ConnectionError:
        pass  # closed while we were still writing
    await read_to_the_end(raw)
    assert hasty.controller.mrfps() == []
    assert hasty.registered == []


async def test_second_registration_replaces_the_first(mrfc: Mrfc) -> None:
    one = await RawMrfp.connect(mrfc)
    await one.register(mrfc)
    two = await RawMrfp.connect(mrfc)
    await two.register(mrfc)
    await read_to_the_end(one)
    await until(lambda: mrfc.lost == ["raw"] and mrfc.registered == ["raw", "raw"])
    assert len(mrfc.controller.mrfps()) == 1


async def test_graceful_takes_no_new_calls(mrfc: Mrfc) -> None:
    raw = await RawMrfp.connect(mrfc)
    await raw.register(mrfc)
    change = mp.ServiceChange(mp.ServiceMethod.GRACEFUL, 905, delay=30)
    raw.send(TransactionRequest(2, mp.service_change_actions(change)))
    await raw.receive()
    with pytest.raises(MrfpUnavailable):
        mrfc.controller.choose_mrfp()
    asked = asyncio.create_task(mrfc.controller.request("raw", mp.ReleaseBfcpTermination(1, "t/1")))
    _, procedure = await raw.request()
    assert procedure == mp.ReleaseBfcpTermination(1, "t/1")
    asked.cancel()
    assert mrfc.lost == []


async def test_one_that_leaves_is_still_looked_after(hasty: Mrfc) -> None:
    raw = await RawMrfp.connect(hasty)
    await raw.register(hasty)
    change = mp.ServiceChange(mp.ServiceMethod.GRACEFUL, 905, delay=30)
    raw.send(TransactionRequest(2, mp.service_change_actions(change)))
    await until(lambda: not hasty.controller.mrfps()[0].in_service)
    await read_to_the_end(raw)  # no heartbeat is answered
    await until(lambda: hasty.lost == ["raw"])


async def test_indications_of_one_moment_travel_together_and_in_order(mrfc: Mrfc) -> None:
    media = FakeMedia()
    gateway = mrfc.gateway(media)
    gateway.start()
    await until(lambda: gateway.registered and mrfc.registered)
    await mrfc.controller.request(mrfc.controller.choose_mrfp(), CONFIGURE)
    sent = [
        mp.FloorRequestReport(12, "bfcp/5", number, (1,), mp.FloorRequestState.GRANTED)
        for number in range(1, 71)
    ]
    for indication in sent:
        gateway.notify(indication)
    await until(lambda: len(mrfc.notified) == len(sent))
    assert mrfc.notified == sent
    keys = {event.key for event in mrfc.trace.events if event.name.startswith("Notify request: Report")}
    assert len(keys) == 3  # transactions of at most 32
    await gateway.close()


@pytest.mark.parametrize("turns", range(8))
async def test_a_gateway_stops_whatever_it_is_about(turns: int) -> None:
    """Nobody is at the MRFC's port: the end may come at the very moment at which the connection fails."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        nobody = holder.getsockname()[:2]
        settings = MpSettings((nobody,), DeviceName("mrfp"), first_pause=0.01, longest_pause=0.01)
        for _ in range(20):
            gateway = MpGateway(settings, FakeMedia().handle, Tracer("MRFP"))
            gateway.start()
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(30):
                await gateway.close()
