"""Dial-out as UE-B sees it: a conference calls, and UE-B answers (TS 23.333 6.2.19.3.2)."""

import asyncio
import contextlib

from aiosipua import SipRequest

from mrf_ops.trace import Tracer
from mrf_ue.accepted import Accepted
from mrf_ue.answer_steps import AnswerScript
from mrf_ue.errors import OfferRefused, UeError
from mrf_ue.options import AnswerOptions
from mrf_ue.show import Show, quiet
from mrf_ue.sip import SipEndpoint
from mrf_ue.sip_live_call import AnsweringCall
from mrf_ue.sip_transport import Address


async def answer_calls(
    options: AnswerOptions, tracer: Tracer | None = None, show: Show = quiet, calls: int = 1
) -> None:
    """Wait for calls and take them one after the other; `calls` 0 goes on for ever.

    Raises UeError of the first call that fails; who calls meanwhile is told 486.
    """
    tracer = tracer or Tracer("UE-B")
    endpoint = SipEndpoint(options.sip, tracer, show)
    await endpoint.listen()
    end = endpoint.end
    show("SIP", f"waiting for calls to {options.sip.identity} at {end.contact}")
    taken, accepted = 0, Accepted()
    try:
        while calls == 0 or taken < calls:
            call = await next_call(endpoint)
            await answer(options, endpoint, call, tracer, show, accepted)
            taken += 1
    finally:
        await endpoint.close()


async def next_call(endpoint: SipEndpoint) -> AnsweringCall:
    """The next INVITE from outside."""
    arrived: asyncio.Future[AnsweringCall] = asyncio.get_running_loop().create_future()

    def take(invite: SipRequest, _: Address) -> AnsweringCall | None:
        if arrived.done():
            return None
        call = endpoint.answering(invite)
        arrived.set_result(call)
        return call

    endpoint.on_invite = take
    try:
        return await arrived
    finally:
        endpoint.on_invite = None


async def answer(
    options: AnswerOptions,
    endpoint: SipEndpoint,
    call: AnsweringCall,
    tracer: Tracer,
    show: Show = quiet,
    accepted: Accepted | None = None,
) -> None:
    """One call, from INVITE to BYE; `accepted` is what calls before it brought.

    Raises UeError after the call was ended in good order.
    """
    ue = AnswerScript(options, endpoint, call, tracer, show)
    ue.accepted = accepted or ue.accepted
    try:
        await ue.ring()
        transfer = ue.check_offer()
        await ue.resolve(transfer)
        await ue.accept()
        await ue.wait_ack()
        await call.while_up(ue.talk())
        await ue.bye()
    except OfferRefused as refusal:
        await ue.refuse(refusal)
        raise
    except (UeError, asyncio.CancelledError):
        with contextlib.suppress(UeError):
            await ue.bye()
        raise
    finally:
        await ue.close()
