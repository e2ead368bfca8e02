"""A focus in memory, for unit tests: real procedures and real MIKEY, doubles for Kamailio and the MRFP."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrf_kms.client import KmsRefused, KmsUnavailable
from mrf_ops.metrics import Metrics
from mrf_ops.trace import ListSink, Tracer
from mrf_protocols import sdp
from mrf_protocols.h248.mp import (
    Acknowledgement,
    ConfigureBfcpTermination,
    ConfigureConference,
    ConfigureReservedBfcpTermination,
    ConfirmMediaUpdate,
    ContextConfigured,
    DesignateFloorChair,
    FloorRequestDecision,
    NotifyIndication,
    Procedure,
    ReleaseBfcpTermination,
    ReserveBfcpTermination,
    TerminationConfigured,
    TerminationReleased,
)
from mrf_protocols.h248.values import CHOOSE_CONTEXT
from mrf_protocols.mikey import (
    Acceptance,
    Credential,
    GrantedTicket,
    KmsRules,
    MikeyError,
    TicketKey,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    error_message,
    issue_ticket,
    kms_user_identity,
    resolve_ticket,
)
from mrfc import config, jobs
from mrfc.calls.calls import Calls
from mrfc.calls.dial_out import DialOuts
from mrfc.composition import Outside, assemble
from mrfc.floors.media_hook import MediaHook
from mrfc.focus import Focus
from mrfc.keys.replay import ReplayCache
from mrfc.measures import Measures
from mrfc.mp.bearer import Bearers
from mrfc.mp.controller import MrfpRefused, MrfpTimeout, MrfpUnavailable
from mrfc.sip.port import OutgoingRequest, Response
from mrfc.state.store import Call, Store

ALICE = "sip:alice@ue.example"
BOB = "sip:bob@ue.example"
MEETING = "sip:meeting@conf.example"
KMS = "kms.example"
MRFP = "mrfp"
MRFC_PSK = bytes(range(16))


class FakeSip:
    """Kamailio as the focus sees it. `gone`: transactions that cannot be answered any more."""

    def __init__(self) -> None:
        self.answers: dict[jobs.TransactionId, Response] = {}
        self.provisionals: list[Response] = []
        self.requests: list[OutgoingRequest] = []
        self.cancels: list[tuple[str, int]] = []
        self.reasons: list[int] = []
        self.published: list[str] = []
        self.gone: set[jobs.TransactionId] = set()
        self.reachable = True
        self.transaction_ended = False  # what a CANCEL finds

    def answer(self, transaction: jobs.TransactionId, response: Response) -> bool:
        if transaction in self.gone or transaction in self.answers:
            return False
        self.answers[transaction] = response
        return True

    def provisional(self, transaction: jobs.TransactionId, response: Response) -> bool:
        if transaction in self.gone or transaction in self.answers:
            return False
        self.provisionals.append(response)
        return True

    def send(self, request: OutgoingRequest) -> bool:
        if self.reachable:
            self.requests.append(request)
        return self.reachable

    def cancel(self, call_id: str, cseq: int, status: int) -> bool:
        if self.transaction_ended:
            return False
        self.cancels.append((call_id, cseq))
        self.reasons.append(status)
        return True

    def publish(self, event: str) -> bool:
        self.published.append(event)
        return True

    def renewed(self) -> None:
        """Nobody counts here."""

    def counted(self, trunk: str, result: str) -> int:
        return 0

    def sent(self, method: str) -> list[OutgoingRequest]:
        """Requests of one method, oldest first."""
        return [request for request in self.requests if request.method == method]


class FakeMrfp:
    """An MRFP that keeps book of contexts and terminations. `hold` makes it wait, `fail` makes it refuse."""

    def __init__(self) -> None:
        self.contexts: dict[int, set[str]] = {}
        self.configured: dict[str, ConfigureReservedBfcpTermination] = {}
        self.procedures: list[Procedure] = []
        self.in_service = True
        self.congested = False
        self.hold: asyncio.Event | None = None
        self.fail: Callable[[Procedure], Exception | None] = lambda procedure: None
        self._numbers = itertools.count(1)
        self._life = 1

    def choose_mrfp(self, without: Collection[str] = ()) -> str:
        if not self.in_service or MRFP in without:
            raise MrfpUnavailable("no MRFP is in service")
        return MRFP

    def has_mrfp(self) -> bool:
        return self.in_service

    def admit(self, mrfp: str) -> None:
        if self.congested:
            raise MrfpUnavailable(f"{mrfp} is congested")

    async def request(self, mrfp: str, procedure: Procedure) -> Acknowledgement:
        await self.reached(procedure)
        match procedure:
            case ConfigureBfcpTermination() | ReserveBfcpTermination():
                return self._add(procedure)
            case ConfigureReservedBfcpTermination():
                if procedure.termination not in self.contexts.get(procedure.context, set()):
                    raise MrfpRefused(430, "Unknown TerminationID")
                self.configured[procedure.termination] = procedure
                return TerminationConfigured(procedure.context, procedure.termination)
            case ReleaseBfcpTermination():
                self.contexts[procedure.context].remove(procedure.termination)
                if not self.contexts[procedure.context]:
                    del self.contexts[procedure.context]
                return TerminationReleased(procedure.context, procedure.termination)
            case ConfigureConference():
                if procedure.context not in self.contexts:
                    raise MrfpRefused(411, "The transaction refers to an unknown ContextId")
                return ContextConfigured(procedure.context)
            case DesignateFloorChair() | FloorRequestDecision() | ConfirmMediaUpdate():
                if procedure.termination not in self.contexts.get(procedure.context, set()):
                    raise MrfpRefused(430, "Unknown TerminationID")
                return TerminationConfigured(procedure.context, procedure.termination)
        raise AssertionError(f"the focus asked for {procedure}")

    async def reached(self, procedure: Procedure) -> None:
        """A procedure is on its way to the MRFP, and perhaps does not get there. Raises what becomes of it."""
        self.procedures.append(procedure)
        life = self._life
        await asyncio.sleep(0)
        if self.hold is not None:
            await self.hold.wait()
        if life != self._life:
            raise MrfpUnavailable("the association ended")
        if (error := self.fail(procedure)) is not None:
            raise error

    def _add(self, procedure: ConfigureBfcpTermination | ReserveBfcpTermination) -> TerminationConfigured:
        context = next(self._numbers) if procedure.context == CHOOSE_CONTEXT else procedure.context
        assert procedure.conference is not None or procedure.context != CHOOSE_CONTEXT
        if context not in self.contexts and procedure.context != CHOOSE_CONTEXT:
            raise MrfpRefused(411, "The transaction refers to an unknown ContextId")
        termination = f"bfcp/{next(self._numbers)}"
        self.contexts.setdefault(context, set()).add(termination)
        return TerminationConfigured(context, termination, ("192.0.2.9", 20_000))

    def lose_everything(self) -> None:
        """It restarts; requests under way are not answered."""
        self.contexts.clear()
        self._life += 1


class MemoryKms:
    """The KMS's real work without HTTP. `down` and `refusing` make it fail; `hold` makes it wait."""

    def __init__(self) -> None:
        self.credentials = {
            "mrfc": Credential("mrfc", MRFC_PSK, ("sip:*@conf.example",)),
            "alice": Credential("alice", os.urandom(16), (ALICE,)),
            "bob": Credential("bob", os.urandom(16), (BOB,)),
        }
        self._key = TicketKey("ticket-key", os.urandom(16))
        self._rules = KmsRules(KMS)
        self.down = False
        self.hold: asyncio.Event | None = None

    def _find(self, psk_id: str | None, identity: str | None) -> Credential | None:
        return self.credentials.get(psk_id or "")

    def _find_key(self, identifier: str | None) -> TicketKey | None:
        if identifier == self._key.identifier:
            return self._key
        owner = self.credentials.get(identifier or "")
        return None if owner is None else TicketKey(owner.psk_id, owner.psk, owner.identities)

    async def ticket_request(self, body: bytes, correlation: str) -> bytes:
        return await self._serve(body, lambda: self.issue(body))

    async def ticket_resolve(self, body: bytes, correlation: str) -> bytes:
        return await self._serve(body, lambda: self.resolve(body))

    async def _serve(self, body: bytes, work: Callable[[], bytes]) -> bytes:
        await asyncio.sleep(0)
        if self.hold is not None:
            await self.hold.wait()
        if self.down:
            raise KmsUnavailable("connection refused")
        try:
            return work()
        except MikeyError as error:
            told = error_message(body, error.number, time.time(), protector=error.protector)
            raise KmsRefused(403, error.number, told) from error

    def issue(self, body: bytes) -> bytes:
        """REQUEST_INIT to REQUEST_RESP."""
        issued = issue_ticket(
            body,
            rules=self._rules,
            find_credential=self._find,
            ticket_key=self._key,
            rand=os.urandom,
            now=time.time(),
        )
        return issued.response

    def resolve(self, body: bytes) -> bytes:
        """RESOLVE_INIT to RESOLVE_RESP."""
        resolved = resolve_ticket(
            body,
            rules=self._rules,
            find_credential=self._find,
            find_ticket_key=self._find_key,
            rand=os.urandom,
            now=time.time(),
        )
        return resolved.response

    def ticket(self, user: str, initiator: str, responder: str) -> GrantedTicket:
        """A ticket that a user asked for."""
        exchange = TicketRequestExchange(
            psk=self.credentials[user].psk,
            psk_id=user,
            initiator=initiator,
            kms=KMS,
            responders=(responder,),
            csb_id=secrets.randbits(32),
            rand=os.urandom,
            now=time.time(),
        )
        return exchange.response(self.issue(exchange.request()), time.time())


