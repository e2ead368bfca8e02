"""How the KMS knows who asks: the part that REQUEST_INIT and RESOLVE_INIT share (RFC 6043 4.2.1, 4.2.3), with a
pre-shared key or with certificates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from mrf_protocols.mikey.certificates import (
    EnvelopeKey,
    EnvelopeOpener,
    Signer,
    chain_of,
    check_dates,
    verify_signature,
)
from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import EmptyMap, Header
from mrf_protocols.mikey.identity import idr, matches_any, psk_idr, same_identity, text_of
from mrf_protocols.mikey.message import Message
from mrf_protocols.mikey.numbers import DataType, ErrorNumber, IdRole, PolicyFlag, RandRole
from mrf_protocols.mikey.payloads import (
    CertificateHash,
    IdentityWithRole,
    Payload,
    Pke,
    RandWithRole,
    Timestamp,
)
from mrf_protocols.mikey.prf import Purpose
from mrf_protocols.mikey.protection import Protector, authenticate, message_protector, verify
from mrf_protocols.mikey.suite import SUITE_128, SUITE_256, Suite, suite_of
from mrf_protocols.mikey.timestamps import DEFAULT_SKEW, check_fresh, to_unix

NO_FLAGS = PolicyFlag(0)
RandomSource = Callable[[int], bytes]
"""Gives that many random octets."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user of the KMS: the identities (patterns with ``*``) that go with a pre-shared key, or with a certificate.

    `psk_id` names the user whichever it is; `psk` is b"" for one known by `certificate` (DER).
    """

    psk_id: str
    psk: bytes = field(repr=False)
    identities: tuple[str, ...]
    certificate: bytes = field(default=b"", repr=False)


NOBODY = Credential("", bytes(32), ())
FindCredential = Callable[[str | None, str | None], Credential | None]
"""Gives the credential for IDRpsk and, when that is absent, for the identity; None when there is none."""
FindCertified = Callable[[tuple[bytes, ...], str | None], Credential | None]
"""Gives the user of a certificate chain (DER, own one first) or, when it is empty, of the identity; None when
there is none. May raise MikeyError (error 8)."""


class Authority(Protocol):
    """What a KMS lets its users do. A method may raise exceptions of its own, which reach the KMS's caller."""

    def admit(self, credential: Credential, replay_key: bytes) -> None:
        """Take note that this user, now authenticated, asks for something by a message of that replay key."""

    def longest_life(self, initiator: str, responder: str) -> float | None:
        """Give the longest life in seconds of a ticket from one to the other, None when there shall be none."""

    def resolvable(self, ticket_id: bytes, initiator: str, issued: float) -> bool:
        """Tell whether a ticket, made for `initiator` at Unix time `issued`, has not been revoked."""


class _Everybody:
    """Every user may ask tickets for everybody."""

    def admit(self, credential: Credential, replay_key: bytes) -> None: ...

    def longest_life(self, initiator: str, responder: str) -> float | None:
        return float("inf")

    def resolvable(self, ticket_id: bytes, initiator: str, issued: float) -> bool:
        return True


EVERYBODY: Authority = _Everybody()


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """What a KMS needs to serve users with certificates: its own keys, and who has which certificate."""

    openers: tuple[EnvelopeOpener, ...]
    find_certified: FindCertified


@dataclass(frozen=True, slots=True)
class KmsRules:
    """What one KMS is and allows: its identity, clock skew and longest ticket life in seconds, flags it
    clears, suites it speaks, whom it serves; `public_keys` None refuses the messages with certificates.
    """

    identity: str
    skew: float = DEFAULT_SKEW
    max_lifetime: float = 86400.0
    cleared_flags: PolicyFlag = NO_FLAGS
    suites: tuple[Suite, ...] = (SUITE_128, SUITE_256)
    authority: Authority = EVERYBODY
    public_keys: PublicKeys | None = None


@dataclass(frozen=True, slots=True)
class PskAccount:
    """A user's own side of the key shared with the KMS, named `psk_id`."""

    psk: bytes = field(repr=False)
    psk_id: str


@dataclass(frozen=True, slots=True)
class CertifiedAccount:
    """A user who signs, with the certificate of the KMS."""

    signer: Signer
    kms: EnvelopeKey


Account = PskAccount | CertifiedAccount


