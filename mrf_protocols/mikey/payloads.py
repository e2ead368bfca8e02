"""The payloads of MIKEY messages as values (RFC 3830 6, RFC 6043 6), and the chain that Next Payload makes of
them.

A payload value holds everything of its payload except Next Payload, which follows from its place in the
chain. ``encode(following)`` gives the octets, ``decode(data, position)`` the value and the position after it.
TP and TICKET, which hold chains themselves, are in `mrf_protocols.mikey.policy`.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.numbers import (
    DhGroup,
    ErrorNumber,
    HashFunc,
    KeyType,
    KeyValidity,
    MacAlg,
    PayloadType,
    TsType,
)

MAC_LENGTHS = {int(MacAlg.NULL): 0, int(MacAlg.HMAC_SHA_1_160): 20, int(MacAlg.HMAC_SHA_256_256): 32}
HASH_LENGTHS = {int(HashFunc.SHA_1): 20, int(HashFunc.MD5): 16, int(HashFunc.SHA_256): 32}
DH_LENGTHS = {int(DhGroup.OAKLEY_5): 192, int(DhGroup.OAKLEY_1): 96, int(DhGroup.OAKLEY_2): 128}
TS_LENGTHS = {int(TsType.NTP_UTC): 8, int(TsType.NTP): 8, int(TsType.COUNTER): 4, int(TsType.NTP_UTC_32): 4}
_SALTED = frozenset({int(KeyType.TGK_SALT), int(KeyType.TEK_SALT), int(KeyType.GTGK_SALT)})


class Payload(Protocol):
    """What every payload value can do."""

    number: ClassVar[int]

    def encode(self, following: int) -> bytes:
        """Give the octets, `following` being the type of the next payload (0: none)."""

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        """Read the payload that begins at `position`; gives it and the position after it."""


def take(data: bytes, position: int, length: int) -> bytes:
    """Give exactly `length` octets, or raise MikeyError when the data end before."""
    piece = data[position : position + length]
    if len(piece) != length:
        raise MikeyError(ErrorNumber.UNSPECIFIED, "data end inside a payload")
    return piece


def known_length(lengths: Mapping[int, int], number: int, error: ErrorNumber, what: str) -> int:
    """Give the length that an algorithm or type implies; an unknown one cannot be skipped (MikeyError)."""
    length = lengths.get(number)
    if length is None:
        raise MikeyError(error, f"{what} {number} is not known")
    return length


def check_length(lengths: Mapping[int, int], number: int, value: bytes, what: str) -> None:
    """Refuse to write a field whose length is not the one that its type implies."""
    if lengths.get(number) != len(value):
        raise MikeyError(ErrorNumber.UNSPECIFIED, f"{what} {number} does not go with {len(value)} octets")


@dataclass(frozen=True, slots=True)
class KeyData:
    """Key data sub-payload (RFC 3830 6.13, RFC 6043 6.2.1), inside a KEMAC.

    `kv` says which of `spi` (1) or `valid_from`, `valid_to` (2) is there; `salt` only with the +SALT types.
    """

    type: int
    key: bytes = field(repr=False)
    salt: bytes = field(default=b"", repr=False)
    kv: int = KeyValidity.SPI
    spi: bytes = b""
    valid_from: bytes = b""
    valid_to: bytes = b""

    def encode(self, following: int) -> bytes:
        parts = [struct.pack("!BBH", following, self.type << 4 | self.kv, len(self.key)), self.key]
        if self.type in _SALTED:
            parts += [struct.pack("!H", len(self.salt)), self.salt]
        parts.append(encode_validity(self.kv, self.spi, self.valid_from, self.valid_to))
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        kind, kv = data[position + 1] >> 4, data[position + 1] & 15
        (length,) = struct.unpack_from("!H", data, position + 2)
        key, position, salt = take(data, position + 4, length), position + 4 + length, b""
        if kind in _SALTED:
            (length,) = struct.unpack_from("!H", data, position)
            salt, position = take(data, position + 2, length), position + 2 + length
        spi, valid_from, valid_to, position = decode_validity(kv, data, position)
        return cls(kind, key, salt, kv, spi, valid_from, valid_to), position


def encode_validity(kv: int, spi: bytes, valid_from: bytes, valid_to: bytes) -> bytes:
    """Key validity data (RFC 3830 6.14)."""
    if kv == KeyValidity.NULL:
        return b""
    if kv == KeyValidity.SPI:
        return bytes([len(spi)]) + spi
    if kv == KeyValidity.INTERVAL:
        return bytes([len(valid_from)]) + valid_from + bytes([len(valid_to)]) + valid_to
    raise MikeyError(ErrorNumber.UNSPECIFIED, f"key validity {kv} is not known")


def decode_validity(kv: int, data: bytes, position: int) -> tuple[bytes, bytes, bytes, int]:
    """Key validity data as (SPI, valid from, valid to, position after)."""
    if kv == KeyValidity.NULL:
        return b"", b"", b"", position
    length = data[position]
    first, position = take(data, position + 1, length), position + 1 + length
    if kv == KeyValidity.SPI:
        return first, b"", b"", position
    if kv == KeyValidity.INTERVAL:
        length = data[position]
        return b"", first, take(data, position + 1, length), position + 1 + length
    raise MikeyError(ErrorNumber.UNSPECIFIED, f"key validity {kv} is not known")


def encode_keys(keys: Sequence[KeyData]) -> bytes:
    """Encr data of a KEMAC in the clear: a chain of key data sub-payloads."""
    last = len(keys) - 1
    return b"".join(key.encode(0 if i == last else PayloadType.KEY_DATA) for i, key in enumerate(keys))


def decode_keys(data: bytes) -> tuple[KeyData, ...]:
    """Read a decrypted Encr data. Raises MikeyError."""
    keys: list[KeyData] = []
    position, more = 0, bool(data)
    try:
        while more:
            following = data[position]
            key, position = KeyData.decode(data, position)
            keys.append(key)
            if following not in (PayloadType.LAST, PayloadType.KEY_DATA):
                raise MikeyError(ErrorNumber.UNSPECIFIED, "a KEMAC holds something else than key data")
            more = following == PayloadType.KEY_DATA
    except (struct.error, IndexError):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "key data end early") from None
    if position != len(data):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "octets after the last key data")
    return tuple(keys)


@dataclass(frozen=True, slots=True)
class Kemac:
    """Key data transport payload (RFC 3830 6.2); in MIKEY-TICKET `mac_alg` is always NULL."""

    number: ClassVar[int] = PayloadType.KEMAC
    encr_alg: int
    encr_data: bytes = field(repr=False)
    mac_alg: int = MacAlg.NULL
    mac: bytes = b""

    def encode(self, following: int) -> bytes:
        check_length(MAC_LENGTHS, self.mac_alg, self.mac, "MAC alg")
        head = struct.pack("!BBH", following, self.encr_alg, len(self.encr_data))
        return b"".join((head, self.encr_data, bytes([self.mac_alg]), self.mac))

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        _, encr_alg, length = struct.unpack_from("!BBH", data, position)
        encr_data, position = take(data, position + 4, length), position + 4 + length
        mac_alg = data[position]
        mac_length = known_length(MAC_LENGTHS, mac_alg, ErrorNumber.INVALID_MAC, "MAC alg")
        mac = take(data, position + 1, mac_length)
        return cls(encr_alg, encr_data, mac_alg, mac), position + 1 + mac_length


@dataclass(frozen=True, slots=True)
class Pke:
    """Envelope data payload (RFC 3830 6.3): the envelope key encrypted to the peer's public key."""

    number: ClassVar[int] = PayloadType.PKE
    cache: int
    data: bytes

    def encode(self, following: int) -> bytes:
        if len(self.data) > 0x3FFF or not 0 <= self.cache <= 3:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "PKE field out of range")
        return struct.pack("!BH", following, self.cache << 14 | len(self.data)) + self.data

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        (field_,) = struct.unpack_from("!H", data, position + 1)
        length = field_ & 0x3FFF
        return cls(field_ >> 14, take(data, position + 3, length)), position + 3 + length


