"""What somebody does to the KMS who wants to harm it, and that nobody else notices."""

from dataclasses import replace
from pathlib import Path

import pytest
from certificates import NOW, certify
from kms_messages import (
    ALICE,
    ALICE_USER,
    IMAGE,
    MRFC_USER,
    PSK_A,
    PSK_M,
    REQUEST,
    RESOLVE,
    ROOM,
    TICKET_KEYS,
    exchange,
    resolution,
    self_made,
    service,
    status,
)

from mrf_kms import key_source
from mrf_kms.cli import main
from mrf_kms.image import Image, Permission, Revocation, RevocationKind, User
from mrf_kms.key_source import ZnProxy
from mrf_kms.rates import RateLimiter
from mrf_kms.service import claims
from mrf_kms.store import Store
from mrf_ops.service import EXIT_CANNOT_RUN
from mrf_protocols.mikey import (
    SUITE_256,
    CertifiedAccount,
    Credential,
    EnvelopeKey,
    EnvelopeOpener,
    ErrorNumber,
    MikeyError,
    Signer,
    decode,
    encode,
)
from mrf_protocols.mikey.numbers import IdRole
from mrf_protocols.mikey.payloads import IdentityWithRole, RandWithRole

NEVER = 1e12

# --- who is a user


def without(message: bytes, *kinds: type | IdRole) -> bytes:
    """A message without payloads of a type, or without the identity of a role."""
    read = decode(message)
    kept = tuple(
        payload
        for payload in read.payloads
        if type(payload) not in kinds
        and not (isinstance(payload, IdentityWithRole) and payload.role in kinds)
    )
    return encode(replace(read, payloads=kept))


@pytest.mark.parametrize("psk_id", ["alice", "weak", "several", "certified", "revoked", "nobody"])
def test_who_is_a_user_is_nobodys_business(psk_id: str) -> None:
    """Without the key every name is answered alike, whatever is wrong with the message besides."""
    users = (
        ALICE_USER,
        MRFC_USER,
        User(Credential("weak", bytes(16), (ALICE,))),
        User(Credential("several", PSK_M, (ALICE, "sip:al@home.example"))),
        User(Credential("certified", b"", (ALICE,), certify("alice", 1).der)),
        User(Credential("revoked", PSK_M, (ALICE,)), enabled=False),
    )
    guess, image = bytes(range(100, 132)), Image.of(users, TICKET_KEYS)
    plain = exchange(psk=guess, psk_id=psk_id).request()
    for message, number in (
        (plain, ErrorNumber.AUTH_FAILURE),
        (exchange(psk=guess, psk_id=psk_id, suite=SUITE_256).request(), ErrorNumber.AUTH_FAILURE),
        (without(plain, IdRole.INITIATOR), ErrorNumber.AUTH_FAILURE),
        (without(plain, RandWithRole), ErrorNumber.UNSPECIFIED),
        (without(plain, RandWithRole, IdRole.INITIATOR), ErrorNumber.UNSPECIFIED),
    ):
        outcome = service().handle(REQUEST, message, image, NOW)
        assert (outcome.status, status(outcome)[1]) == (
            400 if number == ErrorNumber.UNSPECIFIED else 403,
            number,
        )


# --- names that spoil what they are written to


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "a\tgranted", "\x1b[2J", "a\u2028b"])
def test_names_that_cannot_be_printed_come_to_no_record(name: str) -> None:
    for message in (
        exchange(psk_id=name).request(),
        exchange(initiator=f"sip:{name}@home.example").request(),
    ):
        outcome = service().handle(REQUEST, message, IMAGE, NOW)
        assert status(outcome) == (403, ErrorNumber.INVALID_ID)
        assert claims(message) == ("", "", ())
    # Also where a pattern would let it pass, and where the sender proves who it is.
    anybody = Image.of((User(Credential("alice", PSK_A, ("sip:*@home.example",))),), TICKET_KEYS)
    for message in (
        exchange(initiator=f"sip:{name}@home.example").request(),
        exchange(responders=[f"sip:{name}@conf.example"]).request(),
    ):
        outcome = service().handle(REQUEST, message, anybody, NOW)
        assert status(outcome) == (403, ErrorNumber.INVALID_ID)