@dataclass(frozen=True, slots=True)
class InitMessage:
    """A REQUEST_INIT or RESOLVE_INIT as its sender keeps it: octets, and what the answer is protected with."""

    header: Header
    data: bytes = field(repr=False)
    answer: Protector
    own: Protector
    """What an Error message about it is protected with, also where the message itself is signed."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """An initial message whose sender is known; `key` is the pre-shared key or the envelope key."""

    message: Message
    suite: Suite
    credential: Credential
    identity: str
    key: bytes = field(repr=False)
    rand_i: bytes
    rand_r: bytes
    replay_until: float
    replay_key: bytes
    """What tells this message from every other one: its MAC, or the digest of its signature."""

    def protector(self, purpose: Purpose) -> Protector:
        """Protector with the sender's key, of this message or of the answer to it."""
        csb_id = self.message.header.csb_id
        return message_protector(
            self.suite, self.key, csb_id, purpose, rand_i=self.rand_i, rand_r=self.rand_r
        )

    def sender(self, role: IdRole) -> IdentityWithRole:
        """IDR of the sender, of the type (NAI or URI) it was sent with."""
        return self.message.identity(role) or idr(role, self.identity)

    @property
    def error_protector(self) -> Protector:
        """What an Error message about this one is protected with (RFC 6043 5.4); after a signature, which has no
        auth_key, with that of the envelope key: nobody else has it, and nothing need be signed for it.
        """
        return self.protector(Purpose.INITIAL)


def init_header(data_type: DataType, csb_id: int, suite: Suite) -> Header:
    """HDR of REQUEST_INIT and RESOLVE_INIT: response wanted, no crypto sessions (RFC 6043 4.2.1.1)."""
    return Header(data_type, csb_id, suite.prf_func, True, EmptyMap())


def key_for(suite: Suite, psk: bytes) -> bytes:
    """Give the key back when it is long enough for the suite. Raises MikeyError (error 2)."""
    if len(psk) < suite.key_length:
        raise MikeyError(ErrorNumber.INVALID_PRF, "the pre-shared key is too short for the algorithms")
    return psk


def build_init(
    account: Account,
    role: IdRole,
    *,
    suite: Suite,
    csb_id: int,
    identity: str,
    kms: str,
    subject: Payload,
    timestamp: Timestamp,
    rand: RandomSource,
) -> InitMessage:
    """Build REQUEST_INIT (`role` INITIATOR, `subject` TP) or RESOLVE_INIT (RESPONDER, TICKET), PSK or PK.

    Raises MikeyError.
    """
    requesting = role == IdRole.INITIATOR
    with_psk = isinstance(account, PskAccount)
    if requesting:
        data_type = DataType.REQUEST_INIT_PSK if with_psk else DataType.REQUEST_INIT_PK
    else:
        data_type = DataType.RESOLVE_INIT_PSK if with_psk else DataType.RESOLVE_INIT_PK
    header = init_header(data_type, csb_id, suite)
    key = key_for(suite, account.psk) if isinstance(account, PskAccount) else rand(suite.key_length)
    own_rand = rand(max(len(key), suite.key_length))
    rands = {"rand_i": own_rand} if requesting else {"rand_r": own_rand}
    initial = message_protector(suite, key, csb_id, Purpose.INITIAL, **rands)
    answer = message_protector(suite, key, csb_id, Purpose.RESPONSE, **rands)
    rand_role = RandRole.INITIATOR if requesting else RandRole.RESPONDER
    sender, receiver = idr(role, identity), idr(IdRole.KMS, kms)
    before: tuple[Payload, ...] = (timestamp, RandWithRole(rand_role, own_rand), sender)
    tail = sender.data + receiver.data
    if isinstance(account, PskAccount):
        payloads = (*before, receiver, subject, psk_idr(account.psk_id))
        return InitMessage(header, authenticate(header, payloads, initial, tail), answer, initial)
    payloads = (*before, *account.signer.payloads(), receiver, subject, *account.kms.payloads(key))
    return InitMessage(header, account.signer.sign(header, payloads, tail), answer, initial)


def authenticate_init(
    message: Message,
    *,
    rules: KmsRules,
    find_credential: FindCredential,
    data_types: Sequence[DataType],
    role: IdRole,
    rand: RandomSource,
    now: float,
) -> Authenticated:
    """Verify an initial message to the KMS and that its sender may use the identity of `role`.

    `data_types` are the PSK and the PK form of the message. Raises MikeyError: 11 type, 2 and 3 algorithms, 1
    time, 7 identity, 8 certificate, 0 unknown key or wrong MAC or signature.
    """
    header = message.header
    if header.data_type not in data_types:
        raise MikeyError(ErrorNumber.INVALID_DT, f"data type {header.data_type} is not served here")
    suite = suite_of(header.prf)
    if suite not in rules.suites:
        raise MikeyError(ErrorNumber.INVALID_PRF, f"the {suite.name}-bit suite is not served here")
    check_fresh(message.timestamp, now, rules.skew)
    kms = message.identity(IdRole.KMS) or idr(IdRole.KMS, rules.identity)
    if not same_identity(text_of(kms, "IDRkms"), rules.identity):
        raise MikeyError(ErrorNumber.INVALID_ID, "the message is for another KMS")
    if header.data_type == data_types[0]:
        known = _with_psk(message, suite, kms.data, find_credential, role, rules.skew)
    elif rules.public_keys is not None:
        known = _with_certificate(message, suite, kms.data, rules, rules.public_keys, role, rand, now)
    else:
        raise MikeyError(ErrorNumber.INVALID_DT, "messages with certificates are not served here")
    if not matches_any(known.credential.identities, known.identity):
        raise MikeyError(ErrorNumber.INVALID_ID, "the identity is not one of the sender's")
    rules.authority.admit(known.credential, known.replay_key)
    return known