@dataclass
class Caller:
    """A UE that dials in, as far as INVITE and its answer go."""

    kms: MemoryKms
    user: str = "alice"
    uri: str = ALICE
    callee: str = MEETING
    number: int = field(default_factory=itertools.count(1).__next__)

    def __post_init__(self) -> None:
        self.ticket = self.kms.ticket(self.user, self.uri, self.callee)
        self.transfer = TransferInitiator(
            self.ticket,
            self.uri,
            self.callee,
            csb_id=secrets.randbits(32),
            rand=os.urandom,
            now=time.time(),
        )
        self.dialog = jobs.DialogId(f"call-{self.number}", f"local-{self.number}", f"remote-{self.number}")
        self.transaction = jobs.TransactionId(self.number, 7)

    def offer(self) -> str:
        """The offer of this UE."""
        media = sdp.ClientMedia(
            sdp.Address("192.0.2.1", 5000), (sdp.KeyMgmt(sdp.MIKEY, self.transfer.init()),)
        )
        return sdp.serialize(sdp.offer_bfcp(sdp.Origin.of("192.0.2.1", 1), media))

    def invite(self, body: str | None = None, **changes: Any) -> jobs.InviteJob:
        """The INVITE as a worker posts it."""
        values: dict[str, Any] = {
            "transaction": self.transaction,
            "dialog": self.dialog,
            "cseq": 1,
            "request_uri": self.callee,
            "from_uri": self.uri,
            "to_uri": self.callee,
            "contact_uri": "sip:alice@192.0.2.1",
            "record_route": (),
            "content_type": "application/sdp",
            "body": self.offer() if body is None else body,
            "in_dialog": False,
            "require": "",
        }
        return jobs.InviteJob(**(values | changes))

    def ack(self, body: str = "") -> jobs.AckJob:
        """The ACK of the 200."""
        return jobs.AckJob(self.dialog, 1, "application/sdp" if body else "", body)

    def bye(self) -> jobs.ByeJob:
        """The BYE that ends it."""
        return jobs.ByeJob(jobs.TransactionId(self.number, 8), self.dialog, 1000)


