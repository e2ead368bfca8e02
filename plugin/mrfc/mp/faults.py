"""Faults of Mp as the causes for which a call is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mrf_protocols.h248.errors import ErrorCode
from mrfc.mp.controller import MrfpRefused, MrfpTimeout, MrfpUnavailable
from mrfc.sip.refusal import Cause, Refusal


@contextmanager
def refusing_mp_faults() -> Iterator[None]:
    """What goes wrong at the MRFP inside of this block ends the procedure as a Refusal."""
    try:
        yield
    except (MrfpUnavailable, MrfpTimeout) as error:
        raise Refusal(Cause.MRFP_UNAVAILABLE, str(error)) from error
    except MrfpRefused as error:
        no_address = error.code == ErrorCode.PERMANENT_NETWORK_FAILURE
        raise Refusal(Cause.NO_ADDRESS if no_address else Cause.MRFP_REFUSED, str(error)) from error
