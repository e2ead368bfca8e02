"""BFCP messages out of a TCP byte stream (RFC 8855 5.1 and 6.1)."""

from __future__ import annotations

from mrf_protocols.bfcp.codec import HEADER_SIZE, MAX_PAYLOAD_WORDS, decode, decode_header
from mrf_protocols.bfcp.errors import BfcpError
from mrf_protocols.bfcp.message import Message
from mrf_protocols.bfcp.numbers import VERSION_RELIABLE, ErrorCode


class Deframer:
    """Cuts a byte stream into messages; holds at most one message that is not complete yet.

    ``max_payload_words`` bounds the Payload Length (4-octet units) that is accepted: a server, whose
    clients have little to say, gives a small one.
    """

    __slots__ = ("_buffer", "_closed", "_max_payload_words")

    def __init__(self, max_payload_words: int = MAX_PAYLOAD_WORDS) -> None:
        self._buffer = bytearray()
        self._max_payload_words = max_payload_words
        self._closed = False

    @property
    def pending(self) -> int:
        """Octets of a message whose end has not come yet: what a driver times out on."""
        return len(self._buffer)

    @property
    def closed(self) -> bool:
        """Whether a fatal error ended the stream; what is fed afterwards is thrown away."""
        return self._closed

    def feed(self, data: bytes) -> list[Message | BfcpError]:
        """Take what the connection delivered; give what is complete, in order.

        A message that cannot be read comes as a ``BfcpError`` value in its place, so that those before
        it are not lost. A ``fatal`` one is the last item this object ever gives: the caller answers it
        if it has a ``header``, and closes the connection.
        """
        if self._closed:
            return []
        buffer = self._buffer
        buffer += data
        found: list[Message | BfcpError] = []
        start = 0
        while len(buffer) - start >= HEADER_SIZE:
            try:
                end = start + self._size(buffer, start)
                if end > len(buffer):
                    break
                found.append(decode(bytes(buffer[start:end])))
            except BfcpError as error:
                found.append(error)
                if error.fatal:
                    self._closed = True
                    buffer.clear()
                    return found
            start = end
        del buffer[:start]
        return found

    def _size(self, buffer: bytearray, start: int) -> int:
        """Octets of the message that begins at ``start``, told by its COMMON-HEADER."""
        version = buffer[start] >> 5
        words = buffer[start + 2] << 8 | buffer[start + 3]
        if version != VERSION_RELIABLE:
            raise BfcpError(
                ErrorCode.UNSUPPORTED_VERSION,
                f"version {version} on TCP",
                header=decode_header(buffer, offset=start),
                fatal=True,
            )
        if words > self._max_payload_words:
            raise BfcpError(
                ErrorCode.INCORRECT_MESSAGE_LENGTH,
                f"payload of {words} words, at most {self._max_payload_words} are taken",
                header=decode_header(buffer, offset=start),
                fatal=True,
            )
        return HEADER_SIZE + 4 * words
