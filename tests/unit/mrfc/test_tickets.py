"""Tickets of the MRFC as Initiator and Responder: fail-over with a new message, reuse, kinds and policies."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mikey_pair import KMS, Pair

from mrf_kms.client import KmsUnavailable
from mrf_ops.config import Secret
from mrf_ops.metrics import Metrics
from mrf_ops.trace import NullSink, Tracer
from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    SUITE_256,
    Acceptance,
    GrantedTicket,
    KeyType,
    KmsRules,
    PolicyFlag,
    TicketKey,
    TransferInitiator,
    TransferResponder,
    decode,
    issue_ticket,
    make_ticket,
    resolve_ticket,
)
from mrf_protocols.mikey.policy import Ticket
from mrfc.config import DialOut, Kms, Mikey, SharedKey
from mrfc.keys.replay import ReplayCache
from mrfc.keys.resolver import Resolver
from mrfc.keys.tickets import Tickets
from mrfc.measures import Measures
from mrfc.sip.refusal import Refusal

F = PolicyFlag
ALICE, ROOM = "sip:alice@home.example", "sip:room@conf.example"


@dataclass
class MemoryKms:
    """A KMS in memory; the first `failures` messages come to an instance that is silent."""

    pair: Pair = field(default_factory=Pair)
    failures: int = 0
    ask_again: bool = True
    asked: list[bytes] = field(default_factory=list)

    def _note(self, body: bytes) -> None:
        self.asked.append(body)
        if len(self.asked) <= self.failures:
            raise KmsUnavailable("no answer", ask_again=self.ask_again)

    async def ticket_request(self, body: bytes, correlation: str) -> bytes:
        self._note(body)
        pair = self.pair
        return issue_ticket(
            body,
            rules=KmsRules(KMS),
            find_credential=pair.credential,
            ticket_key=pair.tpk,
            rand=pair.rand,
            now=time.time(),
        ).response

    async def ticket_resolve(self, body: bytes, correlation: str) -> bytes:
        self._note(body)
        pair = self.pair
        return resolve_ticket(
            body,
            rules=KmsRules(KMS),
            find_credential=pair.credential,
            find_ticket_key=pair.ticket_key,
            rand=pair.rand,
            now=time.time(),
        ).response

    def account(self) -> Kms:
        return Kms("http://x", KMS, "mrfc-psk", Secret(self.pair.mrfc.psk.hex().encode()))

    def tickets(self, mikey: Mikey | None = None, **settings: object) -> Tickets:
        chosen = DialOut(**settings)  # type: ignore[arg-type] # fields by name
        return Tickets(
            self, self.account(), mikey or Mikey(), chosen, Tracer("MRFC", NullSink()), self.pair.rand
        )

    def resolver(self, **settings: object) -> Resolver:
        mikey = Mikey(**settings)  # type: ignore[arg-type] # fields by name
        return Resolver(
            self,
            self.account(),
            Acceptance(),
            ReplayCache(120.0),
            Tracer("MRFC", NullSink()),
            Measures(Metrics("mrfc")),
            self.pair.rand,
            mikey,
        )

    def offered(self, flags: F = DEFAULT_FLAGS, key: TicketKey | None = None) -> TransferInitiator:
        own = key or TicketKey("alice-psk", self.pair.user.psk)
        ticket = make_ticket(
            tpk=own.key,
            tpk_id=own.identifier,
            initiator=ALICE,
            kms=KMS,
            responders=[ROOM],
            rand=self.pair.rand,
            now=time.time(),
            flags=flags,
        )
        return TransferInitiator(ticket, ALICE, ROOM, csb_id=5, rand=self.pair.rand, now=time.time())


def responder(offer: TransferInitiator) -> TransferResponder:
    return TransferResponder(offer.init(), time.time())


async def test_a_silent_instance_is_no_reason_not_to_ask_another_with_a_new_message() -> None:
    kms = MemoryKms(failures=1)
    transfer = responder(kms.offered())
    await kms.resolver().resolve(transfer, "c")
    assert len(kms.asked) == 2
    assert kms.asked[0][4:8] != kms.asked[1][4:8], "a CSB ID of its own"
    assert transfer.respond(kms.pair.rand, time.time()).tek
    kms = MemoryKms(failures=1)
    assert await kms.tickets().transfer(ROOM, ALICE, "c")
    assert len(set(kms.asked)) == 2


@pytest.mark.parametrize(("failures", "ask_again", "asked"), [(1, False, 1), (2, True, 2)])
async def test_otherwise_the_call_is_refused(failures: int, ask_again: bool, asked: int) -> None:
    kms = MemoryKms(failures=failures, ask_again=ask_again)
    with pytest.raises(Refusal, match="503"):
        await kms.resolver().resolve(responder(kms.offered()), "c")
    assert len(kms.asked) == asked
    kms.asked.clear()
    with pytest.raises(Refusal, match="503"):
        await kms.tickets().transfer(ROOM, ALICE, "c")
    assert len(kms.asked) == asked


def with_the_same_ticket(kms: MemoryKms, first: TransferInitiator) -> TransferInitiator:
    """Another TRANSFER_INIT."""
    ticket = GrantedTicket(decode(first.init()).need(Ticket), first._keys)
    return TransferInitiator(ticket, ALICE, ROOM, csb_id=6, rand=kms.pair.rand, now=time.time())


async def test_a_ticket_without_j_is_used_once_whoever_opens_it() -> None:
    kms = MemoryKms()
    entry = SharedKey("gate", Secret(bytes(range(64, 96)).hex().encode()), [ALICE])
    resolver = kms.resolver(reuse_tickets=True, shared_key=[entry])
    for offer in (
        kms.offered(DEFAULT_FLAGS),
        kms.offered(DEFAULT_FLAGS & ~F.E, TicketKey("gate", bytes(range(64, 96)))),
    ):
        await resolver.resolve(responder(offer), "c")
        with pytest.raises(Refusal, match="only once") as caught:
            await resolver.resolve(responder(with_the_same_ticket(kms, offer)), "c")
        assert caught.value.mikey_error == 15


@pytest.mark.parametrize(("reuse", "asked"), [(True, 1), (False, 2)])
async def test_a_ticket_is_resolved_again_unless_both_allow_reuse(reuse: bool, asked: int) -> None:
    kms = MemoryKms()
    resolver = kms.resolver(reuse_tickets=reuse)
    first = kms.offered(DEFAULT_FLAGS | F.J)
    await resolver.resolve(responder(first), "c")
    second = with_the_same_ticket(kms, first)
    again = responder(second)
    await resolver.resolve(again, "c")
    assert len(kms.asked) == asked
    result = again.respond(kms.pair.rand, time.time())
    assert second.response(result.message, time.time()).tek == result.tek
    replayed = responder(second)
    with pytest.raises(Refusal, match="488"):
        await resolver.resolve(replayed, "c")


async def test_a_shared_key_opens_tickets_of_its_peers_only() -> None:
    kms, shared = MemoryKms(), bytes(range(64, 96))
    entry = SharedKey("gate", Secret(shared.hex().encode()), [ALICE])
    offer = kms.offered(DEFAULT_FLAGS & ~F.E, TicketKey("gate", shared))
    await kms.resolver(shared_key=[entry]).resolve(responder(offer), "c")
    assert not kms.asked
    other = SharedKey("gate", Secret(shared.hex().encode()), ["sip:bob@home.example"])
    with pytest.raises(Refusal, match="name of another"):
        await kms.resolver(shared_key=[other]).resolve(responder(offer), "c")
    with pytest.raises(Refusal):
        await kms.resolver().resolve(responder(offer), "c")
    assert len(kms.asked) == 1, "a key that is not known here is the KMS's business"


async def test_what_is_asked_for_is_configured() -> None:
    kms = MemoryKms()
    tickets = kms.tickets(suite="256", key_forking=True, session_key="TEK", ticket="self-made")
    offer = await tickets.transfer(ROOM, ALICE, "c")
    transfer = responder(offer)
    assert F.I in transfer.policy.flags
    assert transfer.policy.prf == SUITE_256.prf_func
    assert [key.type for key in offer._keys.session] == [KeyType.TEK]
    shared = SharedKey("gate", Secret(bytes(range(64, 96)).hex().encode()), [ALICE])
    offer = await kms.tickets(Mikey(shared_key=[shared])).transfer(ROOM, ALICE, "c")
    transfer = responder(offer)
    assert F.E not in transfer.policy.flags
    assert transfer.ticket_key_name == "gate"
    assert not kms.asked


def test_a_file_for_replays_is_configured_by_path(tmp_path: Path) -> None:
    assert Mikey(replay_file=tmp_path / "replay").replay_file is not None
    with pytest.raises(ValueError, match="twice"):
        Mikey(shared_key=[SharedKey("a", Secret(b"00"), []), SharedKey("a", Secret(b"00"), [])])
    with pytest.raises(ValueError, match="at least one"):
        Kms([], KMS, "mrfc", Secret(b"00"))