def _with_psk(
    message: Message, suite: Suite, kms: bytes, find: FindCredential, role: IdRole, skew: float
) -> Authenticated:
    psk_id, sender = message.identity(IdRole.PSK), message.identity(role)
    _own_rand(message, suite, role)  # before anybody is looked for, so that it is told to all alike
    credential = find(
        None if psk_id is None else text_of(psk_id, "IDRpsk"),
        None if sender is None else text_of(sender, role.name),
    )
    replay_key = message.verification.mac
    if credential is None or not credential.psk:
        # Answered as a wrong MAC is, after the same work: who is a user is nobody's business.
        known = _known(message, suite, NOBODY, "", NOBODY.psk, role, skew, replay_key)
        known.protector(Purpose.INITIAL).auth_key()
        raise MikeyError(ErrorNumber.AUTH_FAILURE, "no pre-shared key for the sender")
    identity = _sender(credential, sender, role)
    known = _known(message, suite, credential, identity, credential.psk, role, skew, replay_key)
    verify(message, known.protector(Purpose.INITIAL), identity.encode() + kms)
    key_for(suite, credential.psk)
    return known


def _with_certificate(
    message: Message,
    suite: Suite,
    kms: bytes,
    rules: KmsRules,
    public_keys: PublicKeys,
    role: IdRole,
    rand: RandomSource,
    now: float,
) -> Authenticated:
    sender = message.identity(role)
    name = None if sender is None else text_of(sender, role.name)
    credential = public_keys.find_certified(chain_of(message), name)
    if credential is None or not credential.certificate:
        raise MikeyError(ErrorNumber.INVALID_CERT, "no certificate of the sender is known")
    check_dates(credential.certificate, now)
    identity = _sender(credential, sender, role)
    verify_signature(message, credential.certificate, identity.encode() + kms)
    fingerprint, pke = message.first(CertificateHash), message.need(Pke)
    opener = next((opener for opener in public_keys.openers if opener.is_named(fingerprint)), None)
    if opener is None:
        raise MikeyError(ErrorNumber.INVALID_CERT, "the envelope key is for another certificate")
    key = opener.open(pke, suite.key_length, rand)
    replay_key = sha256(message.signature.signature).digest()
    return _known(message, suite, credential, identity, key, role, rules.skew, replay_key)


def _known(
    message: Message,
    suite: Suite,
    credential: Credential,
    identity: str,
    key: bytes,
    role: IdRole,
    skew: float,
    replay_key: bytes,
) -> Authenticated:
    rand = _own_rand(message, suite, role)
    timestamp = message.timestamp
    rand_i, rand_r = (rand, b"") if role == IdRole.INITIATOR else (b"", rand)
    until = to_unix(timestamp.type, timestamp.value) + skew
    return Authenticated(message, suite, credential, identity, key, rand_i, rand_r, until, replay_key)


def _own_rand(message: Message, suite: Suite, role: IdRole) -> bytes:
    rand = message.rand(RandRole.INITIATOR if role == IdRole.INITIATOR else RandRole.RESPONDER)
    if rand is None or len(rand) < suite.key_length:
        raise MikeyError(ErrorNumber.UNSPECIFIED, "RANDR of the sender is missing or too short")
    return rand


def _sender(credential: Credential, sent: IdentityWithRole | None, role: IdRole) -> str:
    """Give the identity of the sender, the one it has when it left it out.

    Raises MikeyError; 0 when it has several: whether it has any is nobody's business before the MAC is verified.
    """
    if sent is not None:
        return text_of(sent, role.name)
    if len(credential.identities) != 1 or "*" in credential.identities[0]:
        raise MikeyError(ErrorNumber.AUTH_FAILURE, "the message names no sender and the key has several")
    return credential.identities[0]
