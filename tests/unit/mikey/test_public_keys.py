"""REQUEST_INIT_PK and RESOLVE_INIT_PK: certificates, signatures, envelope keys, and what is refused of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import pytest
from certificates import NOW, Certified, certify, rsa_key
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    SUITE_128,
    SUITE_256,
    CertifiedAccount,
    Credential,
    DataType,
    EnvelopeKey,
    EnvelopeOpener,
    ErrorNumber,
    KmsRules,
    Message,
    MikeyError,
    PolicyFlag,
    PublicKeys,
    Signer,
    Suite,
    TicketKey,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
    certified_identities,
    decode,
    encode,
    issue_ticket,
    resolve_ticket,
)
from mrf_protocols.mikey.payloads import Certificate, CertificateHash, IdentityWithRole, Payload, Pke, Sign

ALICE, ROOM, KMS = "sip:alice@home.example", "sip:room@conf.example", "kms.home.example"
AUTHORITY = certify("authority", 0, authority=True)
ALICE_CERT = certify("alice", 1, uris=(ALICE,), issuer=AUTHORITY)
MRFC_CERT = certify("mrfc", 2, uris=(ROOM,), issuer=AUTHORITY)
KMS_CERT = certify("kms", 3)
MALLORY = certify("mallory", 4, uris=(ALICE,))
TPK = TicketKey("kms-1", bytes(range(32)))


def account(of: Certified, *chain: bytes, send: bool = True) -> CertifiedAccount:
    return CertifiedAccount(Signer(of.key, (of.der, *chain), send), EnvelopeKey(KMS_CERT.der))


@dataclass
class Kms:
    """A KMS that trusts the authority and speaks both suites."""

    count: int = 0
    openers: tuple[EnvelopeOpener, ...] = (EnvelopeOpener(KMS_CERT.key, KMS_CERT.der),)
    known: dict[str, Credential] = field(default_factory=dict)

    def rand(self, length: int) -> bytes:
        self.count += 1
        return sha256(self.count.to_bytes(8)).digest()[:length].ljust(length, b"\1")

    def find_certified(self, chain: tuple[bytes, ...], identity: str | None) -> Credential | None:
        if not chain:
            return self.known.get(identity or "")
        identities = certified_identities(chain, [AUTHORITY.der], NOW)
        return Credential("certified", b"", identities, chain[0])

    @property
    def rules(self) -> KmsRules:
        return KmsRules(KMS, public_keys=PublicKeys(self.openers, self.find_certified))

    def issue(self, request: bytes, now: float = NOW) -> bytes:
        return issue_ticket(
            request,
            rules=self.rules,
            find_credential=lambda psk_id, identity: None,
            ticket_key=TPK,
            rand=self.rand,
            now=now,
        ).response

    def resolve(self, request: bytes) -> bytes:
        return resolve_ticket(
            request,
            rules=self.rules,
            find_credential=lambda psk_id, identity: None,
            find_ticket_key=lambda name: TPK if name == TPK.identifier else None,
            rand=self.rand,
            now=NOW,
        ).response

    def exchange(
        self,
        suite: Suite = SUITE_128,
        flags: PolicyFlag = DEFAULT_FLAGS,
        who: CertifiedAccount | None = None,
        initiator: str = ALICE,
    ) -> TicketRequestExchange:
        return TicketRequestExchange(
            account=who or account(ALICE_CERT),
            initiator=initiator,
            kms=KMS,
            responders=[ROOM],
            csb_id=0x01020304,
            rand=self.rand,
            now=NOW,
            suite=suite,
            flags=flags,
            lifetime=600.0,
        )


def refused(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(MikeyError) as caught:
        call()
    assert caught.value.number == number, str(caught.value)


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256])
@pytest.mark.parametrize("forking", [PolicyFlag(0), PolicyFlag.I])
def test_a_call_with_certificates_only(suite: Suite, forking: PolicyFlag) -> None:
    kms = Kms()
    exchange = kms.exchange(suite, DEFAULT_FLAGS | forking)
    message = decode(exchange.request())
    assert message.header.data_type == DataType.REQUEST_INIT_PK
    kinds = [type(payload) for payload in message.payloads]
    assert kinds[-3:] == [CertificateHash, Pke, Sign]
    assert kinds.index(Certificate) == kinds.index(IdentityWithRole) + 1
    ticket = exchange.response(kms.issue(exchange.request()), NOW)
    offer = TransferInitiator(ticket, ALICE, ROOM, csb_id=7, rand=kms.rand, now=NOW)
    responder = TransferResponder(offer.init(), NOW)
    request = responder.resolve_init(
        account=account(MRFC_CERT), identity=ROOM, kms=KMS, rand=kms.rand, now=NOW
    )
    assert decode(request).header.data_type == DataType.RESOLVE_INIT_PK
    responder.resolved(kms.resolve(request), NOW)
    answer = responder.respond(kms.rand, NOW)
    assert offer.response(answer.message, NOW).tek == answer.tek


def test_the_answer_is_under_the_envelope_key_alone() -> None:
    kms = Kms()
    one, two = kms.exchange(), kms.exchange()
    response = kms.issue(one.request())
    assert one.response(response, NOW).keys.mpki
    refused(ErrorNumber.AUTH_FAILURE, lambda: two.response(response, NOW))


def test_a_longer_chain_and_a_certificate_that_the_kms_has() -> None:
    kms = Kms()
    middle = certify("middle", 5, issuer=AUTHORITY, authority=True)
    leaf = certify("alice", 6, uris=(ALICE,), issuer=middle)
    assert kms.issue(kms.exchange(who=account(leaf, middle.der)).request())
    refused(ErrorNumber.INVALID_CERT, lambda: kms.issue(kms.exchange(who=account(leaf)).request()))
    silent = kms.exchange(who=account(ALICE_CERT, send=False)).request()
    assert decode(silent).first(Certificate) is None
    refused(ErrorNumber.INVALID_CERT, lambda: kms.issue(silent))
    kms.known[ALICE] = Credential("alice", b"", (ALICE,), ALICE_CERT.der)
    assert kms.issue(silent)


@pytest.mark.parametrize(
    "who",
    [
        account(MALLORY),
        account(certify("old", 5, uris=(ALICE,), issuer=AUTHORITY, now=NOW - 86400 * 90)),
        account(certify("early", 5, uris=(ALICE,), issuer=AUTHORITY, now=NOW + 86400 * 90)),
        account(certify("alice", 5, issuer=AUTHORITY)),
        account(certify("alice", 6, uris=(ALICE,), issuer=ALICE_CERT), ALICE_CERT.der),
        account(ALICE_CERT, MALLORY.der),
        account(ALICE_CERT, *[AUTHORITY.der] * 8),
    ],
    ids=["stranger", "expired", "not yet", "no name", "issued by a user", "not its issuer", "too long"],
)
def test_certificates_that_prove_nothing(who: CertifiedAccount) -> None:
    kms = Kms()
    refused(ErrorNumber.INVALID_CERT, lambda: kms.issue(kms.exchange(who=who).request()))


def test_a_certificate_names_who_one_is() -> None:
    kms = Kms()
    refused(
        ErrorNumber.INVALID_ID, lambda: kms.issue(kms.exchange(initiator="sip:bob@home.example").request())
    )


def test_somebody_else_with_the_certificate_of_alice() -> None:
    kms = Kms()
    thief = CertifiedAccount(Signer(MALLORY.key, (ALICE_CERT.der,)), EnvelopeKey(KMS_CERT.der))
    refused(ErrorNumber.AUTH_FAILURE, lambda: kms.issue(kms.exchange(who=thief).request()))


def test_the_kms_may_have_several_certificates_and_serve_none() -> None:
    kms = Kms()
    other = EnvelopeOpener(rsa_key(7), certify("kms", 7).der)
    kms.openers = (other, *kms.openers)
    assert kms.issue(kms.exchange().request())
    kms.openers = (other,)
    refused(ErrorNumber.INVALID_CERT, lambda: kms.issue(kms.exchange().request()))
    request = kms.exchange().request()
    with pytest.raises(MikeyError) as caught:
        issue_ticket(
            request,
            rules=KmsRules(KMS),
            find_credential=lambda psk_id, identity: None,
            ticket_key=TPK,
            rand=kms.rand,
            now=NOW,
        )
    assert caught.value.number == ErrorNumber.INVALID_DT


def resigned(
    message: Message, payloads: tuple[Payload, ...], sign: Callable[[bytes], bytes], kind: int
) -> bytes:
    """The message with other payloads, signed again by `sign`."""
    bare = encode(Message(message.header, (*payloads, Sign(kind, bytes(256)))))[:-256]
    return bare + sign(bare + ALICE.encode() + KMS.encode())


def test_signature_types() -> None:
    kms = Kms()
    message = decode(kms.exchange().request())
    body = message.payloads[:-1]
    pss = PSS(MGF1(SHA256()), 32)
    assert kms.issue(resigned(message, body, lambda data: ALICE_CERT.key.sign(data, pss, SHA256()), 1))
    weak = resigned(
        message,
        body,
        lambda data: ALICE_CERT.key.sign(data, PSS(MGF1(SHA1()), 20), SHA1()),
        1,
    )
    refused(ErrorNumber.AUTH_FAILURE, lambda: kms.issue(weak))
    refused(
        ErrorNumber.INVALID_CERT,
        lambda: kms.issue(resigned(message, body, lambda data: ALICE_CERT.key.sign(data, pss, SHA256()), 2)),
    )


def test_an_envelope_that_does_not_open_tells_nothing() -> None:
    """The KMS answers under a key that nobody knows, as it would any other: no padding oracle."""
    kms = Kms()
    exchange = kms.exchange()
    message = decode(exchange.request())
    body = tuple(
        replace(p, data=p.data[:-1] + bytes([p.data[-1] ^ 1])) if isinstance(p, Pke) else p
        for p in message.payloads[:-1]
    )
    good = kms.issue(exchange.request())
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    bad = kms.issue(resigned(message, body, lambda data: ALICE_CERT.key.sign(data, PKCS1v15(), SHA256()), 0))
    assert len(bad) == len(good)
    refused(ErrorNumber.AUTH_FAILURE, lambda: exchange.response(bad, NOW))


@pytest.mark.parametrize("step", [1, 7])
def test_no_changed_octet_and_no_truncation_passes(step: int) -> None:
    kms = Kms()
    data = kms.exchange().request()
    for at in range(0, len(data), step):
        for changed in (data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :], data[:at]):
            with pytest.raises(MikeyError):
                kms.issue(changed)


def test_keys_and_certificates_that_do_not_fit() -> None:
    refused(ErrorNumber.INVALID_CERT, lambda: Signer.from_pem(ALICE_CERT.key_pem, MALLORY.pem))
    refused(ErrorNumber.INVALID_CERT, lambda: Signer.from_pem(b"no key", ALICE_CERT.pem))
    refused(ErrorNumber.INVALID_CERT, lambda: EnvelopeKey.from_pem(b"no certificate"))
    small = certify("small", 8, bits=1024)
    refused(ErrorNumber.INVALID_CERT, lambda: Signer.from_pem(small.key_pem, small.pem))
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    refused(ErrorNumber.INVALID_CERT, lambda: Signer.from_pem(pem, ALICE_CERT.pem))
    assert Signer.from_pem(ALICE_CERT.key_pem, ALICE_CERT.pem + AUTHORITY.pem).chain == (
        ALICE_CERT.der,
        AUTHORITY.der,
    )
    assert EnvelopeOpener.from_pem(KMS_CERT.key_pem, KMS_CERT.pem).certificate == KMS_CERT.der
