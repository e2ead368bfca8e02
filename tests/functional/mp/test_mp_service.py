"""The control association: breaks and returns, fail-over, hand-over, service changes, congestion, silence."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from mrf_ops.trace import Tracer
from mrf_protocols.h248 import ErrorCode, H248Error, ServiceChangeReason, decode, encode, mp, tpkt
from mrf_protocols.h248.values import (
    ALL_CONTEXTS,
    NULL_CONTEXT,
    ROOT,
    Action,
    AuditDescriptor,
    Command,
    CommandKind,
    DeviceName,
    DomainAddress,
    ErrorDescriptor,
    Message,
    MId,
    ServiceState,
    Transaction,
    TransactionReply,
    TransactionRequest,
)
from mrfc.mp.controller import MpController, MrfpRefused, MrfpUnavailable
from mrfp_agent.mp_gateway import MpGateway
from mrfp_agent.mp_settings import MpSettings

CONFERENCE = mp.Conference(4711, (mp.Floor(1),))
RESERVE = mp.ReserveBfcpTermination(7, conference=CONFERENCE, correlation="call-1")


async def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.01)


@dataclass
class Media:
    """Terminations that can be audited."""

    there: dict[str, int] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    made: int = 0

    def handle(self, procedure: mp.Procedure) -> mp.Acknowledgement:
        if isinstance(procedure, mp.AuditHeartbeat):
            return mp.HeartbeatAnswered()
        if isinstance(procedure, mp.ReleaseBfcpTermination):
            names = list(self.there) if procedure.context == ALL_CONTEXTS else [procedure.termination]
            for name in names:
                if name not in self.there:
                    raise H248Error(ErrorCode.UNKNOWN_TERMINATION)
                del self.there[name]
                self.released.append(name)
            return mp.TerminationReleased(procedure.context, procedure.termination)
        self.made += 1
        self.there[f"bfcp/{self.made}"] = self.made
        return mp.TerminationConfigured(self.made, f"bfcp/{self.made}", ("127.0.0.1", 5000))

    def inventory(self, in_service: ServiceState) -> mp.Inventory:
        facts = [
            mp.TerminationFacts(context, name, 7, mp.Transport.TCP_TLS_BFCP, ("127.0.0.1", 5000))
            for name, context in self.there.items()
        ]
        contexts = dict.fromkeys(self.there.values(), CONFERENCE)
        return mp.Inventory(mp.RootFacts(in_service, 10, 10, 1.0), contexts, facts)


@dataclass
class Mrfc:
    """A controller and what it told."""

    controller: MpController
    lost: list[str] = field(default_factory=list)
    notified: list[mp.NotifyIndication] = field(default_factory=list)

    def in_service(self) -> bool:
        return any(status.in_service for status in self.controller.mrfps())


@asynccontextmanager
async def mrfc(port: int = 0, heartbeat: float = 30.0, loss_grace: float = 60.0) -> AsyncIterator[Mrfc]:
    made = Mrfc(
        MpController(
            "127.0.0.1", port, Tracer("MRFC"), timeout=60.0, heartbeat=heartbeat, loss_grace=loss_grace
        )
    )
    made.controller.on_lost = made.lost.append
    made.controller.on_notify = lambda _, indication: made.notified.append(indication)
    await made.controller.start()
    try:
        yield made
    finally:
        await made.controller.close()


@asynccontextmanager
async def mrfp(
    media: Media, *ports: int, load: Callable[[], float] = lambda: 0.0, timeout: float = 60.0
) -> AsyncIterator[MpGateway]:
    settings = MpSettings(
        tuple(("127.0.0.1", port) for port in ports), DeviceName("mrfp1"), timeout=timeout, first_pause=0.05
    )
    made = MpGateway(settings, media, Tracer("MRFP"), load=load)
    made.start()
    try:
        yield made
    finally:
        await made.close()


def cut(controller: MpController) -> None:
    """The network breaks between MRFC and MRFP."""
    for link in list(controller._links):
        link.disconnect("the test says so")


async def test_a_returned_mrfp_is_compared_and_its_calls_go_on() -> None:
    media = Media()
    async with mrfc() as one, mrfp(media, one.controller.port):
        await until(one.in_service)
        kept, lost = [await one.controller.request("mrfp1", RESERVE) for _ in range(2)]
        assert isinstance(kept, mp.TerminationConfigured)
        assert isinstance(lost, mp.TerminationConfigured)
        cut(one.controller)
        await until(lambda: not one.controller.mrfps())
        with pytest.raises(MrfpUnavailable):
            await one.controller.request("mrfp1", RESERVE)
        media.there["bfcp/77"] = 77  # the MRFC never heard of it
        del media.there[lost.termination]  # and the MRFP has lost one
        await until(one.in_service)
        await until(lambda: "bfcp/77" not in media.there)
        assert list(media.there) == [kept.termination]
        assert one.notified == [mp.BearerReleased(lost.context, lost.termination, "lost by the MRFP")]
        assert one.lost == []
        assert one.controller.mrfps()[0].terminations == 1


async def test_what_ended_during_the_break_is_subtracted_after_it() -> None:
    media = Media()
    async with mrfc() as one, mrfp(media, one.controller.port):
        await until(one.in_service)
        call = await one.controller.request("mrfp1", RESERVE)
        assert isinstance(call, mp.TerminationConfigured)
        cut(one.controller)
        await until(lambda: not one.controller.mrfps())
        with pytest.raises(MrfpUnavailable):
            await one.controller.request("mrfp1", mp.ReleaseBfcpTermination(call.context, call.termination))
        await until(lambda: one.in_service() and not media.there)
        assert one.notified == []


async def test_an_mrfp_that_does_not_come_back_is_lost_after_the_grace() -> None:
    media = Media()
    async with mrfc(loss_grace=0.3) as one:
        async with mrfp(media, one.controller.port):
            await until(one.in_service)
            await one.controller.request("mrfp1", RESERVE)
            for link in list(one.controller._links):
                link._line = None  # a network that swallows everything
            cut(one.controller)
        assert one.lost in ([], ["mrfp1"])
        await until(lambda: one.lost == ["mrfp1"])


async def test_a_restarted_mrfp_has_lost_its_calls() -> None:
    async with mrfc() as one:
        settings = MpSettings(
            (("127.0.0.1", one.controller.port),), DeviceName("mrfp1"), timeout=60.0, first_pause=0.05
        )
        first = MpGateway(settings, Media(), Tracer("MRFP"))
        first.start()
        await until(one.in_service)
        await one.controller.request("mrfp1", RESERVE)
        async with mrfp(Media(), one.controller.port):  # the same name: Restart
            await until(lambda: one.lost == ["mrfp1"])
            await until(one.in_service)
            assert one.controller.mrfps()[0].terminations == 0
            assert first._task is not None
            first._task.cancel()


async def test_fail_over_to_the_next_mrfc_which_empties_the_mrfp() -> None:
    media = Media()
    async with (
        mrfc() as second,
        mrfc() as first,
        mrfp(media, first.controller.port, second.controller.port) as gateway,
    ):
        await until(first.in_service)
        await first.controller.request("mrfp1", RESERVE)
        assert not second.controller.mrfps()
        await first.controller.close()
        await until(second.in_service)
        await until(lambda: not media.there)
        assert gateway.registered


async def test_hand_over_to_another_mrfc() -> None:
    media = Media()
    async with mrfc() as one, mrfc() as two, mrfp(media, one.controller.port) as gateway:
        await until(one.in_service)
        target = DomainAddress("127.0.0.1", two.controller.port)
        change = mp.ServiceChange(
            mp.ServiceMethod.HANDOFF, ServiceChangeReason.MGC_DIRECTED_CHANGE, mgc=target
        )
        (link,) = one.controller._registered.values()
        link._ask(mp.service_change_actions(change), lambda reply: None)
        await until(two.in_service)
        assert gateway.registered
        assert not one.controller.mrfps()


async def test_forced_and_restart_by_the_mrfc() -> None:
    media = Media()
    async with mrfc() as one, mrfp(media, one.controller.port):
        await until(one.in_service)
        await one.controller.request("mrfp1", RESERVE)
        (link,) = one.controller._registered.values()
        for method in (mp.ServiceMethod.FORCED, mp.ServiceMethod.GRACEFUL):
            change = mp.ServiceChange(method, ServiceChangeReason.TERMINATION_OUT_OF_SERVICE)
            link._ask(mp.service_change_actions(change), lambda reply: None)
            with pytest.raises(MrfpRefused) as caught:
                await one.controller.request("mrfp1", RESERVE)
            assert caught.value.code == ErrorCode.SERVICE_UNAVAILABLE
            assert not media.there
        change = mp.ServiceChange(mp.ServiceMethod.RESTART, ServiceChangeReason.SERVICE_RESTORED)
        link._ask(mp.service_change_actions(change), lambda reply: None)
        assert isinstance(await one.controller.request("mrfp1", RESERVE), mp.TerminationConfigured)


async def test_another_association_begins_in_service() -> None:
    async with mrfc() as one, mrfp(Media(), one.controller.port):
        await until(one.in_service)
        (link,) = one.controller._registered.values()
        change = mp.ServiceChange(mp.ServiceMethod.FORCED, ServiceChangeReason.TERMINATION_OUT_OF_SERVICE)
        link._ask(mp.service_change_actions(change), lambda reply: None)
        with pytest.raises(MrfpRefused):
            await one.controller.request("mrfp1", RESERVE)
        cut(one.controller)
        await until(lambda: not one.in_service())
        await until(one.in_service)
        assert isinstance(await one.controller.request("mrfp1", RESERVE), mp.TerminationConfigured)


async def test_a_graceful_stop_lets_calls_end() -> None:
    media = Media()
    async with mrfc() as one:
        settings = MpSettings((("127.0.0.1", one.controller.port),), DeviceName("mrfp1"), timeout=60.0)
        gateway = MpGateway(settings, media, Tracer("MRFP"), load=lambda: float(len(media.there)))
        gateway.start()
        await until(one.in_service)
        call = await one.controller.request("mrfp1", RESERVE)
        assert isinstance(call, mp.TerminationConfigured)
        stopping = asyncio.ensure_future(gateway.close(grace=60.0))
        await until(lambda: not one.in_service())
        with pytest.raises(MrfpUnavailable):
            one.controller.choose_mrfp()
        assert not stopping.done()
        await one.controller.request("mrfp1", mp.ReleaseBfcpTermination(call.context, call.termination))
        await asyncio.wait_for(stopping, 30)


async def test_congestion_is_told_and_spares_the_mrfp() -> None:
    load = 0.0
    async with mrfc() as one, mrfp(Media(), one.controller.port, load=lambda: load):
        await until(one.in_service)
        assert one.controller.choose_mrfp() == "mrfp1"
        load = 1.0
        await until(lambda: one.controller.mrfps()[0].reduction == 100)
        with pytest.raises(MrfpUnavailable):
            one.controller.choose_mrfp()
        load = 0.9
        await until(lambda: one.controller.mrfps()[0].reduction == 50)
        chosen = 0
        for _ in range(100):
            try:
                one.controller.choose_mrfp()
            except MrfpUnavailable:
                continue
            chosen += 1
        assert chosen == 50
        admitted = 0
        for _ in range(100):
            with contextlib.suppress(MrfpUnavailable):
                one.controller.admit("mrfp1")
                admitted += 1
        assert admitted == 50
        load = 0.1
        await until(lambda: one.controller.mrfps()[0].reduction == 0)


@dataclass
class RawMrfc:
    """An MRFC that does only what the test wants."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    deframer: tpkt.Deframer = field(default_factory=tpkt.Deframer)
    waiting: list[bytes] = field(default_factory=list)

    def send(self, *transactions: Transaction, mid: MId | None = None, version: int = 3) -> None:
        message = Message(version, mid or DeviceName("mgc"), transactions)
        self.writer.write(tpkt.frame(encode(message)))

    async def receive(self) -> Message:
        while not self.waiting:
            data = await asyncio.wait_for(self.reader.read(65536), 30)
            assert data, "closed"
            self.waiting = self.deframer.feed(data)
        return decode(self.waiting.pop(0))

    async def request(self) -> TransactionRequest:
        (item,) = (await self.receive()).transactions
        assert isinstance(item, TransactionRequest)
        return item

    async def reply(self) -> TransactionReply:
        (item,) = (await self.receive()).transactions
        assert isinstance(item, TransactionReply)
        return item

    def accept(self, request: TransactionRequest, version: int = 3) -> None:
        accepted = mp.service_change_reply_action(mp.ServiceChangeAccepted(version))
        self.send(TransactionReply(request.transaction_id, (accepted,)), version=1)