class Callee:
    """A UE that is called: makes answers to the offers of the focus."""

    def __init__(self, kms: MemoryKms, user: str = "bob", uri: str = BOB) -> None:
        self._kms = kms
        self._user = user
        self._uri = uri
        self.tek = b""

    def answer(self, offer: str, setup: sdp.Setup = sdp.Setup.ACTIVE, spoil: bool = False) -> str:
        """The answer to an offer; `spoil` changes one bit of the TRANSFER_RESP."""
        description = sdp.parse(offer)
        policy = sdp.AnswerPolicy(role=sdp.FloorControlRole.C_ONLY, setup=setup)
        agreed = sdp.evaluate_offer(description, policy)
        assert agreed.key_mgmt is not None
        assert agreed.tls_client is sdp.Party.OFFERER
        transfer = TransferResponder(agreed.key_mgmt.data, time.time(), Acceptance())
        resolve = transfer.resolve_init(
            psk=self._kms.credentials[self._user].psk,
            psk_id=self._user,
            identity=kms_user_identity(self._uri),
            kms=KMS,
            rand=os.urandom,
            now=time.time(),
        )
        transfer.resolved(self._kms.resolve(resolve), time.time())
        result = transfer.respond(os.urandom, time.time())
        self.tek = result.tek
        message = result.message[:-1] + bytes([result.message[-1] ^ spoil])
        media = sdp.ClientMedia(sdp.Address("192.0.2.2", 6000), (sdp.KeyMgmt(sdp.MIKEY, message),))
        return sdp.serialize(sdp.answer_bfcp(description, agreed, media, sdp.Origin.of("192.0.2.2", 1)))


