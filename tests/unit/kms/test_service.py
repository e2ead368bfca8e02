"""What the KMS answers: grants, refusals and their HTTP status, replays."""

import os
from collections.abc import Callable

import pytest

from mrf_kms.replay import ReplayCache
from mrf_kms.service import KmsService, RequestType
from mrf_kms.store import Image, StoredTicketKey
from mrf_protocols.mikey import (
    Credential,
    ErrorNumber,
    KmsRules,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    make_ticket,
    read_error,
)

NOW = 1_800_000_000.0
ALICE, ROOM, KMS = "sip:alice@home.example", "sip:room@conf.example", "kms.home.example"
PSK_A, PSK_M = bytes(range(32)), bytes(range(32, 64))
IMAGE = Image(
    {
        "alice": Credential("alice", PSK_A, (ALICE,)),
        "mrfc": Credential("mrfc", PSK_M, ("sip:*@conf.example",)),
    },
    (StoredTicketKey("kms-key-1", bytes(32), 0.0, None),),
)


def service(self_made: bool = True, image: Callable[[], Image] = lambda: IMAGE) -> KmsService:
    return KmsService(
        rules=KmsRules(KMS), image=image, replay=ReplayCache(120.0), rand=os.urandom, self_made=self_made
    )


def exchange(psk: bytes = PSK_A, psk_id: str = "alice", initiator: str = ALICE) -> TicketRequestExchange:
    return TicketRequestExchange(
        psk=psk,
        psk_id=psk_id,
        initiator=initiator,
        kms=KMS,
        responders=[ROOM],
        csb_id=0xABCD,
        rand=os.urandom,
        now=NOW,
    )


def resolve_init(made: bool = False) -> bytes:
    if made:
        ticket = make_ticket(
            tpk=PSK_A, tpk_id="alice", initiator=ALICE, kms=KMS, responders=[ROOM], rand=os.urandom, now=NOW
        )
    else:
        asked = exchange()
        granted = service().handle(RequestType.TICKET_REQUEST, asked.request(), NOW)
        ticket = asked.response(granted.body, NOW)
    offer = TransferInitiator(ticket, ALICE, ROOM, csb_id=1, rand=os.urandom, now=NOW)
    responder = TransferResponder(offer.init(), NOW)
    return responder.resolve_init(psk=PSK_M, psk_id="mrfc", identity=ROOM, kms=KMS, rand=os.urandom, now=NOW)


def test_grant_and_what_is_told_of_it() -> None:
    outcome = service().handle(RequestType.TICKET_REQUEST, exchange().request(), NOW)
    assert (outcome.status, outcome.request, outcome.response) == (200, "REQUEST_INIT_PSK", "REQUEST_RESP")
    assert (outcome.csb_id, outcome.psk_id, outcome.initiator) == (0xABCD, "alice", ALICE)
    assert outcome.responders == (ROOM,)


@pytest.mark.parametrize("made", [False, True])
def test_resolve_and_what_is_told_of_it(made: bool) -> None:
    outcome = service().handle(RequestType.TICKET_RESOLVE, resolve_init(made), NOW)
    assert (outcome.status, outcome.request, outcome.response) == (200, "RESOLVE_INIT_PSK", "RESOLVE_RESP")
    assert (outcome.psk_id, outcome.initiator, outcome.responders) == ("mrfc", ALICE, (ROOM,))


def test_self_made_tickets_may_be_forbidden() -> None:
    outcome = service(self_made=False).handle(RequestType.TICKET_RESOLVE, resolve_init(made=True), NOW)
    assert (outcome.status, read_error(outcome.body)) == (403, ErrorNumber.AUTH_FAILURE)


def test_a_message_is_answered_once() -> None:
    kms = service()
    for kind, request in (
        (RequestType.TICKET_REQUEST, exchange().request()),
        (RequestType.TICKET_RESOLVE, resolve_init()),
    ):
        assert kms.handle(kind, request, NOW).status == 200
        again = kms.handle(kind, request, NOW + 30)
        assert (again.status, read_error(again.body)) == (403, ErrorNumber.INVALID_TS)


def test_only_authenticated_messages_are_remembered() -> None:
    kms = service()
    request = exchange().request()
    forged = request[:30] + bytes([request[30] ^ 1]) + request[31:]  # inside RANDRi
    assert kms.handle(RequestType.TICKET_REQUEST, forged, NOW).status == 403
    assert kms.handle(RequestType.TICKET_REQUEST, request, NOW).status == 200


@pytest.mark.parametrize(
    ("request_", "now", "status", "number"),
    [
        (exchange(psk=bytes(32)).request(), NOW, 403, ErrorNumber.AUTH_FAILURE),
        (exchange(psk_id="bob").request(), NOW, 403, ErrorNumber.AUTH_FAILURE),
        (exchange(initiator="sip:bob@home.example").request(), NOW, 403, ErrorNumber.INVALID_ID),
        (exchange().request(), NOW + 100, 403, ErrorNumber.INVALID_TS),
        (resolve_init(), NOW, 400, ErrorNumber.INVALID_DT),
        (exchange().request()[:-1], NOW, 400, ErrorNumber.UNSPECIFIED),
        (b"noise", NOW, 400, None),
        (b"", NOW, 400, None),
    ],
)
def test_refusals(request_: bytes, now: float, status: int, number: int | None) -> None:
    outcome = service().handle(RequestType.TICKET_REQUEST, request_, now)
    assert (outcome.status, read_error(outcome.body)) == (status, number)
    assert outcome.reason