@asynccontextmanager
async def raw_mrfc(media: Media, timeout: float = 60.0) -> AsyncIterator[tuple[RawMrfc, MpGateway]]:
    arrivals: asyncio.Queue[RawMrfc] = asyncio.Queue()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrivals.put_nowait(RawMrfc(reader, writer))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    async with mrfp(media, server.sockets[0].getsockname()[1], timeout=timeout) as gateway:
        yield await asyncio.wait_for(arrivals.get(), 30), gateway
    server.close()


AUDIT = Action(NULL_CONTEXT, (Command(CommandKind.AUDIT_VALUE, (ROOT,), (AuditDescriptor(),)),))


async def test_an_older_version_is_tried_after_406() -> None:
    async with raw_mrfc(Media()) as (mrfc_, gateway):
        for expected in (3, 2):
            request = await mrfc_.request()
            change = mp.parse_service_change(request.actions[0], request.actions[0].commands[0])
            assert change.version == expected
            refused = ErrorDescriptor(406, "Version not supported")
            mrfc_.send(TransactionReply(request.transaction_id, error=refused), version=1)
        request = await mrfc_.request()
        mrfc_.accept(request, 1)
        await until(lambda: gateway.registered)
        mrfc_.send(TransactionRequest(5, (AUDIT,)), version=1)
        assert (await mrfc_.receive()).version == 1


