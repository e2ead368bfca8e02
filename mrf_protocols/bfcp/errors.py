"""The one exception family of BFCP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrf_protocols.bfcp.message import Message
    from mrf_protocols.bfcp.numbers import ErrorCode


class BfcpError(Exception):
    """A message that cannot be read, must not be written, or is refused.

    ``code`` is the error code to answer with, ``text`` says why in words fit for ERROR-INFO and a log.
    ``header`` is the received message without its attributes, where its COMMON-HEADER could be read:
    enough to address an Error message. ``fatal`` means that the byte stream cannot be trusted any
    more, so that the connection has to be closed (RFC 8855 6.1). ``details`` are the octets of the
    Error Specific Details.
    """

    def __init__(
        self,
        code: ErrorCode,
        text: str,
        *,
        header: Message | None = None,
        fatal: bool = False,
        details: bytes = b"",
    ) -> None:
        super().__init__(f"BFCP error {code.value} ({code.name}): {text}")
        self.code = code
        self.text = text
        self.header = header
        self.fatal = fatal
        self.details = details
