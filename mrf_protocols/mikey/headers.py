"""Common header payload HDR and its CS ID maps (RFC 3830 6.1, RFC 4563 4, RFC 6043 6.1)."""

import struct
from dataclasses import dataclass
from typing import Self

from mrf_protocols.mikey.errors import MikeyError
from mrf_protocols.mikey.numbers import VERSION, ErrorNumber, MapType
from mrf_protocols.mikey.payloads import take


@dataclass(frozen=True, slots=True)
class SrtpSession:
    """One crypto session of an SRTP-ID map; its CS ID is its place, from 1."""

    policy_no: int
    ssrc: int
    roc: int


@dataclass(frozen=True, slots=True)
class GenericSession:
    """One crypto session of a GENERIC-ID map (RFC 6043 6.1.1).

    `policies` are policy numbers of SP payloads, `spi` names the key to use; both may be empty in an initial
    message.
    """

    cs_id: int
    prot_type: int
    policies: tuple[int, ...] = ()
    spi: bytes = b""
    session_data: bytes = b""
    s_flag: bool = False

    def encode(self) -> bytes:
        if len(self.policies) > 127:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "more than 127 policies for one crypto session")
        head = bytes([self.cs_id, self.prot_type, self.s_flag << 7 | len(self.policies), *self.policies])
        data = struct.pack("!H", len(self.session_data)) + self.session_data
        return head + data + bytes([len(self.spi)]) + self.spi

    @classmethod
    def decode(cls, data: bytes, position: int) -> tuple[Self, int]:
        cs_id, prot_type, flag_count = data[position], data[position + 1], data[position + 2]
        count = flag_count & 127
        policies, position = tuple(take(data, position + 3, count)), position + 3 + count
        (length,) = struct.unpack_from("!H", data, position)
        session_data, position = take(data, position + 2, length), position + 2 + length
        length = data[position]
        spi = take(data, position + 1, length)
        session = cls(cs_id, prot_type, policies, spi, session_data, flag_count > 127)
        return session, position + 1 + length


@dataclass(frozen=True, slots=True)
class SrtpIdMap:
    """CS ID map type 0 (RFC 3830 6.1.1)."""

    sessions: tuple[SrtpSession, ...] = ()


@dataclass(frozen=True, slots=True)
class EmptyMap:
    """CS ID map type 1 (RFC 4563 4): no map info; `count` is #CS as received, 0 in MIKEY-TICKET."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class GenericIdMap:
    """CS ID map type 2 (RFC 6043 6.1.1)."""

    sessions: tuple[GenericSession, ...] = ()


CsIdMap = SrtpIdMap | EmptyMap | GenericIdMap


@dataclass(frozen=True, slots=True)
class Header:
    """HDR: `v_flag` asks for a response, `prf` is the PRF func, `csb_id` the 32-bit CSB ID."""

    data_type: int
    csb_id: int
    prf: int = 0
    v_flag: bool = False
    cs_map: CsIdMap = EmptyMap()
    version: int = VERSION

    def encode(self, first: int) -> bytes:
        """Give the octets, `first` being the type of the first payload.

        Raises MikeyError for a field out of range.
        """
        kind, count, info = _encode_map(self.cs_map)
        try:
            return (
                struct.pack(
                    "!BBBBIBB",
                    self.version,
                    self.data_type,
                    first,
                    self.v_flag << 7 | self.prf,
                    self.csb_id,
                    count,
                    kind,
                )
                + info
            )
        except struct.error:
            raise MikeyError(ErrorNumber.UNSPECIFIED, "an HDR field is out of its range") from None

    @classmethod
    def decode(cls, data: bytes) -> tuple[Self, int, int]:
        """Read HDR; gives it, the type of the first payload, and the position after it. Raises MikeyError."""
        try:
            version, data_type, first, v_prf, csb_id, count, kind = struct.unpack_from("!BBBBIBB", data)
            if version != VERSION:
                raise MikeyError(ErrorNumber.UNSPECIFIED, f"MIKEY version {version} is not known")
            cs_map, position = _decode_map(kind, count, data)
        except (struct.error, IndexError):
            raise MikeyError(ErrorNumber.UNSPECIFIED, "data end inside HDR") from None
        return cls(data_type, csb_id, v_prf & 127, v_prf > 127, cs_map, version), first, position


def _encode_map(cs_map: CsIdMap) -> tuple[int, int, bytes]:
    try:
        if isinstance(cs_map, GenericIdMap):
            info = b"".join([session.encode() for session in cs_map.sessions])
            return MapType.GENERIC_ID, len(cs_map.sessions), info
        if isinstance(cs_map, SrtpIdMap):
            info = b"".join([struct.pack("!BII", s.policy_no, s.ssrc, s.roc) for s in cs_map.sessions])
            return MapType.SRTP_ID, len(cs_map.sessions), info
    except (struct.error, ValueError):
        raise MikeyError(ErrorNumber.UNSPECIFIED, "a CS ID map field is out of its range") from None
    return MapType.EMPTY, cs_map.count, b""


def _decode_map(kind: int, count: int, data: bytes) -> tuple[CsIdMap, int]:
    position = 10
    if kind == MapType.GENERIC_ID:
        generic: list[GenericSession] = []
        for _ in range(count):
            session, position = GenericSession.decode(data, position)
            generic.append(session)
        return GenericIdMap(tuple(generic)), position
    if kind == MapType.SRTP_ID:
        srtp = [SrtpSession(*struct.unpack_from("!BII", data, position + 9 * i)) for i in range(count)]
        return SrtpIdMap(tuple(srtp)), position + 9 * count
    if kind == MapType.EMPTY:
        return EmptyMap(count), position
    raise MikeyError(ErrorNumber.UNSPECIFIED, f"CS ID map type {kind} is not known")