async def test_a_second_controller_is_refused() -> None:
    """Who registered us commands us; another name on the same line does not."""
    media = Media()
    async with raw_mrfc(media) as (mrfc_, _):
        mrfc_.accept(await mrfc_.request())
        everything = mp.request_actions(mp.ReleaseBfcpTermination(ALL_CONTEXTS))
        mrfc_.send(TransactionRequest(5, everything), mid=DeviceName("usurper"))
        refused = await mrfc_.reply()
        assert refused.error is not None
        assert refused.error.code == ErrorCode.UNAUTHORIZED_ENTITY
        mrfc_.send(TransactionRequest(6, (AUDIT,)))
        assert (await mrfc_.reply()).error is None


async def test_an_mrfc_that_does_not_answer_the_sign_of_life_is_left() -> None:
    async with raw_mrfc(Media(), timeout=1.0) as (mrfc_, gateway):
        mrfc_.accept(await mrfc_.request())
        watch = mp.watch_actions(mp.WatchMrfp(inactivity=0.3, request_id=9))
        mrfc_.send(TransactionRequest(5, watch))
        await mrfc_.reply()
        sign = await mrfc_.request()
        assert mp.parse_root_notify(sign.actions[0].commands[0]) == (mp.MrfcInactivity(9),)
        await until(lambda: not gateway.registered)