@dataclass(frozen=True, slots=True)
class Dh:
    """DH data payload (RFC 3830 6.4)."""

    number: ClassVar[int] = PayloadType.DH
    group: int
    value: bytes
    reserved: int = 0
    kv: int = KeyValidity.NULL
    spi: bytes = b""
    valid_from: bytes = b""
    valid_to: bytes = b""

    def encode(self, following: int) -> bytes:
        check_length(DH_LENGTHS, self.group, self.value, "DH group")
        head = bytes([following, self.group]) + self.value + bytes([self.reserved << 4 | self.kv])
        return head + encode_validity(self.kv, self.spi, self.valid_from, self.valid_to)

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        group = data[position + 1]
        length = known_length(DH_LENGTHS, group, ErrorNumber.INVALID_DH, "DH group")
        value, position = take(data, position + 2, length), position + 2 + length
        reserved, kv = data[position] >> 4, data[position] & 15
        spi, valid_from, valid_to, position = decode_validity(kv, data, position + 1)
        return cls(group, value, reserved, kv, spi, valid_from, valid_to), position


@dataclass(frozen=True, slots=True)
class Sign:
    """Signature payload (RFC 3830 6.5): always the last, so it has no Next Payload."""

    number: ClassVar[int] = PayloadType.SIGN
    type: int
    signature: bytes

    def encode(self, following: int) -> bytes:
        if following or len(self.signature) > 0xFFF or not 0 <= self.type <= 15:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "SIGN must be last and its fields in range")
        return struct.pack("!H", self.type << 12 | len(self.signature)) + self.signature

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        (field_,) = struct.unpack_from("!H", data, position)
        length = field_ & 0xFFF
        return cls(field_ >> 12, take(data, position + 2, length)), position + 2 + length


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Timestamp payload T (RFC 3830 6.6, RFC 6043 6.3); `value` is the TS Value as an unsigned integer."""

    number: ClassVar[int] = PayloadType.T
    type: int
    value: int

    def encode(self, following: int) -> bytes:
        return bytes([following, self.type]) + _encode_ts(self.type, self.value)

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        kind = data[position + 1]
        length = known_length(TS_LENGTHS, kind, ErrorNumber.INVALID_TS, "TS type")
        return cls(kind, int.from_bytes(take(data, position + 2, length))), position + 2 + length


@dataclass(frozen=True, slots=True)
class TimestampWithRole:
    """Timestamp payload with role indicator TR (RFC 6043 6.4)."""

    number: ClassVar[int] = PayloadType.TR
    role: int
    type: int
    value: int

    def encode(self, following: int) -> bytes:
        return bytes([following, self.role, self.type]) + _encode_ts(self.type, self.value)

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        role, kind = data[position + 1], data[position + 2]
        length = known_length(TS_LENGTHS, kind, ErrorNumber.INVALID_TS, "TS type")
        return cls(role, kind, int.from_bytes(take(data, position + 3, length))), position + 3 + length


def _encode_ts(kind: int, value: int) -> bytes:
    return value.to_bytes(known_length(TS_LENGTHS, kind, ErrorNumber.INVALID_TS, "TS type"))


@dataclass(frozen=True, slots=True)
class _TypedData:
    """A type in one octet, then data with a length of two: the layout that ID, CERT and General Extension share."""

    type: int
    data: bytes

    def encode(self, following: int) -> bytes:
        return struct.pack("!BBH", following, self.type, len(self.data)) + self.data

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        _, kind, length = struct.unpack_from("!BBH", data, position)
        return cls(kind, take(data, position + 4, length)), position + 4 + length


@dataclass(frozen=True, slots=True)
class Identity(_TypedData):
    """ID payload (RFC 3830 6.7)."""

    number: ClassVar[int] = PayloadType.ID


@dataclass(frozen=True, slots=True)
class Certificate(_TypedData):
    """Certificate payload CERT (RFC 3830 6.7): DER, or a URL when `type` says so."""

    number: ClassVar[int] = PayloadType.CERT


@dataclass(frozen=True, slots=True)
class IdentityWithRole:
    """ID payload with role indicator IDR (RFC 6043 6.6)."""

    number: ClassVar[int] = PayloadType.IDR
    role: int
    type: int
    data: bytes

    def encode(self, following: int) -> bytes:
        return struct.pack("!BBBH", following, self.role, self.type, len(self.data)) + self.data

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        _, role, kind, length = struct.unpack_from("!BBBH", data, position)
        return cls(role, kind, take(data, position + 5, length)), position + 5 + length


@dataclass(frozen=True, slots=True)
class CertificateHash:
    """Cert hash payload CHASH (RFC 3830 6.8, RFC 6043 6.7)."""

    number: ClassVar[int] = PayloadType.CHASH
    func: int
    hash: bytes

    def encode(self, following: int) -> bytes:
        check_length(HASH_LENGTHS, self.func, self.hash, "hash func")
        return bytes([following, self.func]) + self.hash

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        func = data[position + 1]
        length = known_length(HASH_LENGTHS, func, ErrorNumber.INVALID_HA, "hash func")
        return cls(func, take(data, position + 2, length)), position + 2 + length


@dataclass(frozen=True, slots=True)
class Verification:
    """Ver msg payload V (RFC 3830 6.9): the MAC over the message."""

    number: ClassVar[int] = PayloadType.V
    mac_alg: int
    mac: bytes

    def encode(self, following: int) -> bytes:
        check_length(MAC_LENGTHS, self.mac_alg, self.mac, "Auth alg")
        return bytes([following, self.mac_alg]) + self.mac

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        mac_alg = data[position + 1]
        length = known_length(MAC_LENGTHS, mac_alg, ErrorNumber.INVALID_MAC, "Auth alg")
        return cls(mac_alg, take(data, position + 2, length)), position + 2 + length


@dataclass(frozen=True, slots=True)
class SecurityPolicy:
    """Security policy payload SP (RFC 3830 6.10); `parameters` are (type, value) pairs in order."""

    number: ClassVar[int] = PayloadType.SP
    policy_no: int
    prot_type: int
    parameters: tuple[tuple[int, bytes], ...] = ()

    def encode(self, following: int) -> bytes:
        body = b"".join(bytes([kind, len(value)]) + value for kind, value in self.parameters)
        return struct.pack("!BBBH", following, self.policy_no, self.prot_type, len(body)) + body

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        _, policy_no, prot_type, length = struct.unpack_from("!BBBH", data, position)
        body = take(data, position + 5, length)
        parameters: list[tuple[int, bytes]] = []
        at = 0
        while at < length:
            size = body[at + 1]
            parameters.append((body[at], take(body, at + 2, size)))
            at += 2 + size
        return cls(policy_no, prot_type, tuple(parameters)), position + 5 + length


@dataclass(frozen=True, slots=True)
class Rand:
    """RAND payload (RFC 3830 6.11)."""

    number: ClassVar[int] = PayloadType.RAND
    rand: bytes

    def encode(self, following: int) -> bytes:
        return bytes([following, len(self.rand)]) + self.rand

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        length = data[position + 1]
        return cls(take(data, position + 2, length)), position + 2 + length


@dataclass(frozen=True, slots=True)
class RandWithRole:
    """RAND payload with role indicator RANDR (RFC 6043 6.8)."""

    number: ClassVar[int] = PayloadType.RANDR
    role: int
    rand: bytes

    def encode(self, following: int) -> bytes:
        return bytes([following, self.role, len(self.rand)]) + self.rand

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        role, length = data[position + 1], data[position + 2]
        return cls(role, take(data, position + 3, length)), position + 3 + length


@dataclass(frozen=True, slots=True)
class ErrorPayload:
    """Error payload ERR (RFC 3830 6.12)."""

    number: ClassVar[int] = PayloadType.ERR
    error: int
    reserved: int = 0

    def encode(self, following: int) -> bytes:
        return struct.pack("!BBH", following, self.error, self.reserved)

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        _, error, reserved = struct.unpack_from("!BBH", data, position)
        return cls(error, reserved), position + 4


@dataclass(frozen=True, slots=True)
class GeneralExtension(_TypedData):
    """General extension payload (RFC 3830 6.15)."""

    number: ClassVar[int] = PayloadType.GENERAL_EXT


PLAIN_PAYLOADS: Mapping[int, type[Payload]] = {
    payload.number: payload
    for payload in (
        Kemac,
        Pke,
        Dh,
        Sign,
        Timestamp,
        Identity,
        Certificate,
        CertificateHash,
        Verification,
        SecurityPolicy,
        Rand,
        ErrorPayload,
        TimestampWithRole,
        IdentityWithRole,
        RandWithRole,
        GeneralExtension,
    )
}
"""Every payload that holds no chain of its own."""


def encode_chain(payloads: Sequence[Payload]) -> bytes:
    """Encode payloads that follow one another. Raises MikeyError when a field is out of its range."""
    numbers = [payload.number for payload in payloads[1:]]
    numbers.append(PayloadType.LAST)
    try:
        return b"".join(payload.encode(numbers[i]) for i, payload in enumerate(payloads))
    except (struct.error, ValueError, OverflowError):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "a field is out of its range") from None


def decode_chain(
    data: bytes, position: int, first: int, known: Mapping[int, type[Payload]] = PLAIN_PAYLOADS
) -> tuple[tuple[Payload, ...], tuple[int, ...]]:
    """Read the chain that begins at `position` with a payload of type `first` and ends where `data` end.

    Gives the payloads and the position after each. A payload of unknown type has no known length, so it
    cannot be skipped: MikeyError, as for octets that are missing or left over.
    """
    payloads: list[Payload] = []
    ends: list[int] = []
    following = first
    try:
        while following != PayloadType.LAST:
            kind = known.get(following)
            if kind is None:
                raise MikeyError(ErrorNumber.UNSPECIFIED, f"payload type {following} is not known here")
            following = data[position] if kind is not Sign else PayloadType.LAST
            payload, position = kind.decode(data, position)
            payloads.append(payload)
            ends.append(position)
    except (struct.error, IndexError):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "data end inside a payload") from None
    if position != len(data):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "octets after the last payload")
    return tuple(payloads), tuple(ends)