def within(
    dialog: jobs.DialogId, method: str, cseq: int, body: str = "", **changes: Any
) -> jobs.InviteJob | jobs.DialogRequestJob:
    """A request of a peer within its dialog, as a worker posts it."""
    values: dict[str, Any] = {
        "transaction": jobs.TransactionId(cseq, 1000),
        "dialog": dialog,
        "cseq": cseq,
        "request_uri": "sip:meeting@192.0.2.7",
        "from_uri": ALICE,
        "to_uri": MEETING,
        "contact_uri": "sip:alice@192.0.2.1",
        "record_route": (),
        "content_type": "application/sdp" if body else "",
        "body": body,
        "in_dialog": True,
        "require": "",
        **changes,
    }
    return jobs.InviteJob(**values) if method == "INVITE" else jobs.DialogRequestJob(**values, method=method)


def header(request: OutgoingRequest, name: str) -> str:
    """The value of a header of a request that the focus sent."""
    return next(value for header_name, value in request.headers if header_name == name)


def response_to(
    invite: OutgoingRequest, status: int, tag: str = "bob-tag", body: str = ""
) -> jobs.ResponseJob:
    """A response to an INVITE of the focus, as a worker posts it."""
    local_tag = header(invite, "From").partition(";tag=")[2]
    return jobs.ResponseJob(
        jobs.DialogId(header(invite, "Call-ID"), local_tag, tag),
        "INVITE",
        1,
        status,
        "Reason",
        from_uri=MEETING,
        to_uri=BOB,
        contact_uri="sip:bob@192.0.2.2",
        content_type="application/sdp" if body else "",
        body=body,
    )


Indication = Callable[[int, str, str], NotifyIndication]
"""Makes an indication of context, termination and reason: one of the classes of mrf_protocols.h248.mp."""


