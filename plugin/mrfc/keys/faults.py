"""Faults of the KMS as the causes for which a call is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from mrf_kms.client import KmsProtocolError, KmsRefused, KmsUnavailable, judged
from mrf_protocols.mikey import ErrorNumber, MikeyError
from mrfc.sip.refusal import Cause, Refusal

T = TypeVar("T")
REFUSED = 200
"""Status of HTTP with which a KMS sent an Error message that says no all the same."""


class Asked(Protocol):
    """An exchange with the KMS: a TicketRequestExchange, or a TransferResponder."""

    def reported(self, data: bytes) -> MikeyError:
        """What an Error message about it says."""
        ...


@contextmanager
def answer_of_the_kms(asked: Asked) -> Iterator[None]:
    """Around asking and reading the answer: one that cannot be verified is the KMS's fault, not the ticket's.

    Raises KmsProtocolError; KmsRefused when the KMS says no, and how much its Error message is worth.
    """
    try:
        yield
    except KmsRefused as refused:
        raise judged(refused, asked.reported) from refused
    except MikeyError as error:
        if error.reported:
            raise KmsRefused(REFUSED, error.number, authenticated=error.authenticated) from error
        raise KmsProtocolError(f"the answer of the KMS is not acceptable: {error}") from error


async def refusing_kms_faults(ask: Callable[[], Awaitable[T]]) -> T:
    """What comes of asking the KMS. Raises Refusal, besides what `ask` itself may raise.

    One instance that is silent is no reason not to ask another: where the client says so, `ask` is called once more,
    and has to make a new message, since the first one may have been answered.
    """
    try:
        try:
            return await ask()
        except KmsUnavailable as error:
            if not error.ask_again:
                raise
        return await ask()
    except KmsRefused as error:
        number = ErrorNumber.UNSPECIFIED if error.number is None else error.number
        raise Refusal(Cause.TICKET_REFUSED, str(error), mikey_error=number) from error
    except (KmsProtocolError, KmsUnavailable) as error:
        raise Refusal(Cause.KMS_UNAVAILABLE, str(error)) from error
