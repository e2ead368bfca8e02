"""The MIKEY base ticket (RFC 6043 appendix A), the keys that come with it, and their forking (RFC 6043
5.1.1).
"""

import hmac
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mrf_protocols.mikey.authentication import RandomSource
from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.identity import idr, psk_idr, text_of
from mrf_protocols.mikey.numbers import ErrorNumber, IdRole, KeyType, PolicyFlag, PrfFunc, TsRole
from mrf_protocols.mikey.payloads import (
    IdentityWithRole,
    Kemac,
    KeyData,
    Payload,
    Rand,
    Timestamp,
    Verification,
    decode_chain,
    encode_chain,
    take,
)
from mrf_protocols.mikey.policy import Ticket, TicketPolicy, check_forked_keys, check_granted
from mrf_protocols.mikey.prf import (
    AUTHENTICATION,
    FORK_MPKR,
    FORK_TGK,
    MPK_TO_MPKI,
    MPK_TO_MPKR,
    TGK_TO_TEK,
    fork_label,
    initiator_data_label,
    mpk_label,
    session_label,
    ticket_label,
)
from mrf_protocols.mikey.protection import Protector, check_mac_alg
from mrf_protocols.mikey.suite import SALT_LENGTH, SUITE_128, Suite, suite_of
from mrf_protocols.mikey.timestamps import ntp_utc, to_unix, validity

F = PolicyFlag
DEFAULT_FLAGS = F.D | F.E | F.F | F.G | F.H | F.N | F.O
"""Flags asked for by default: made and resolved by the KMS, both sides fresh, answered, not reusable."""
SPI_MPKI, SPI_MPKR, SPI_SESSION = b"\x10", b"\x11", b"\x01"
"""SPIs of the keys in tickets made here: MPK or MPKi, MPKr, and the first session key."""
TICKET_CSB_ID = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class TicketKey:
    """A TPK and the name that IDRpsk gives it.

    `owner` is None for a key of the KMS, which makes tickets with D=1; for a key that a user shares with the
    KMS it holds that user's identity patterns: only tickets with D=0 in one of these names may be made with
    it.
    """

    identifier: str
    key: bytes = field(repr=False)
    owner: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class TicketKeys:
    """Keys that go with a ticket.

    `mpkr` is b"" without key forking; it is unforked with Initiator and KMS, and MPKr' with a Responder.
    `session` are TEKs, TGKs and GTGKs.
    """

    mpki: bytes = field(repr=False)
    mpkr: bytes = field(repr=False)
    session: tuple[KeyData, ...]

    def as_key_data(self) -> tuple[KeyData, ...]:
        """Give what a KEMAC from the KMS holds: MPKi || [MPKr] || {TEK|TGK|GTGK}."""
        mpkr = (KeyData(KeyType.MPK, self.mpkr, spi=SPI_MPKR),) if self.mpkr else ()
        return (KeyData(KeyType.MPK, self.mpki, spi=SPI_MPKI), *mpkr, *self.session)


@dataclass(frozen=True, slots=True)
class GrantedTicket:
    """A ticket an Initiator may use, with its keys."""

    ticket: Ticket
    keys: TicketKeys

    @property
    def policy(self) -> TicketPolicy:
        """The granted Ticket Policy."""
        return self.ticket.policy

    @property
    def expires(self) -> float | None:
        """End of validity as Unix time, None when it has no end."""
        return self.policy.time(TsRole.TR_E)


@dataclass(frozen=True, slots=True)
class OpenedTicket:
    """A base ticket after decryption: its keys (unforked), which TPK it was made with, and when (Unix time)."""

    policy: TicketPolicy
    keys: TicketKeys
    made_with: TicketKey
    issued: float


def split_keys(keys: Sequence[KeyData], forking: bool) -> TicketKeys:
    """Sort the keys of a KEMAC from the KMS by their order (RFC 6043 4.2.1.5).

    Raises MikeyError (error 12).
    """
    mpks = 2 if forking else 1
    session = tuple(keys[mpks:])
    if [key.type for key in keys[:mpks]] != [KeyType.MPK] * mpks or any(
        k.type == KeyType.MPK for k in session
    ):
        raise MikeyError(
            ErrorNumber.UNSPECIFIED, "the KEMAC does not hold the MPKs that the policy calls for"
        )
    return TicketKeys(keys[0].key, keys[1].key if forking else b"", session)


def ticket_keys(policy: TicketPolicy, mpk: bytes, rand: bytes, session: tuple[KeyData, ...]) -> TicketKeys:
    """Derive MPKi, and MPKr when keys are forked, from the MPK of a base ticket (RFC 6043 A.2.2)."""
    suite = suite_of(policy.prf)
    mpki = suite.derive(mpk, mpk_label(MPK_TO_MPKI, rand), len(mpk))
    mpkr = suite.derive(mpk, mpk_label(MPK_TO_MPKR, rand), len(mpk)) if F.I in policy.flags else b""
    return TicketKeys(mpki, mpkr, session)


