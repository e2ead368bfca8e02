"""TPKT framing of H.248 over TCP (RFC 1006 section 6; H.248.1 annex D.2), sans-IO.

A header of four octets: version 3, a reserved octet, and the length of the packet with the header, most significant
octet first. The length field bounds a message to 65531 octets.
"""

from __future__ import annotations

from typing import Final

from mrf_protocols.h248.errors import ErrorCode, H248Error

HEADER: Final = 4
MAX_PAYLOAD: Final = 0xFFFF - HEADER
VERSION: Final = 3


def frame(payload: bytes) -> bytes:
    """One packet. Raises H248Error (533) when the payload is too long for the length field, or empty."""
    if not 0 < len(payload) <= MAX_PAYLOAD:
        raise H248Error(
            ErrorCode.RESPONSE_TOO_LARGE, f"{len(payload)} octets do not fit into one TPKT packet"
        )
    return bytes((VERSION, 0)) + (len(payload) + HEADER).to_bytes(2, "big") + payload


class Deframer:
    """Cuts a stream into payloads; holds at most one incomplete packet.

    After an H248Error the stream has lost its place: the connection must be closed.
    """

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self._max_payload = max_payload
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Octets that wait for the rest of their packet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are complete now. Raises H248Error when a header cannot be true."""
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        start = 0
        while len(buffer) - start >= HEADER:
            length = int.from_bytes(buffer[start + 2 : start + 4], "big")
            if buffer[start] != VERSION:
                raise H248Error(ErrorCode.PROTOCOL_ERROR, "No TPKT header", answerable=False)
            if not HEADER < length <= self._max_payload + HEADER:
                raise H248Error(ErrorCode.PROTOCOL_ERROR, f"TPKT length {length} refused", answerable=False)
            if len(buffer) - start < length:
                break
            found.append(bytes(buffer[start + HEADER : start + length]))
            start += length
        del buffer[:start]
        return found
