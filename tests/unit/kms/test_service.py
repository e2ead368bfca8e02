"""What the KMS answers: grants, refusals and their HTTP status, permissions, revocations, rates, certificates."""

import os
from dataclasses import replace

import pytest
from certificates import NOW, Certified, certify
from kms_messages import (
    ALICE,
    ALICE_USER,
    IMAGE,
    KMS,
    MRFC_USER,
    PSK_A,
    PSK_M,
    REQUEST,
    RESOLVE,
    ROOM,
    TICKET_KEYS,
    exchange,
    resolve_init,
    service,
    status,
    transfer,
)

from mrf_kms.database import StoreError
from mrf_kms.image import Image, Permission, Revocation, RevocationKind, User
from mrf_kms.rates import RateLimiter
from mrf_kms.service import key_names
from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    SUITE_128,
    SUITE_256,
    CertifiedAccount,
    Credential,
    EnvelopeKey,
    EnvelopeOpener,
    ErrorNumber,
    MikeyError,
    PolicyFlag,
    Signer,
    TicketKey,
    TransferInitiator,
    TransferResponder,
    decode,
)
from mrf_protocols.mikey.certificates import marks_of
from mrf_protocols.mikey.payloads import Verification

F = PolicyFlag


def test_grant_and_what_is_told_of_it() -> None:
    outcome = service().handle(REQUEST, exchange().request(), IMAGE, NOW)
    assert (outcome.status, outcome.request, outcome.response) == (200, "REQUEST_INIT_PSK", "REQUEST_RESP")
    assert (outcome.csb_id, outcome.psk_id, outcome.initiator) == (0xABCD, "alice", ALICE)
    assert outcome.responders == (ROOM,)
    entry = outcome.entry(NOW, "call-1", audited=True)
    assert entry.replay_key is not None
    assert entry.replay_until == pytest.approx(NOW + 60)
    assert entry.audit is not None
    assert (entry.audit.result, entry.audit.call_id, entry.audit.ticket) == (
        "granted",
        "call-1",
        outcome.ticket,
    )


@pytest.mark.parametrize("made", [False, True])
def test_resolve_and_what_is_told_of_it(made: bool) -> None:
    outcome = service().handle(RESOLVE, resolve_init(made), IMAGE, NOW)
    assert (outcome.status, outcome.request, outcome.response) == (200, "RESOLVE_INIT_PSK", "RESOLVE_RESP")
    assert (outcome.psk_id, outcome.initiator, outcome.responders) == ("mrfc", ALICE, (ROOM,))


def test_the_ticket_has_one_name_in_both_records() -> None:
    granted = service().handle(REQUEST, (asked := exchange()).request(), IMAGE, NOW)
    offer = TransferInitiator(
        asked.response(granted.body, NOW), ALICE, ROOM, csb_id=1, rand=os.urandom, now=NOW
    )
    init = TransferResponder(offer.init(), NOW).resolve_init(
        psk=PSK_M, psk_id="mrfc", identity=ROOM, kms=KMS, rand=os.urandom, now=NOW
    )
    assert service().handle(RESOLVE, init, IMAGE, NOW).ticket == granted.ticket != ""


def test_self_made_tickets_may_be_forbidden() -> None:
    outcome = service(self_made=False).handle(RESOLVE, resolve_init(made=True), IMAGE, NOW)
    assert status(outcome) == (403, ErrorNumber.AUTH_FAILURE)


