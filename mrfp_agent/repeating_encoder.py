"""Encodes what many users are told at once: the attributes once, the header for each."""

from __future__ import annotations

from mrf_protocols.bfcp import Message, encode, readdress


class RepeatingEncoder:
    """Messages in a row that differ in the user alone, as a change of a floor told to all, are encoded once."""

    __slots__ = ("_last", "_octets")

    def __init__(self) -> None:
        self._last: Message | None = None
        self._octets = b""

    def encode(self, message: Message) -> bytes:
        """The octets of a message. Raises BfcpError as `encode` does."""
        last = self._last
        if (
            last is None
            or message.attributes is not last.attributes
            or message.primitive != last.primitive
            or message.transaction_id != last.transaction_id
            or message.conference_id != last.conference_id
        ):
            self._last, self._octets = message, encode(message)
        elif message.user_id != last.user_id:
            return readdress(self._octets, message.user_id)
        return self._octets
