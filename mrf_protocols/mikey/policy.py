"""Ticket Policy: payloads TP and TICKET (RFC 6043 6.10)."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Self

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.numbers import (
    ErrorNumber,
    IdRole,
    KeyType,
    PayloadType,
    PolicyFlag,
    TicketType,
    TsRole,
    TsType,
)
from mrf_protocols.mikey.payloads import (
    PLAIN_PAYLOADS,
    IdentityWithRole,
    Kemac,
    KeyData,
    Payload,
    TimestampWithRole,
    Verification,
    decode_chain,
    encode_chain,
    take,
)
from mrf_protocols.mikey.timestamps import to_unix

F = PolicyFlag

_DEPENDENCIES: tuple[tuple[str, PolicyFlag, PolicyFlag, PolicyFlag], ...] = (
    # name, must be set, must not be set, then one of these must be set (RFC 6043 6.10)
    ("NOT D implies L", F(0), F.D, F.L),
    ("G implies F", F.G, F(0), F.F),
    ("NOT G implies H", F(0), F.G, F.H),
    ("I implies E", F.I, F(0), F.E),
    ("K implies D", F.K, F(0), F.D),
    ("M implies F", F.M, F(0), F.F),
)


@dataclass(frozen=True, slots=True)
class TicketPolicy:
    """What a ticket is for: type, flags, PRF of forking and ticket keys, and TP Data as payload values."""

    prf: int
    flags: PolicyFlag
    payloads: tuple[Payload, ...]
    ticket_type: int = TicketType.MIKEY_BASE
    subtype: int = 1
    version: int = 1
    reserved: int = 0

    def encode(self) -> bytes:
        """Give the fields from Ticket Type through TP Data. Raises MikeyError."""
        first = self.payloads[0].number if self.payloads else 0
        data = bytes([first]) + encode_chain(self.payloads)
        bits = self.prf << 17 | self.flags << 5 | self.reserved
        try:
            head = struct.pack("!HBB", self.ticket_type, self.subtype, self.version) + bits.to_bytes(3)
            return head + struct.pack("!H", len(data)) + data
        except (struct.error, OverflowError):
            raise MikeyError(ErrorNumber.UNSPECIFIED, "a Ticket Policy field is out of its range") from None

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        """Read the fields from Ticket Type through TP Data; gives the policy and the position after it."""
        ticket_type, subtype, version, prf_d, low, length = struct.unpack_from("!HBBBHH", data, position)
        tp_data = take(data, position + 9, length)
        payloads, _ = decode_chain(tp_data, 1, tp_data[0])
        flags = PolicyFlag((prf_d & 1) << 11 | low >> 5)
        policy = cls(prf_d >> 1, flags, payloads, ticket_type, subtype, version, low & 31)
        return policy, position + 9 + length

    def identity(self, role: IdRole) -> IdentityWithRole | None:
        """Give the first identity of that role."""
        for payload in self.payloads:
            if isinstance(payload, IdentityWithRole) and payload.role == role:
                return payload
        return None

    @property
    def responders(self) -> tuple[IdentityWithRole, ...]:
        """Everyone who may resolve the ticket."""
        return tuple(
            p for p in self.payloads if isinstance(p, IdentityWithRole) and p.role == IdRole.RESPONDER
        )

    @property
    def wanted_keys(self) -> Kemac | None:
        """The KEMAC that asks for keys (in a TP only)."""
        for payload in self.payloads:
            if isinstance(payload, Kemac):
                return payload
        return None

    def renew_by(self, now: float) -> float | None:
        """When keys that are taken from a ticket now have to be renewed, as Unix time: the end of its validity or of
        its rekeying interval (TR_R), whichever is first. None when neither is there. Raises MikeyError."""
        ends = [self.time(TsRole.TR_E)]
        ends += [
            now + payload.value
            for payload in self.payloads
            if isinstance(payload, TimestampWithRole) and payload.role == TsRole.TR_R
        ]
        return min((end for end in ends if end is not None), default=None)

    def time(self, role: TsRole) -> float | None:
        """Start (TR_S) or end (TR_E) of validity as Unix time, or None when it is open. Raises MikeyError."""
        for payload in self.payloads:
            if isinstance(payload, TimestampWithRole) and payload.role == role:
                return to_unix(payload.type, payload.value)
        return None


@dataclass(frozen=True, slots=True)
class TpPayload:
    """Payload TP: the policy that an Initiator asks for."""

    number: ClassVar[int] = PayloadType.TP
    policy: TicketPolicy

    def encode(self, following: int) -> bytes:
        return bytes([following]) + self.policy.encode()

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        policy, position = TicketPolicy.decode(data, position + 1)
        return cls(policy), position


@dataclass(frozen=True, slots=True)
class Ticket:
    """Payload TICKET: granted policy, Ticket Data for who resolves it, and Initiator Data when keys are
    forked.
    """

    number: ClassVar[int] = PayloadType.TICKET
    policy: TicketPolicy
    ticket_data: bytes = field(repr=False)
    initiator_data: bytes = b""

    def encode(self, following: int) -> bytes:
        initiator_data = struct.pack("!H", len(self.initiator_data)) + self.initiator_data
        return bytes([following]) + self.encode_ticket() + initiator_data

    @property
    def identifier(self) -> bytes:
        """Digest that names the ticket, however often it is sent."""
        return sha256(self.encode_ticket()).digest()

    def encode_ticket(self) -> bytes:
        """Give what names the ticket: the payload without Next Payload and Initiator Data."""
        return self.policy.encode() + struct.pack("!H", len(self.ticket_data)) + self.ticket_data

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        policy, position = TicketPolicy.decode(data, position + 1)
        (length,) = struct.unpack_from("!H", data, position)
        ticket_data, position = take(data, position + 2, length), position + 2 + length
        (length,) = struct.unpack_from("!H", data, position)
        return cls(policy, ticket_data, take(data, position + 2, length)), position + 2 + length


def check_type(policy: TicketPolicy) -> None:
    """Refuse every ticket but the MIKEY base ticket (error 14)."""
    if (policy.ticket_type, policy.subtype, policy.version) != (TicketType.MIKEY_BASE, 1, 1):
        kind = f"{policy.ticket_type}.{policy.subtype}.{policy.version}"
        raise MikeyError(ErrorNumber.INVALID_TICKET, f"ticket type {kind} is not supported")


def check_policy(policy: TicketPolicy) -> None:
    """Refuse a ticket type that is not supported (error 14), and flags that contradict each other or a policy
    without responders (error 15)."""
    check_type(policy)
    for name, required, absent, wanted in _DEPENDENCIES:
        if policy.flags & required == required and not policy.flags & absent and not policy.flags & wanted:
            raise MikeyError(ErrorNumber.INVALID_TPPAR, f"flags break the rule: {name}")
    if not policy.responders:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the policy names no responder")
    for payload in policy.payloads:
        if (
            isinstance(payload, TimestampWithRole)
            and payload.role == TsRole.TR_R
            and payload.type != TsType.NTP_UTC_32
        ):
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "the rekeying interval is not NTP-UTC-32")


def check_granted(policy: TicketPolicy) -> None:
    """`check_policy`, and that the policy asks for nothing: a granted one has no KEMAC (error 15)."""
    check_policy(policy)
    if policy.wanted_keys is not None:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "a granted policy holds a KEMAC")


def check_validity(policy: TicketPolicy, now: float, skew: float = 0.0) -> None:
    """Refuse a ticket before its start or after its end, with `skew` seconds of grace (error 15)."""
    start, end = policy.time(TsRole.TR_S), policy.time(TsRole.TR_E)
    if start is not None and now < start - skew:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the ticket is not valid yet")
    if end is not None and now > end + skew:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "the ticket has expired")


def check_forked_keys(policy: TicketPolicy, keys: tuple[KeyData, ...]) -> None:
    """Forking with a TGK in the ticket needs TRANSFER_RESP: only that tells the Initiator the modifier (error
    15).
    """
    tgk = any(key.type in (KeyType.TGK, KeyType.TGK_SALT) for key in keys)
    if F.I in policy.flags and tgk and F.F not in policy.flags:
        raise MikeyError(ErrorNumber.INVALID_TPPAR, "flags break the rule: I with a TGK implies F")


@dataclass(frozen=True, slots=True)
class InitiatorData:
    """Initiator Data of a TICKET when keys are forked: Vi, the copy of the message's V, and Vr (RFC 6043
    6.10).
    """

    vi: Verification
    vr: Verification

    def encode(self) -> bytes:
        """Vi is written exactly as V stands in the message, so its Next Payload is 0 although Vr follows."""
        return bytes([PayloadType.V]) + self.vi.encode(0) + self.vr.encode(0)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read first payload, Vi, Vr; Next Payload of Vi may be 0 or V. Raises MikeyError (error 15)."""
        try:
            if data[0] != PayloadType.V or data[1] not in (PayloadType.LAST, PayloadType.V):
                raise MikeyError(ErrorNumber.INVALID_TPPAR, "Initiator Data is not Vi, Vr")
            vi, position = Verification.decode(data, 1)
            if data[position] != PayloadType.LAST:
                raise MikeyError(ErrorNumber.INVALID_TPPAR, "Initiator Data goes on after Vr")
            vr, position = Verification.decode(data, position)
        except IndexError:
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "Initiator Data end early") from None
        if position != len(data):
            raise MikeyError(ErrorNumber.INVALID_TPPAR, "octets after Initiator Data")
        return cls(vi, vr)


ALL_PAYLOADS: Mapping[int, type[Payload]] = {
    **PLAIN_PAYLOADS,
    TpPayload.number: TpPayload,
    Ticket.number: Ticket,
}
"""What may stand in a message: TP and TICKET cannot stand inside one another."""
