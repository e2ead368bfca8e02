"""Dial-in: UE-A calls a conference, gets the floor, gives it back, hangs up (TS 23.333 6.2.19.3.1)."""

import asyncio
import contextlib

from mrf_ops.trace import Tracer
from mrf_ue.errors import UeError
from mrf_ue.options import DialInOptions
from mrf_ue.show import Show, quiet
from mrf_ue.sip_call import CallState
from mrf_ue.steps import UeScript


async def dial_in(options: DialInOptions, tracer: Tracer | None = None, show: Show = quiet) -> None:
    """The whole call. Raises UeError at the first step that fails, after the call was ended in good order."""
    ue = UeScript(options, tracer, show)
    try:
        await ue.open()
        if not options.unsecured:
            await ue.get_ticket()
        await ue.invite()
        await ue.wait_answer()
        try:
            ue.check_answer()
        finally:
            await ue.ack()  # a 200 is acknowledged even when its answer is refused (RFC 3261 13.2.2.4)
        if options.roster:
            ue.watch_roster()
        await ue.call.while_up(ue.talk())
        await ue.bye()
    except (UeError, asyncio.CancelledError):
        await hang_up(ue)
        raise
    finally:
        await ue.close()


async def hang_up(ue: UeScript) -> None:
    """End a call that failed, as far as it got; the failure that led here is the one to tell."""
    if not hasattr(ue, "call"):
        return
    with contextlib.suppress(UeError):
        if ue.call.machine.state is CallState.CALLING:
            await ue.cancel()
        elif ue.call.machine.state in (CallState.ANSWERED, CallState.CONFIRMED):
            await ue.ack()
            await ue.bye()
