"""Messages to and from octets (RFC 8855 5.1)."""

from __future__ import annotations

import struct

from mrf_protocols.bfcp.decoder import MalformedError, decode_attributes
from mrf_protocols.bfcp.encoder import encode_attribute
from mrf_protocols.bfcp.errors import BfcpError
from mrf_protocols.bfcp.grammar import check
from mrf_protocols.bfcp.message import Message
from mrf_protocols.bfcp.numbers import VERSION_RELIABLE, VERSION_UNRELIABLE, ErrorCode, Primitive

HEADER_SIZE = 12
"""Octets of the COMMON-HEADER without fragment fields."""

MAX_PAYLOAD_WORDS = 0xFFFF
"""Largest Payload Length, in units of four octets."""

_HEADER = struct.Struct(">BBHIHH")
_RESPONDER = 0x10
_FRAGMENT = 0x08
_PRIMITIVES: dict[int, int] = {primitive.value: primitive for primitive in Primitive}
_UNRELIABLE_ONLY = frozenset(
    {
        Primitive.FLOOR_REQUEST_STATUS_ACK,
        Primitive.FLOOR_STATUS_ACK,
        Primitive.GOODBYE,
        Primitive.GOODBYE_ACK,
    }
)


def encode(message: Message) -> bytes:
    """The octets of a message, in version 1 (TCP) or 2 (one unfragmented UDP datagram).

    Texts are cut on a character border and what only humans read is dropped from a FLOOR-REQUEST-INFORMATION
    that would overflow. Raises ``BfcpError`` for anything the standard does not allow to be sent.
    """
    if message.version == VERSION_RELIABLE:
        if message.responder or message.primitive in _UNRELIABLE_ONLY:
            raise BfcpError(ErrorCode.GENERIC_ERROR, f"{message.name} with R flag {message.responder} on TCP")
    elif message.version != VERSION_UNRELIABLE:
        raise BfcpError(ErrorCode.UNSUPPORTED_VERSION, f"no version {message.version}")
    check(message)
    first = message.version << 5 | message.responder << 4
    try:
        payload = b"".join([encode_attribute(attribute) for attribute in message.attributes])
        if len(payload) > 4 * MAX_PAYLOAD_WORDS:
            raise BfcpError(ErrorCode.INCORRECT_MESSAGE_LENGTH, f"{message.name} of {len(payload)} octets")
        header = _HEADER.pack(
            first,
            message.primitive,
            len(payload) >> 2,
            message.conference_id,
            message.transaction_id,
            message.user_id,
        )
    except struct.error as error:
        raise BfcpError(ErrorCode.GENERIC_ERROR, f"{message.name}: {error}") from None
    return header + payload


def readdress(octets: bytes, user_id: int) -> bytes:
    """An encoded message, for another user (1 to 65535)."""
    return octets[:10] + user_id.to_bytes(2) + octets[12:]


def decode(data: bytes, version: int = VERSION_RELIABLE) -> Message:
    """The message that fills ``data`` exactly; ``version`` is the one of the transport it came by.

    Unknown primitives give a message whose ``primitive`` is a plain int, unknown attributes are kept. Raises
    ``BfcpError``: 12 for another version, 13 when the Payload Length or an attribute does not fit the data,
    10 for an attribute that cannot be read. All of them are fatal on a byte stream.
    """
    if len(data) < HEADER_SIZE:
        raise BfcpError(
            ErrorCode.INCORRECT_MESSAGE_LENGTH, f"{len(data)} octets are no COMMON-HEADER", fatal=True
        )
    first, primitive, words, conference_id, transaction_id, user_id = _HEADER.unpack_from(data)
    if first >> 5 != version:
        raise BfcpError(
            ErrorCode.UNSUPPORTED_VERSION,
            f"version {first >> 5} where {version} belongs",
            header=decode_header(data, version),
            fatal=True,
        )
    if len(data) != HEADER_SIZE + 4 * words:
        raise BfcpError(
            ErrorCode.INCORRECT_MESSAGE_LENGTH,
            f"payload of {len(data) - HEADER_SIZE} octets where {4 * words} are announced",
            header=decode_header(data, version),
            fatal=True,
        )
    # On TCP the R and F flags mean nothing and are ignored.
    responder = version == VERSION_UNRELIABLE and bool(first & _RESPONDER)
    try:
        if version == VERSION_UNRELIABLE and first & _FRAGMENT:
            raise MalformedError(ErrorCode.UNABLE_TO_PARSE_MESSAGE, "fragments are not supported")
        attributes = decode_attributes(data, HEADER_SIZE, len(data)) if words else ()
    except MalformedError as error:
        raise BfcpError(error.code, error.text, header=decode_header(data, version), fatal=True) from None
    return Message(
        _PRIMITIVES.get(primitive, primitive),
        conference_id,
        transaction_id,
        user_id,
        attributes,
        version,
        responder,
    )


def decode_header(data: bytes | bytearray, version: int = VERSION_RELIABLE, offset: int = 0) -> Message:
    """The COMMON-HEADER as a message without attributes, in the version an Error has to be sent in."""
    _, primitive, _, conference_id, transaction_id, user_id = _HEADER.unpack_from(data, offset)
    return Message(_PRIMITIVES.get(primitive, primitive), conference_id, transaction_id, user_id, (), version)