async def test_an_mrfc_that_does_not_read_is_left() -> None:
    """What the kernel holds for it has an end, and what waits here has one."""
    async with raw_mrfc(Media()) as (mrfc_, gateway):
        mrfc_.accept(await mrfc_.request())
        await until(lambda: gateway.registered)
        told = 0
        while gateway.registered:
            gateway.notify(mp.BearerReleased(1, "bfcp/1", "x" * 30000))
            await asyncio.sleep(0)
            told += 1
            assert told < 3000


async def test_a_thousand_commands_are_answered_in_one_reply_and_others_are_served_meanwhile() -> None:
    async with raw_mrfc(Media()) as (mrfc_, _):
        mrfc_.accept(await mrfc_.request())
        commands = AUDIT.commands * 1000
        mrfc_.send(TransactionRequest(5, (Action(NULL_CONTEXT, commands),)))
        reply = await mrfc_.reply()
        assert sum(len(action.commands) for action in reply.actions) == 1000


async def test_more_than_can_wait_is_refused_with_511() -> None:
    media = Media()
    settings_limit = 1024
    async with raw_mrfc(media) as (mrfc_, _):
        mrfc_.accept(await mrfc_.request())
        flood = [TransactionRequest(number + 10, (AUDIT,)) for number in range(settings_limit + 50)]
        mrfc_.send(*flood)
        codes = [(await mrfc_.reply()).error for _ in flood]
        refused = [error for error in codes if error is not None]
        assert len(refused) == 50
        assert {error.code for error in refused} == {ErrorCode.TEMPORARILY_BUSY}


async def test_replies_to_nothing_are_not_answered() -> None:
    async with raw_mrfc(Media()) as (mrfc_, _):
        mrfc_.accept(await mrfc_.request())
        mrfc_.send(TransactionReply(77, (Action(5),)), TransactionReply(78, error=ErrorDescriptor(400)))
        mrfc_.send(TransactionRequest(5, (AUDIT,)))
        assert (await mrfc_.reply()).transaction_id == 5
