"""How a call of the UE can fail, and the exit code that each failure has."""

import enum


class Exit(enum.IntEnum):
    """Exit codes of `mrf-ue`; 1 is left to the interpreter, 2 to wrong usage."""

    OK = 0
    USAGE = 2
    SIP_REFUSED = 3
    KMS_FAILED = 4
    ANSWER_REFUSED = 5
    TLS_FAILED = 6
    FLOOR_NOT_GRANTED = 7
    TIMEOUT = 8
    BEARER_FAILED = 9


class UeError(Exception):
    """A step that went wrong: what the user is told, and the exit code."""

    exit_code = Exit.USAGE


class SipRefused(UeError):
    """The far end (or a proxy) refused, cannot be reached, or hung up early."""

    exit_code = Exit.SIP_REFUSED

    def __init__(
        self, text: str, status: int = 0, warning: str = "", body: bytes = b"", about_keys: str = ""
    ) -> None:
        words = (f" (Warning: {warning})" if warning else "") + (f"; {about_keys}" if about_keys else "")
        super().__init__(text + words)
        self.text = text
        self.status = status
        self.warning = warning
        self.body = body


class KmsFailed(UeError):
    """No ticket: the KMS is silent, refuses (with MIKEY error `number`), or answers nonsense."""

    exit_code = Exit.KMS_FAILED

    def __init__(self, text: str, number: int | None = None) -> None:
        super().__init__(text)
        self.number = number


class AnswerRefused(UeError):
    """The SDP answer or its TRANSFER_RESP is not acceptable."""

    exit_code = Exit.ANSWER_REFUSED


class BearerFailed(UeError):
    """The TCP connection did not come up, or broke."""

    exit_code = Exit.BEARER_FAILED


class TlsFailed(UeError):
    """The TLS handshake failed."""

    exit_code = Exit.TLS_FAILED


class FloorNotGranted(UeError):
    """The floor control server denied, revoked, or answered with an Error."""

    exit_code = Exit.FLOOR_NOT_GRANTED


class StepTimeout(UeError):
    """A step did not end in its time."""

    exit_code = Exit.TIMEOUT


class OfferRefused(UeError):
    """The offer of a call to us, or the ticket in it, is not acceptable; what we answered with.

    `mikey`: the Error message that says what is wrong with the ticket.
    """

    exit_code = Exit.ANSWER_REFUSED

    def __init__(self, text: str, status: int, warning: int, mikey: bytes = b"") -> None:
        super().__init__(text)
        self.status = status
        self.warning = warning
        self.mikey = mikey