def fork_keys(suite: Suite, keys: TicketKeys, identity: bytes, rand_kms: bytes) -> TicketKeys:
    """Fork MPKr and every TGK with the modifier (ID Data of IDRr, RANDRkms); TEKs and GTGKs stay."""
    mpkr = suite.derive(keys.mpkr, fork_label(FORK_MPKR, identity, rand_kms), len(keys.mpkr))
    label = fork_label(FORK_TGK, identity, rand_kms)
    session = tuple(
        replace(key, key=suite.derive(key.key, label, len(key.key)))
        if key.type in (KeyType.TGK, KeyType.TGK_SALT)
        else key
        for key in keys.session
    )
    return TicketKeys(keys.mpki, mpkr, session)


def initiator_auth_key(suite: Suite, mpkr: bytes) -> bytes:
    """Give the key of Vr, from the unforked MPKr and with the PRF of the policy (RFC 6043 6.10)."""
    return suite.derive(mpkr, initiator_data_label(AUTHENTICATION), suite.mac_length)


def session_tek(suite: Suite, key: KeyData, cs_id: int, *, rand_i: bytes, rand_r: bytes) -> bytes:
    """Give the TEK of a crypto session: the key itself when it is a TEK, else derived (RFC 6043 5.1.3)."""
    if key.type in (KeyType.TEK, KeyType.TEK_SALT):
        return key.key
    return suite.derive(key.key, session_label(TGK_TO_TEK, cs_id, rand_i, rand_r), suite.key_length)


def select_key(keys: Sequence[KeyData], spi: bytes) -> KeyData:
    """Give the session key that an SPI names, the first one for an empty SPI.

    Raises MikeyError (error 12).
    """
    for key in keys:
        if not spi or key.spi == spi:
            return key
    raise MikeyError(ErrorNumber.UNSPECIFIED, "no session key has the SPI of the crypto session")


def session_keys(
    key_types: Sequence[KeyType], suite: Suite, material: Callable[[int], bytes]
) -> tuple[KeyData, ...]:
    """Give session keys of these types with SPIs from 01, as long as the suite's; `material` makes octets."""
    return tuple(
        KeyData(
            kind,
            material(suite.key_length),
            material(SALT_LENGTH) if kind in (KeyType.TGK_SALT, KeyType.TEK_SALT, KeyType.GTGK_SALT) else b"",
            spi=bytes([SPI_SESSION[0] + number]),
        )
        for number, kind in enumerate(key_types)
    )


def _protector(suite: Suite, tpk: bytes, rand: bytes) -> Protector:
    return Protector(suite, tpk, lambda constant: ticket_label(constant, rand), TICKET_CSB_ID)


def _covered(policy: TicketPolicy, ticket_data: bytes, mac_length: int) -> bytes:
    return policy.encode() + struct.pack("!H", len(ticket_data)) + ticket_data[:-mac_length]


def seal_ticket(
    policy: TicketPolicy, tpk: TicketKey, keys: Sequence[KeyData], *, rand: bytes, timestamp: Timestamp
) -> Ticket:
    """Build a base ticket; `keys` are MPK and session keys, `rand` is at least as long as TPK and MPK."""
    suite = suite_of(policy.prf)
    protector = _protector(suite, tpk.key, rand)
    payloads: list[Payload] = [
        timestamp,
        Rand(rand),
        protector.seal(timestamp, keys),
        psk_idr(tpk.identifier),
        Verification(suite.mac_alg, bytes(suite.mac_length)),
    ]
    thdr = bytes([Timestamp.number, 0, 0])
    unsigned = thdr + encode_chain(payloads)
    mac = suite.mac(protector.auth_key(), _covered(policy, unsigned, suite.mac_length))
    return Ticket(policy, unsigned[: -suite.mac_length] + mac)


def open_ticket(ticket: Ticket, find_key: Callable[[str | None], TicketKey | None]) -> OpenedTicket:
    """Verify and decrypt a base ticket; `find_key` gives the TPK of an IDRpsk, or None when it is not known.

    Raises MikeyError: 14 or 15 for the policy, 0 for an unknown TPK or a wrong MAC, 12 for contents that make
    no sense.
    """
    check_granted(ticket.policy)
    suite = suite_of(ticket.policy.prf)
    data, payloads = ticket.ticket_data, _ticket_payloads(ticket)
    found = {type(payload): payload for payload in reversed(payloads)}
    timestamp, rand, kemac = found.get(Timestamp), found.get(Rand), found.get(Kemac)
    verification = payloads[-1] if payloads else None
    if not (
        isinstance(timestamp, Timestamp)
        and isinstance(rand, Rand)
        and isinstance(kemac, Kemac)
        and isinstance(verification, Verification)
    ):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "the ticket lacks T, RAND, KEMAC or V")
    check_mac_alg(verification, suite)
    tpk = find_key(_tpk_name(payloads))
    if tpk is None or len(tpk.key) < suite.key_length:
        raise MikeyError(ErrorNumber.AUTH_FAILURE, "the ticket is made with a key that is not known")
    protector = _protector(suite, tpk.key, rand.rand)
    mac = suite.mac(protector.auth_key(), _covered(ticket.policy, data, suite.mac_length))
    if not hmac.compare_digest(mac, verification.mac):
        raise MikeyError(ErrorNumber.AUTH_FAILURE, "the MAC of the ticket is wrong")
    master = split_keys(protector.open(timestamp, kemac), forking=False)
    check_forked_keys(ticket.policy, master.session)
    keys = ticket_keys(ticket.policy, master.mpki, rand.rand, master.session)
    return OpenedTicket(ticket.policy, keys, tpk, to_unix(timestamp.type, timestamp.value))