# --- other people's messages, sent again


def test_replays_do_not_use_up_the_rate_of_who_sent_the_message() -> None:
    kms, own = service(RateLimiter(1.0, 3.0)), exchange().request()
    first = kms.handle(REQUEST, own, IMAGE, NOW)
    assert first.status == 200
    again = kms.replayed(kms.handle(REQUEST, own, IMAGE, NOW), own, NOW)  # what the store found out
    assert (again.status, again.replayed, again.repeated) == (403, True, False)
    for _ in range(50):
        outcome = kms.handle(REQUEST, own, IMAGE, NOW)
        assert (status(outcome), outcome.replayed) == ((403, ErrorNumber.INVALID_TS), True)
        assert outcome.repeated  # and fills neither log nor audit log
        assert outcome.psk_id == "alice"
    assert [kms.handle(REQUEST, exchange().request(), IMAGE, NOW).status for _ in range(3)] == [200, 200, 429]


def test_a_decision_that_is_made_again_counts_once() -> None:
    """The store changed meanwhile, by an operator."""
    kms, own = service(RateLimiter(1.0, 1.0)), exchange().request()
    for _ in range(3):
        outcome = kms.handle(REQUEST, own, IMAGE, NOW)
        assert outcome.status == 200
        kms.take_back(outcome)
    assert kms.handle(REQUEST, own, IMAGE, NOW).status == 200
    assert kms.handle(REQUEST, exchange().request(), IMAGE, NOW).status == 429


# --- tickets that one makes oneself


@pytest.mark.parametrize("lifetime", [None, 1e8])
@pytest.mark.parametrize(
    ("age", "resolves"), [(0.0, True), (3655.0, True), (3665.0, False), (-55.0, True), (-65.0, False)]
)
def test_a_ticket_one_makes_oneself_lives_no_longer_than_one_that_is_granted(
    age: float, resolves: bool, lifetime: float | None
) -> None:
    """Whatever end of validity its maker wrote into it, or none."""
    init = resolution(self_made(NOW - age, lifetime=lifetime))
    expected = (200, None) if resolves else (403, ErrorNumber.INVALID_TPPAR)
    assert status(service(ticket_lifetime=3600.0).handle(RESOLVE, init, IMAGE, NOW)) == expected
    permitted = replace(IMAGE, permissions=(Permission(1, ALICE, ROOM, 3600.0),))
    assert status(service(open_access=False).handle(RESOLVE, init, permitted, NOW)) == expected


# --- tickets that were revoked


@pytest.mark.parametrize("kind", [RevocationKind.TICKET, RevocationKind.INITIATOR])
def test_a_revocation_outlives_every_ticket_that_was_made(tmp_path: Path, kind: RevocationKind) -> None:
    """Tickets live as long as was configured when they were made, not as long as is configured now."""
    store = Store(tmp_path / "kms.sqlite")
    store.rotate_ticket_key(bytes(32), 0.0, longest_ticket=5000.0, grace=60.0)
    store.add_user("alice", PSK_A, [ALICE])
    store.revoke(Revocation(kind, "ab", 1000.0, 1000.0 + 100.0))
    store.revoke_user("alice", 1000.0, 100.0)
    store.tidy(6059.0, 1.0)
    image = store.image()
    assert "ab" in image.revoked_tickets or "ab" in {found.subject for found in image.revoked_initiators}
    assert ALICE in {found.subject for found in image.revoked_initiators}
    store.tidy(20000.0, 1.0)
    assert not store.image().revoked_initiators
    assert not store.image().revoked_tickets
    store.close()


