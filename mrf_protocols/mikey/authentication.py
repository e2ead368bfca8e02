"""How the KMS knows who asks: the part that REQUEST_INIT_PSK and RESOLVE_INIT_PSK share (RFC 6043 4.2.1,
4.2.3).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import EmptyMap, Header
from mrf_protocols.mikey.identity import idr, matches_any, same_identity, text_of
from mrf_protocols.mikey.message import Message
from mrf_protocols.mikey.numbers import DataType, ErrorNumber, IdRole, PolicyFlag, RandRole
from mrf_protocols.mikey.prf import Purpose
from mrf_protocols.mikey.protection import Protector, message_protector, verify
from mrf_protocols.mikey.suite import Suite, suite_of
from mrf_protocols.mikey.timestamps import DEFAULT_SKEW, check_fresh, to_unix

NO_FLAGS = PolicyFlag(0)


@dataclass(frozen=True, slots=True)
class Credential:
    """A user of the KMS: the pre-shared key and the identities (patterns with ``*``) that go with it."""

    psk_id: str
    psk: bytes = field(repr=False)
    identities: tuple[str, ...]


FindCredential = Callable[[str | None, str | None], Credential | None]
"""Gives the credential for IDRpsk and, when that is absent, for the identity; None when there is none."""


@dataclass(frozen=True, slots=True)
class KmsRules:
    """What one KMS is and allows: its identity, clock skew and longest ticket life in seconds, flags it
    clears.
    """

    identity: str
    skew: float = DEFAULT_SKEW
    max_lifetime: float = 86400.0
    cleared_flags: PolicyFlag = NO_FLAGS


@dataclass(frozen=True, slots=True)
class Authenticated:
    """An initial message whose sender is known."""

    message: Message
    suite: Suite
    credential: Credential
    identity: str
    rand_i: bytes
    rand_r: bytes
    replay_until: float

    def protector(self, purpose: Purpose) -> Protector:
        """Protector with the sender's key, of this message or of the answer to it."""
        csb_id = self.message.header.csb_id
        return message_protector(
            self.suite, self.credential.psk, csb_id, purpose, rand_i=self.rand_i, rand_r=self.rand_r
        )

    @property
    def replay_key(self) -> bytes:
        """What tells this message from every other one: its MAC."""
        return self.message.verification.mac


def init_header(data_type: DataType, csb_id: int, suite: Suite) -> Header:
    """HDR of REQUEST_INIT and RESOLVE_INIT: response wanted, no crypto sessions (RFC 6043 4.2.1.1)."""
    return Header(data_type, csb_id, suite.prf_func, True, EmptyMap())


def key_for(suite: Suite, psk: bytes) -> bytes:
    """Give the key back when it is long enough for the suite. Raises MikeyError (error 2)."""
    if len(psk) < suite.key_length:
        raise MikeyError(ErrorNumber.INVALID_PRF, "the pre-shared key is too short for the algorithms")
    return psk


def authenticate_init(
    message: Message,
    *,
    rules: KmsRules,
    find_credential: FindCredential,
    data_type: DataType,
    role: IdRole,
    now: float,
) -> Authenticated:
    """Verify an initial message to the KMS and that its sender may use the identity of `role`.

    Raises MikeyError: 11 type, 2 and 3 algorithms, 1 time, 7 identity, 0 unknown key or wrong MAC.
    """
    header = message.header
    if header.data_type != data_type:
        raise MikeyError(ErrorNumber.INVALID_DT, f"data type {header.data_type} is not served here")
    suite = suite_of(header.prf)
    timestamp = message.timestamp
    check_fresh(timestamp, now, rules.skew)
    kms = message.identity(IdRole.KMS) or idr(IdRole.KMS, rules.identity)
    if not same_identity(text_of(kms, "IDRkms"), rules.identity):
        raise MikeyError(ErrorNumber.INVALID_ID, "the message is for another KMS")
    psk_id, sender = message.identity(IdRole.PSK), message.identity(role)
    credential = find_credential(
        None if psk_id is None else text_of(psk_id, "IDRpsk"),
        None if sender is None else text_of(sender, role.name),
    )
    if credential is None:
        raise MikeyError(ErrorNumber.AUTH_FAILURE, "no pre-shared key for the sender")
    key_for(suite, credential.psk)
    identity = _known_identity(credential) if sender is None else text_of(sender, role.name)
    rand = message.rand(RandRole.INITIATOR if role == IdRole.INITIATOR else RandRole.RESPONDER)
    if rand is None or len(rand) < suite.key_length:
        raise MikeyError(ErrorNumber.UNSPECIFIED, "RANDR of the sender is missing or too short")
    known = Authenticated(
        message,
        suite,
        credential,
        identity,
        rand if role == IdRole.INITIATOR else b"",
        rand if role == IdRole.RESPONDER else b"",
        to_unix(timestamp.type, timestamp.value) + rules.skew,
    )
    verify(message, known.protector(Purpose.INITIAL), identity.encode() + kms.data)
    if not matches_any(credential.identities, identity):
        raise MikeyError(ErrorNumber.INVALID_ID, "the identity is not one of the sender's")
    return known


def _known_identity(credential: Credential) -> str:
    """Give the one identity of a sender who left it out. Raises MikeyError (error 7)."""
    if len(credential.identities) != 1 or "*" in credential.identities[0]:
        raise MikeyError(ErrorNumber.INVALID_ID, "the message names no sender and the key has several")
    return credential.identities[0]
