"""A MIKEY message as a value, and its octets."""

from dataclasses import dataclass, field
from typing import TypeVar

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.headers import Header
from mrf_protocols.mikey.numbers import DataType, ErrorNumber, IdRole, RandRole
from mrf_protocols.mikey.payloads import (
    IdentityWithRole,
    Payload,
    RandWithRole,
    Sign,
    Timestamp,
    Verification,
    decode_chain,
    encode_chain,
)
from mrf_protocols.mikey.policy import ALL_PAYLOADS, Ticket

MAX_MESSAGE = 65535
"""Octets of the longest message read."""
P = TypeVar("P", bound=Payload)


@dataclass(frozen=True, slots=True)
class Message:
    """HDR and the payloads in order; `raw` and `ends` (position after each payload) only when it was decoded."""

    header: Header
    payloads: tuple[Payload, ...]
    raw: bytes = field(default=b"", repr=False, compare=False)
    ends: tuple[int, ...] = field(default=(), repr=False, compare=False)

    def first(self, kind: type[P]) -> P | None:
        """Give the first payload of a kind."""
        for payload in self.payloads:
            if isinstance(payload, kind):
                return payload
        return None

    def need(self, kind: type[P]) -> P:
        """Give the first payload of a kind. Raises MikeyError when there is none."""
        payload = self.first(kind)
        if payload is None:
            raise MikeyError(ErrorNumber.UNSPECIFIED, f"the message has no {kind.__name__}")
        return payload

    def identity(self, role: IdRole) -> IdentityWithRole | None:
        """Give the first IDR of that role."""
        for payload in self.payloads:
            if isinstance(payload, IdentityWithRole) and payload.role == role:
                return payload
        return None

    def rand(self, role: RandRole) -> bytes | None:
        """Give the RAND of the first RANDR of that role."""
        for payload in self.payloads:
            if isinstance(payload, RandWithRole) and payload.role == role:
                return payload.rand
        return None

    @property
    def timestamp(self) -> Timestamp:
        """T. Raises MikeyError (error 1) when it is missing."""
        timestamp = self.first(Timestamp)
        if timestamp is None:
            raise MikeyError(ErrorNumber.INVALID_TS, "the message has no timestamp")
        return timestamp

    @property
    def verification(self) -> Verification:
        """V, which must be the last payload. Raises MikeyError."""
        last = self.payloads[-1] if self.payloads else None
        if not isinstance(last, Verification):
            raise MikeyError(ErrorNumber.UNSPECIFIED, "the message does not end with V")
        return last

    @property
    def signature(self) -> Sign:
        """SIGN, which must be the last payload. Raises MikeyError."""
        last = self.payloads[-1] if self.payloads else None
        if not isinstance(last, Sign):
            raise MikeyError(ErrorNumber.UNSPECIFIED, "the message does not end with SIGN")
        return last

    def without_initiator_data(self) -> bytes:
        """Give the octets received, less length and value of Initiator Data of the TICKET (RFC 6043 5.5)."""
        for payload, end in zip(self.payloads, self.ends, strict=True):
            if isinstance(payload, Ticket):
                return self.raw[: end - 2 - len(payload.initiator_data)] + self.raw[end:]
        return self.raw


def encode(message: Message) -> bytes:
    """Give the octets of a message. Raises MikeyError when a field is out of its range."""
    if any(isinstance(payload, Sign) for payload in message.payloads[:-1]):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "SIGN must be the last payload")
    first = message.payloads[0].number if message.payloads else 0
    return message.header.encode(first) + encode_chain(message.payloads)


def decode(data: bytes) -> Message:
    """Read exactly one message; encoding it again gives the same octets.

    Raises MikeyError and nothing else.
    """
    if len(data) > MAX_MESSAGE:
        raise MikeyError(ErrorNumber.UNSPECIFIED, f"a message of {len(data)} octets is too long")
    header, first, position = Header.decode(data)
    payloads, ends = decode_chain(data, position, first, ALL_PAYLOADS)
    return Message(header, payloads, data, ends)


def message_name(message: bytes) -> str:
    """Give the name of a message's data type from its octets, for logs and traces."""
    try:
        return DataType(message[1]).name
    except (ValueError, IndexError):
        return "unknown message"