def test_the_id_of_a_ticket_is_whole_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else somebody believes that a ticket is revoked."""
    (tmp_path / "kms.toml").write_text(
        '[kms]\nidentity = "k"\n[http]\nport = 0\n[store]\nfile = "kms.sqlite"\n'
    )
    words = ["ticket", "revoke", "--config", str(tmp_path / "kms.toml"), "--id"]
    for wrong in ("0123456789abcdef", "x" * 32, "0123456789abcdef" * 4, ""):
        assert main([*words, wrong]) == EXIT_CANNOT_RUN
        assert "no id of a ticket" in capsys.readouterr().err
    assert main([*words, "0123456789ABCDEF" * 2]) == 0
    store = Store(tmp_path / "kms.sqlite")
    assert list(store.image().revoked_tickets) == ["0123456789abcdef" * 2]
    store.close()


# --- names asked of a key source


async def test_names_that_nobody_has_drive_out_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_source, "MAX_CACHED", 10)
    asked: list[str] = []
    proxy = ZnProxy("http://127.0.0.1:1", "naf")

    async def ask(name: str) -> tuple[float, Credential | None]:
        asked.append(name)
        return NEVER, Credential(name, PSK_A, (ALICE,)) if name.startswith("known") else None

    monkeypatch.setattr(proxy, "_ask", ask)
    for number in range(5):
        assert await proxy.find(f"known-{number}@bsf.example")
    for number in range(50):
        assert await proxy.find(f"nobody-{number}@bsf.example") is None
    asked.clear()
    for number in range(5):
        assert await proxy.find(f"known-{number}@bsf.example")
    assert await proxy.find("nobody-49@bsf.example") is None
    assert not asked
    assert await proxy.find("nobody-1@bsf.example") is None
    assert asked == ["nobody-1@bsf.example"]


# --- certificates that say more than they may


@pytest.mark.parametrize("uri", ["*", "sip:*", "sip:*@home.example", "sip:al*@home.example"])
def test_a_name_in_a_certificate_is_no_pattern(uri: str) -> None:
    """An authority certifies names; who may use many is the operator's to say."""
    authority, kms_certificate = certify("authority", 0, authority=True), certify("kms", 3)
    user = certify("alice", 1, uris=(uri, "sip:own@home.example"), issuer=authority)
    account = CertifiedAccount(Signer(user.key, (user.der,)), EnvelopeKey(kms_certificate.der))
    opener = EnvelopeOpener(kms_certificate.key, kms_certificate.der)
    kms = service(openers=(opener,), trusted=(authority.der,))
    message = exchange(account=account).request()
    assert status(kms.handle(REQUEST, message, IMAGE, NOW)) == (403, ErrorNumber.INVALID_ID)
    own = exchange(account=account, initiator="sip:own@home.example").request()
    assert kms.handle(REQUEST, own, IMAGE, NOW).status == 200


# --- Error messages about messages that are signed


def test_refusals_of_a_signed_message_carry_v_under_the_envelope_key() -> None:
    alice, kms_certificate = certify("alice", 1), certify("kms", 3)
    opener = EnvelopeOpener(kms_certificate.key, kms_certificate.der)
    account = CertifiedAccount(Signer(alice.key, (alice.der,)), EnvelopeKey(kms_certificate.der))
    image = Image.of((User(Credential("alice", b"", (ALICE,), alice.der)),), TICKET_KEYS)
    kms = service(openers=(opener,), open_access=False)
    asked, other = exchange(account=account), exchange(account=account)
    outcome = kms.handle(REQUEST, asked.request(), image, NOW)
    with pytest.raises(MikeyError) as caught:
        asked.response(outcome.body, NOW)
    assert (caught.value.number, caught.value.authenticated) == (ErrorNumber.INVALID_ID, True)
    assert asked.reported(outcome.body).authenticated
    forged = other.reported(outcome.body)  # another envelope key: about another message, whatever it says
    assert (forged.number, forged.reported) == (ErrorNumber.AUTH_FAILURE, False)