@pytest.mark.parametrize(
    ("request_", "now", "expected", "number"),
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
def test_refusals(request_: bytes, now: float, expected: int, number: int | None) -> None:
    outcome = service().handle(REQUEST, request_, IMAGE, now)
    assert status(outcome) == (expected, number)
    assert outcome.reason
    assert outcome.fault
    assert outcome.replay_key is None


def test_refusals_of_a_known_sender_carry_v() -> None:
    """An Error message proves itself where sender and message are authentic, and only there (RFC 6043 5.4)."""
    asked = exchange(responders=["sip:bob@home.example"])
    outcome = service(open_access=False).handle(REQUEST, asked.request(), IMAGE, NOW)
    assert isinstance(decode(outcome.body).payloads[-1], Verification)
    with pytest.raises(MikeyError) as caught:
        asked.response(outcome.body, NOW)
    assert (caught.value.number, caught.value.authenticated) == (ErrorNumber.INVALID_ID, True)
    stranger = exchange(psk=bytes(32))
    outcome = service().handle(REQUEST, stranger.request(), IMAGE, NOW)
    assert decode(outcome.body).first(Verification) is None


def test_replay_is_told_as_such() -> None:
    kms, request = service(), exchange().request()
    outcome = kms.handle(REQUEST, request, IMAGE, NOW)
    assert status(kms.replayed(outcome, request, NOW)) == (403, ErrorNumber.INVALID_TS)


def test_suites_of_the_configuration() -> None:
    kms = service(suites=(SUITE_256,))
    assert status(kms.handle(REQUEST, exchange().request(), IMAGE, NOW)) == (400, ErrorNumber.INVALID_PRF)
    assert kms.handle(REQUEST, exchange(suite=SUITE_256).request(), IMAGE, NOW).status == 200
    assert service(suites=(SUITE_128,)).handle(REQUEST, exchange().request(), IMAGE, NOW).status == 200


# --- permissions

PERMITTED = replace(
    IMAGE,
    permissions=(
        Permission(1, "@staff", "sip:*@conf.example", 600.0),
        Permission(2, "sip:*@guests.example", "sip:lobby@conf.example", None),
    ),
    groups={"staff": ("sip:alice@home.example", "sip:*@office.example")},
)


@pytest.mark.parametrize(
    ("initiator", "responder", "allowed"),
    [
        (ALICE, ROOM, True),
        ("sip:carol@office.example", ROOM, True),
        ("carol@office.example", ROOM, True),
        ("sip:bob@home.example", ROOM, False),
        (ALICE, "sip:bob@home.example", False),
        ("sip:guest@guests.example", "sip:lobby@conf.example", True),
        ("sip:guest@guests.example", ROOM, False),
        ("sip:alice@home.example@office.example.evil", ROOM, False),
        ("@staff", ROOM, False),
    ],
)
def test_permissions(initiator: str, responder: str, allowed: bool) -> None:
    user = User(Credential("alice", PSK_A, (initiator, "*")))
    image = Image.of(
        (user, MRFC_USER), TICKET_KEYS, permissions=PERMITTED.permissions, groups=PERMITTED.groups
    )
    asked = exchange(initiator=initiator, responders=[responder])
    outcome = service(open_access=False).handle(REQUEST, asked.request(), image, NOW)
    assert status(outcome) == ((200, None) if allowed else (403, ErrorNumber.INVALID_ID))
    assert service().handle(REQUEST, asked.request(), image, NOW).status == 200


def test_every_responder_must_be_permitted() -> None:
    asked = exchange(responders=[ROOM, "sip:bob@home.example"])
    outcome = service(open_access=False).handle(REQUEST, asked.request(), PERMITTED, NOW)
    assert status(outcome) == (403, ErrorNumber.INVALID_ID)


def test_a_permission_shortens_the_life_of_tickets() -> None:
    asked = exchange()
    ticket = asked.response(service().handle(REQUEST, asked.request(), PERMITTED, NOW).body, NOW)
    assert ticket.expires == int(NOW + 600)
    assert F.K in ticket.policy.flags


@pytest.mark.parametrize("made", [False, True])
def test_a_permission_taken_away_counts_for_tickets_made_before(made: bool) -> None:
    init = resolve_init(made)
    kms = service(open_access=False)
    assert status(kms.handle(RESOLVE, init, IMAGE, NOW)) == (403, ErrorNumber.INVALID_ID)
    assert kms.handle(RESOLVE, init, PERMITTED, NOW).status == 200


# --- revocations


def test_a_revoked_user_is_unknown_and_its_own_tickets_too() -> None:
    revoked = Image.of((replace(ALICE_USER, enabled=False), MRFC_USER), TICKET_KEYS)
    kms = service()
    assert status(kms.handle(REQUEST, exchange().request(), revoked, NOW)) == (403, ErrorNumber.AUTH_FAILURE)
    assert status(kms.handle(RESOLVE, resolve_init(made=True), revoked, NOW)) == (
        403,
        ErrorNumber.AUTH_FAILURE,
    )


@pytest.mark.parametrize(
    ("subject", "revoked", "resolves"),
    [(ALICE, NOW, False), ("sip:*@home.example", NOW, False), (ALICE, NOW - 5, True), (ROOM, NOW, True)],
)
def test_tickets_of_an_initiator_are_revoked_until_a_time(
    subject: str, revoked: float, resolves: bool
) -> None:
    image = replace(
        IMAGE, revoked_initiators=(Revocation(RevocationKind.INITIATOR, subject, revoked, NOW + 9),)
    )
    outcome = service().handle(RESOLVE, resolve_init(), image, NOW)
    assert status(outcome) == ((200, None) if resolves else (403, ErrorNumber.INVALID_TPPAR))


def test_one_ticket_is_revoked() -> None:
    init = resolve_init()
    ticket = service().handle(RESOLVE, init, IMAGE, NOW).ticket
    image = replace(IMAGE, revoked_tickets={ticket: NOW})
    assert status(service().handle(RESOLVE, init, image, NOW)) == (403, ErrorNumber.INVALID_TPPAR)
    assert service().handle(RESOLVE, resolve_init(), image, NOW).status == 200


# --- rates


def test_one_user_cannot_starve_another() -> None:
    kms = service(RateLimiter(10.0, 20.0))
    outcomes = [kms.handle(REQUEST, exchange().request(), IMAGE, NOW) for _ in range(50)]
    assert [outcome.status for outcome in outcomes] == [200] * 20 + [429] * 30
    assert [outcome.repeated for outcome in outcomes[20:]] == [False] + [True] * 29
    assert kms.handle(RESOLVE, resolve_init(), IMAGE, NOW).status == 200
    assert kms.handle(REQUEST, exchange().request(), IMAGE, NOW + 0.15).status == 200
    assert kms.handle(REQUEST, exchange().request(), IMAGE, NOW + 0.15).status == 429


def test_nobody_can_use_up_the_rate_of_another() -> None:
    kms = service(RateLimiter(1.0, 1.0))
    for _ in range(10):
        forged = exchange(psk=bytes(32)).request()
        assert kms.handle(REQUEST, forged, IMAGE, NOW).status == 403
    assert kms.handle(REQUEST, exchange().request(), IMAGE, NOW).status == 200


def test_a_user_may_have_a_rate_of_its_own() -> None:
    image = Image.of((replace(ALICE_USER, rate=2.0), MRFC_USER), TICKET_KEYS)
    kms = service(RateLimiter(1000.0, 1000.0))
    outcomes = [kms.handle(REQUEST, exchange().request(), image, NOW).status for _ in range(6)]
    assert outcomes == [200] * 4 + [429] * 2


# --- certificates

AUTHORITY = certify("authority", 0, authority=True)
ALICE_CERT = certify("alice", 1, uris=(ALICE,), issuer=AUTHORITY)
KMS_CERT = certify("kms", 3)
OPENER = EnvelopeOpener(KMS_CERT.key, KMS_CERT.der)


def certified(of: Certified, initiator: str = ALICE) -> bytes:
    account = CertifiedAccount(Signer(of.key, (of.der,)), EnvelopeKey(KMS_CERT.der))
    return exchange(account=account, initiator=initiator).request()


def test_certificates_that_were_registered() -> None:
    user = User(Credential("alice-cert", b"", (ALICE,), ALICE_CERT.der))
    image = Image.of((user, MRFC_USER), TICKET_KEYS)
    outcome = service(openers=(OPENER,)).handle(REQUEST, certified(ALICE_CERT), image, NOW)
    assert (outcome.status, outcome.request, outcome.psk_id) == (200, "REQUEST_INIT_PK", "alice-cert")
    other = certify("alice", 2, uris=(ALICE,))
    refused = service(openers=(OPENER,)).handle(REQUEST, certified(other), image, NOW)
    assert status(refused) == (403, ErrorNumber.INVALID_CERT)
    revoked = Image.of((replace(user, enabled=False), MRFC_USER), TICKET_KEYS)
    refused = service(openers=(OPENER,), trusted=(AUTHORITY.der,)).handle(
        REQUEST, certified(ALICE_CERT), revoked, NOW
    )
    assert status(refused) == (403, ErrorNumber.INVALID_CERT)


def test_certificates_of_a_trusted_authority() -> None:
    image = Image.of((MRFC_USER,), TICKET_KEYS)
    kms = service(openers=(OPENER,), trusted=(AUTHORITY.der,))
    assert kms.handle(REQUEST, certified(ALICE_CERT), image, NOW).status == 200
    renewed = certify("alice", 2, uris=(ALICE,), issuer=AUTHORITY)
    revoked = Image.of((replace(ALICE_USER, enabled=False), MRFC_USER), TICKET_KEYS)
    assert status(kms.handle(REQUEST, certified(renewed), revoked, NOW)) == (403, ErrorNumber.INVALID_CERT)
    assert status(kms.handle(REQUEST, certified(renewed, ROOM), image, NOW)) == (403, ErrorNumber.INVALID_ID)


@pytest.mark.parametrize("which", [0, 1])
def test_one_certificate_is_revoked(which: int) -> None:
    kms = service(openers=(OPENER,), trusted=(AUTHORITY.der,))
    renewed = certify("alice", 2, uris=(ALICE,), issuer=AUTHORITY)
    image = Image.of((MRFC_USER,), TICKET_KEYS, revoked_certificates={marks_of(ALICE_CERT.der)[which]: NOW})
    refused = kms.handle(REQUEST, certified(ALICE_CERT), image, NOW)
    assert status(refused) == (403, ErrorNumber.INVALID_CERT)
    assert refused.reason.endswith("the certificate is revoked")
    granted = kms.handle(REQUEST, certified(renewed), image, NOW)
    assert (granted.status, granted.psk_id) == (200, f"certificate 3 of {ALICE}")


def test_a_registered_certificate_is_revoked_also_when_it_is_not_sent() -> None:
    user = User(Credential("alice-cert", b"", (ALICE,), ALICE_CERT.der))
    marks = {marks_of(ALICE_CERT.der)[0]: NOW}
    kms, image = service(openers=(OPENER,)), Image.of((user,), TICKET_KEYS, revoked_certificates=marks)
    signer = Signer(ALICE_CERT.key, (ALICE_CERT.der,), send_chain=False)
    account = CertifiedAccount(signer, EnvelopeKey(KMS_CERT.der))
    for body in (exchange(account=account).request(), certified(ALICE_CERT)):
        assert status(kms.handle(REQUEST, body, image, NOW)) == (403, ErrorNumber.INVALID_CERT)


def test_without_a_certificate_of_its_own_the_kms_refuses_them() -> None:
    assert status(service().handle(REQUEST, certified(ALICE_CERT), IMAGE, NOW)) == (
        400,
        ErrorNumber.INVALID_DT,
    )


def test_a_user_with_a_certificate_has_no_pre_shared_key() -> None:
    image = Image.of((User(Credential("alice", b"", (ALICE,), ALICE_CERT.der)), MRFC_USER), TICKET_KEYS)
    assert status(service().handle(REQUEST, exchange().request(), image, NOW)) == (
        403,
        ErrorNumber.AUTH_FAILURE,
    )
    assert image.ticket_key("alice", NOW, True) is None


# --- modes 2 and others


def test_a_responder_that_opens_tickets_itself_gets_them_under_its_own_key() -> None:
    image = Image.of((ALICE_USER, replace(MRFC_USER, opens_tickets=True)), TICKET_KEYS)
    responder = transfer(image=image, flags=DEFAULT_FLAGS & ~F.E)
    assert F.E not in responder.policy.flags
    responder.open_locally(lambda name: TicketKey("mrfc", PSK_M) if name == "mrfc" else None, ROOM)
    assert responder.respond(os.urandom, NOW).tek


def test_where_no_responder_can_open_the_ticket_the_kms_resolves_it() -> None:
    responder = transfer(flags=DEFAULT_FLAGS & ~F.E)
    assert F.E in responder.policy.flags
    assert F.K in responder.policy.flags


# --- keys from elsewhere


def test_keys_from_elsewhere_are_for_users_not_in_the_store() -> None:
    gba = Credential("b-tid@bsf.example", PSK_A, (ALICE,))
    asked = exchange(psk_id="b-tid@bsf.example")
    kms = service()
    assert kms.handle(REQUEST, asked.request(), IMAGE, NOW).status == 403
    assert kms.handle(REQUEST, asked.request(), IMAGE, NOW, (gba,)).status == 200
    taken = Credential("alice", bytes(32), (ALICE,))
    assert kms.handle(REQUEST, exchange(psk=bytes(32)).request(), IMAGE, NOW, (taken,)).status == 403


def test_names_of_the_keys_that_a_message_needs() -> None:
    assert key_names(exchange().request()) == ("alice",)
    assert key_names(resolve_init()) == ("mrfc", "kms-key-1")
    assert key_names(resolve_init(made=True)) == ("mrfc", "alice")
    assert key_names(b"noise") == ()


def test_no_ticket_key_is_a_fault_of_the_store() -> None:
    with pytest.raises(StoreError, match="rotate"):
        service().handle(REQUEST, exchange().request(), Image.of((ALICE_USER,), ()), NOW)
