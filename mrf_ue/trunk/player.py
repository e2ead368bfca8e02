"""Plays scenarios of the trunk test on a SIP endpoint: carries out their actions, tells them what came."""

import asyncio
import secrets
import time

from aiosipua import SipMessage, SipRequest, SipResponse

from mrf_ops.trace import ListSink, Tracer
from mrf_protocols import mikey, sdp
from mrf_ue.errors import KmsFailed
from mrf_ue.keys import get_ticket, start_transfer
from mrf_ue.options import KeySettings
from mrf_ue.sip import SipEndpoint, SipSettings
from mrf_ue.sip_call import Callee
from mrf_ue.sip_trace import message_name
from mrf_ue.sip_transactions import ClientTransaction, cseq_method
from mrf_ue.sip_transport import Address
from mrf_ue.trunk.actions import (
    Action,
    Closed,
    Done,
    Emit,
    Event,
    GetKeys,
    Keys,
    Message,
    NoKeys,
    Octets,
    Play,
    Pong,
    Quiet,
    Received,
    Transact,
    Wait,
)
from mrf_ue.trunk.cases import Case, play
from mrf_ue.trunk.setting import Knowledge, Setting
from mrf_ue.trunk.stage import Stage
from mrf_ue.trunk.verdict import CaseResult, Repeats

UE, TRUNK = "UE", "TRUNK"


class Player:
    """One endpoint for one case; what comes for any of its Call-IDs goes to the scenario."""

    def __init__(self, target: str, sip: SipSettings, keys: KeySettings | None) -> None:
        self.sink = ListSink()
        self.tracer = Tracer(UE, self.sink)
        self.endpoint = SipEndpoint(sip, self.tracer)
        self._target = target
        self._keys = keys
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[Received | Pong | Closed] = asyncio.Queue()
        self._transactions: dict[tuple[str, str], ClientTransaction] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._seen: dict[tuple[str, bytes], list[float]] = {}

    async def open(self) -> None:
        """Start the transport towards the target. Raises SipRefused."""
        self.endpoint.on_invite = self._invited
        self.endpoint.on_keep_alive = lambda: self._inbox.put_nowait(Pong(self._loop.time()))
        self.endpoint.on_lost = lambda reason: self._inbox.put_nowait(Closed(self._loop.time(), reason))
        await self.endpoint.open(self._target)

    async def close(self) -> None:
        """Stop the transport."""
        if self._timer is not None:
            self._timer.cancel()
        await self.endpoint.close()

    async def run(self, case: Case, setting: Setting, knowledge: Knowledge) -> CaseResult:
        """Play a case from its first message to its last."""
        stage = Stage(setting, knowledge, lambda: secrets.token_hex(8), self._loop.time())
        began = time.monotonic()
        await self.carry_out(play(case, stage))
        events = tuple(self.sink.events)
        return CaseResult(
            case.name,
            case.title,
            tuple(stage.findings),
            round(time.monotonic() - began, 3),
            stage.times,
            self.repeats(),
            events,
        )

    def repeats(self) -> tuple[Repeats, ...]:
        """Messages that were sent or came more than once, octet for octet."""
        return tuple(
            Repeats(
                kind, message_name(SipMessage.parse(octets)), tuple(round(at - seen[0], 1) for at in seen[1:])
            )
            for (kind, octets), seen in self._seen.items()
            if len(seen) > 1
        )

    def _count(self, kind: str, message: Message) -> None:
        self._seen.setdefault((kind, bytes(message)), []).append(self._loop.time() * 1000)

    def _send(self, message: Message) -> None:
        self._count("sent", message)
        self.endpoint.send(message)

    async def carry_out(self, scenario: Play[None]) -> None:
        """Do what a scenario wants until it has ended."""
        try:
            action = next(scenario)
            while True:
                action = scenario.send(await self._do(action))
        except StopIteration:
            return

    # --- what the endpoint brings

    def receive(self, message: SipRequest | SipResponse) -> None:
        """A message of one of the case's Call-IDs; the transactions see responses first."""
        now = self._loop.time()
        self._count("received", message)
        if isinstance(message, SipResponse) and message.via:
            transaction = self._transactions.get((message.via[0].branch or "", cseq_method(message)))
            if transaction is not None:
                for request in transaction.receive(message, now).send:
                    self._send(request)
                self._rearm()
        self._inbox.put_nowait(Received(now, message))

    def _invited(self, invite: SipRequest, _: Address) -> "Player":
        self._inbox.put_nowait(Received(self._loop.time(), invite))
        return self

    # --- what the scenario wants

    async def _do(self, action: Action) -> Event:
        match action:
            case Transact(request):
                self.endpoint.attach(request.call_id or "", self)
                transaction = ClientTransaction(request, reliable=self.endpoint.reliable)
                self._transactions[transaction.key] = transaction
                for message in transaction.start(self._loop.time()).send:
                    self._send(message)
                self._rearm()
            case Emit(message):
                self.endpoint.attach(message.call_id or "", self)
                self._send(message)
            case Octets(data):
                self.endpoint.send_octets(data)
            case GetKeys():
                return await self._get_keys()
            case Wait(seconds):
                return await self._wait(seconds)
        return Done(self._loop.time())

    async def _wait(self, seconds: float) -> Event:
        try:
            async with asyncio.timeout(seconds):
                return await self._inbox.get()
        except TimeoutError:
            return Quiet(self._loop.time())

    async def _get_keys(self) -> Event:
        if self._keys is None:
            return NoKeys(self._loop.time(), "no key is given")
        initiator = mikey.kms_user_identity(self.endpoint.end.identity)
        responder = mikey.kms_user_identity(Callee(self._target).address)
        try:
            ticket = await get_ticket(self._keys, initiator, responder, "trunk-test", Tracer(UE))
            transfer = start_transfer(ticket, initiator, responder)
        except KmsFailed as error:
            return NoKeys(self._loop.time(), str(error))
        return Keys(self._loop.time(), (sdp.KeyMgmt(sdp.MIKEY, transfer.init()),))

    # --- timers of the transactions

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadlines = [each.next_deadline() for each in self._transactions.values()]
        soonest = min((at for at in deadlines if at is not None), default=None)
        self._timer = None if soonest is None else self._loop.call_at(soonest, self._tick)

    def _tick(self) -> None:
        for transaction in list(self._transactions.values()):
            for request in transaction.tick(self._loop.time()).send:
                self._send(request)
        self._rearm()