@dataclass
class World:
    """A focus and all its doubles."""

    config: config.MrfcConfig
    sip: FakeSip
    mrfp: FakeMrfp
    kms: MemoryKms
    store: Store
    bearers: Bearers
    calls: Calls
    focus: Focus
    dial_outs: DialOuts
    events: ListSink
    measures: Measures

    async def settle(self, seconds: float = 0.0) -> None:
        """Let everything run that can run without time passing, and after that so many seconds."""
        for _ in range(30):
            await asyncio.sleep(0)
        if seconds:
            await asyncio.sleep(seconds)
            await self.settle()

    async def join(self, caller: Caller, **changes: Any) -> Call:
        """Somebody dials in and acknowledges the 200; gives his call. `changes` are those of his INVITE."""
        self.focus.on_invite(caller.invite(**changes))
        await self.settle()
        response = self.sip.answers[caller.transaction]
        assert response.status == 200, response
        self.focus.on_ack(caller.ack())
        call = self.store.call(caller.dialog)
        assert call is not None
        return call

    def arrive(self, job: jobs.InviteJob | jobs.DialogRequestJob) -> None:
        """A worker posts a request."""
        if isinstance(job, jobs.InviteJob):
            self.focus.on_invite(job)
        else:
            self.focus.on_request(job)

    def tell(self, call: Call, kind: Indication, termination: str | None, reason: str = "why") -> None:
        """The call's MRFP tells something of one of its terminations."""
        place = self.bearers.place(call)
        assert place is not None
        assert termination is not None
        self.focus.on_indication(place[0], kind(place[1], termination, reason))

    def busy(self) -> dict[str, int]:
        """Everything that can be left behind; all zero at the end of every test."""
        return {
            "calls": len(self.store.calls()),
            "procedures": self.calls.running,
            "invites": len(self.calls.pending_invites()),
            "terminations": self.bearers.in_use,
            "releases": self.bearers.releasing,
            "waiting": self.dial_outs.waiting,
            "floors": self.focus.floors.running,
            "lost": self.focus.connections.lost,
            "rekeys": self.focus.rekeys.running,
            "changes": self.focus.in_dialog.running,
            "early": self.focus.early_requests.waiting,
            "mixer": self.focus.mixer.standing,
            "contexts": len(self.mrfp.contexts),
            "subscriptions": self.focus.notifier.subscriptions + self.focus.referrals.subscriptions,
            "seats": sum(len(conference.seats) for conference in self.store.conferences()),
        }


def make_world(
    folder: Path, hook: MediaHook | None = None, mrfp: FakeMrfp | None = None, **tables: Any
) -> World:
    """A focus with the conference "meeting" and a factory; `tables` change tables of its configuration."""
    settings = _configuration(folder, tables)
    sip, kms, events = FakeSip(), MemoryKms(), ListSink()
    mrfp = mrfp or FakeMrfp()
    store, measures, tracer = Store(), Measures(Metrics("mrfc")), Tracer("MRFC", events)
    bearers = Bearers(mrfp, store)
    outside = Outside(
        sip=sip,
        kms=kms,
        mp=mrfp,
        store=store,
        bearers=bearers,
        replay=ReplayCache(2 * settings.mikey.clock_skew),
        used_tickets=ReplayCache.of_tickets(None, 0.0),
        hook=hook,
        tracer=tracer,
        measures=measures,
        random=os.urandom,
    )
    focus = assemble(settings, outside)
    return World(
        settings, sip, mrfp, kms, store, bearers, focus.calls, focus, focus.dial_outs, events, measures
    )


def _configuration(folder: Path, tables: dict[str, Any]) -> config.MrfcConfig:
    secret = folder / "kms.psk"
    secret.write_text(MRFC_PSK.hex())
    secret.chmod(0o600)
    floors = [{"id": 1, "streams": ["10"]}]
    data: dict[str, Any] = {
        "sip": {
            "domain": "conf.example",
            "contact": "192.0.2.7:5060",
            "ack_timeout": 0.05,
            "reconnect_grace": 0.02,
        },
        "kms": {"url": "http://x", "identity": KMS, "psk_identity": "mrfc", "psk_file": "kms.psk"},
        "mp": {"port": 0},
        "conference": [{"user": "meeting", "id": 4321, "floors": floors}],
        "factory": {"user": "conf-factory", "floors": floors},
    }
    for name, table in tables.items():
        data[name] = {**data.get(name, {}), **table} if isinstance(table, dict) else table
    return config.parse(data, folder / "mrfc.toml")


__all__ = [
    "ALICE",
    "BOB",
    "MEETING",
    "MRFP",
    "Callee",
    "Caller",
    "MrfpRefused",
    "MrfpTimeout",
    "MrfpUnavailable",
    "World",
    "header",
    "make_world",
    "response_to",
    "within",
]