def _ticket_payloads(ticket: Ticket) -> tuple[Payload, ...]:
    data = ticket.ticket_data
    if len(data) < 3:
        raise MikeyError(ErrorNumber.UNSPECIFIED, "the ticket has no header")
    length = int.from_bytes(data[1:3])
    take(data, 3, length)
    return decode_chain(data, 3 + length, data[0])[0]


def ticket_key_name(ticket: Ticket) -> str | None:
    """Give the name of the key that a base ticket is made with (IDRpsk), None when it names none.

    Raises MikeyError.
    """
    return _tpk_name(_ticket_payloads(ticket))


def _tpk_name(payloads: Sequence[Payload]) -> str | None:
    for payload in payloads:
        if isinstance(payload, IdentityWithRole) and payload.role == IdRole.PSK:
            return text_of(payload, "IDRpsk of the ticket")
    return None


def create_ticket(
    policy: TicketPolicy, tpk: TicketKey, session: Sequence[KeyData], *, rand: RandomSource, now: float
) -> GrantedTicket:
    """Make a base ticket with a fresh MPK for the session keys given, as KMS or, in modes 3 and 4, as
    Initiator.

    Raises MikeyError (14, 15) when the policy contradicts itself, 2 when the TPK is too short for its suite.
    """
    check_granted(policy)
    check_forked_keys(policy, tuple(session))
    suite = suite_of(policy.prf)
    if len(tpk.key) < suite.key_length:
        raise MikeyError(ErrorNumber.INVALID_PRF, "the ticket protection key is too short for the algorithms")
    mpk = KeyData(KeyType.MPK, rand(suite.key_length), spi=SPI_MPKI)
    ticket_rand = rand(max(len(tpk.key), suite.key_length))
    ticket = seal_ticket(policy, tpk, (mpk, *session), rand=ticket_rand, timestamp=ntp_utc(now))
    return GrantedTicket(ticket, ticket_keys(policy, mpk.key, ticket_rand, tuple(session)))


def base_policy(
    *,
    prf: int = PrfFunc.MIKEY_1,
    flags: PolicyFlag,
    kms: str,
    initiator: str,
    responders: Sequence[str],
    expires: float | None = None,
    wanted: Kemac | None = None,
) -> TicketPolicy:
    """Build a policy for a base ticket in the order of RFC 6043 6.10; `expires` is Unix time."""
    payloads: list[Payload] = [idr(IdRole.KMS, kms)] if kms else []
    payloads.append(idr(IdRole.INITIATOR, initiator))
    if expires is not None:
        payloads.append(validity(TsRole.TR_E, expires))
    if wanted is not None:
        payloads.append(wanted)
    payloads += [idr(IdRole.RESPONDER, responder) for responder in responders]
    return TicketPolicy(prf, flags, tuple(payloads))


def make_ticket(
    *,
    tpk: bytes,
    tpk_id: str,
    initiator: str,
    kms: str,
    responders: Sequence[str],
    rand: RandomSource,
    now: float,
    suite: Suite = SUITE_128,
    flags: PolicyFlag = DEFAULT_FLAGS,
    lifetime: float | None = None,
    key_types: Sequence[KeyType] = (KeyType.TGK,),
) -> GrantedTicket:
    """Make a ticket as Initiator (modes 3 and 4, RFC 6043 4.1.1) with one session key of each type given.

    `tpk` is shared with the KMS (mode 3) or the Responder (mode 4, E not set, `kms` empty); the ticket says
    so: D is cleared and L set whatever `flags` are. `lifetime` in seconds. Raises MikeyError.
    """
    policy = base_policy(
        prf=suite.prf_func,
        flags=flags & ~(F.D | F.K) | F.L,
        kms=kms,
        initiator=initiator,
        responders=responders,
        expires=None if lifetime is None else now + lifetime,
    )
    keys = session_keys(key_types, suite, rand)
    return create_ticket(policy, TicketKey(tpk_id, tpk), keys, rand=rand, now=now)
