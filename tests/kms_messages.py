"""A KMS in memory with two users, and the messages that they send it."""

import os

from certificates import NOW

from mrf_kms.image import Image, StoredTicketKey, User
from mrf_kms.rates import RateLimiter
from mrf_kms.service import KmsService, Outcome, RequestType, Settings
from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    Credential,
    GrantedTicket,
    PolicyFlag,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    make_ticket,
    read_error,
)

F = PolicyFlag
ALICE, ROOM, KMS = "sip:alice@home.example", "sip:room@conf.example", "kms.home.example"
PSK_A, PSK_M = bytes(range(32)), bytes(range(32, 64))
ALICE_USER = User(Credential("alice", PSK_A, (ALICE,)))
MRFC_USER = User(Credential("mrfc", PSK_M, ("sip:*@conf.example",)))
TICKET_KEYS = (StoredTicketKey("kms-key-1", bytes(32), 0.0, None),)
IMAGE = Image.of((ALICE_USER, MRFC_USER), TICKET_KEYS)
REQUEST, RESOLVE = RequestType.TICKET_REQUEST, RequestType.TICKET_RESOLVE


def service(limiter: RateLimiter | None = None, **settings: object) -> KmsService:
    return KmsService(
        Settings(KMS, **settings),  # type: ignore[arg-type] # fields by name
        limiter or RateLimiter(1e6, 1e6),
        os.urandom,
    )


def exchange(**changes: object) -> TicketRequestExchange:
    arguments: dict[str, object] = {
        "psk": PSK_A,
        "psk_id": "alice",
        "initiator": ALICE,
        "kms": KMS,
        "responders": [ROOM],
        "csb_id": 0xABCD,
        "rand": os.urandom,
        "now": NOW,
        "lifetime": 3600.0,
    }
    return TicketRequestExchange(**(arguments | changes))  # type: ignore[arg-type] # arguments by name


def transfer(made: bool = False, image: Image = IMAGE, flags: F = DEFAULT_FLAGS) -> TransferResponder:
    if made:
        return self_made(flags=flags)
    asked = exchange(flags=flags)
    return offered(asked.response(service().handle(REQUEST, asked.request(), image, NOW).body, NOW))


def self_made(now: float = NOW, **more: object) -> TransferResponder:
    """A transfer with a ticket that its user has made, then."""
    ticket = make_ticket(
        tpk=PSK_A,
        tpk_id="alice",
        initiator=ALICE,
        kms=KMS,
        responders=[ROOM],
        rand=os.urandom,
        now=now,
        **more,  # type: ignore[arg-type] # arguments by name
    )
    return offered(ticket)


def offered(ticket: GrantedTicket) -> TransferResponder:
    offer = TransferInitiator(ticket, ALICE, ROOM, csb_id=1, rand=os.urandom, now=NOW)
    return TransferResponder(offer.init(), NOW)


def resolution(transfer: TransferResponder) -> bytes:
    return transfer.resolve_init(psk=PSK_M, psk_id="mrfc", identity=ROOM, kms=KMS, rand=os.urandom, now=NOW)


def resolve_init(made: bool = False, image: Image = IMAGE) -> bytes:
    return resolution(transfer(made, image))


def status(outcome: Outcome) -> tuple[int, int | None]:
    return outcome.status, read_error(outcome.body)
