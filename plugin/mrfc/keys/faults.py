"""Faults of the KMS as the causes for which a call is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mrf_kms.client import KmsProtocolError, KmsRefused, KmsUnavailable
from mrf_protocols.mikey import MikeyError
from mrfc.sip.refusal import Cause, Refusal

T = TypeVar("T")
REFUSED = 200
"""Status of HTTP with which a KMS sent an Error message that says no all the same."""


@contextmanager
def answer_of_the_kms() -> Iterator[None]:
    """Around reading an answer: one that cannot be verified is the KMS's fault, not that of whose ticket it is.

    Raises KmsProtocolError; KmsRefused when the KMS says no in an Error message.
    """
    try:
        yield
    except MikeyError as error:
        if error.reported:
            raise KmsRefused(REFUSED, error.number) from error
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
        raise Refusal(Cause.TICKET_REFUSED, str(error)) from error
    except (KmsProtocolError, KmsUnavailable) as error:
        raise Refusal(Cause.KMS_UNAVAILABLE, str(error)) from error
