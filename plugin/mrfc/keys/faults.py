"""Faults of the KMS as the causes for which a call is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from mrf_kms.client import KmsProtocolError, KmsRefused, KmsUnavailable
from mrfc.sip.refusal import Cause, Refusal

T = TypeVar("T")


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
