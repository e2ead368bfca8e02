"""The participants' side of the mixer: its offers to them, and what becomes of them without it (mrfc.mixer)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mrf_protocols import sdp
from mrf_protocols.sdp import SdpError, SessionDescription
from mrfc.calls.calls import Calls
from mrfc.calls.requests import Content, RequestFailed, Requests
from mrfc.mixer.settings import Mixer
from mrfc.sip.bodies import session_description
from mrfc.sip.dialog import STANDING
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state.store import Call


class MixedCalls:
    """Participants whose media are at the mixer."""

    def __init__(self, config: Mixer, calls: Calls, requests: Requests) -> None:
        self._config = config
        self._calls = calls
        self._requests = requests
        self._tasks: set[asyncio.Task[None]] = set()

    async def offer(self, call: Call, offer: SessionDescription) -> SessionDescription:
        """Offer a participant what the mixer wants to change, his BFCP stream as it is; gives his answer.

        Raises Refusal.
        """
        if call.state not in STANDING:
            raise Refusal(Cause.PENDING)

        def joined() -> SessionDescription:
            try:
                return sdp.offer_from_mixer(sdp.parse(call.answer_sdp), offer)
            except SdpError as error:
                raise Refusal(Cause.MIXER_KEEPS, str(error)) from error

        try:
            return await self._exchange(call, joined)
        except RequestFailed as failed:
            raise Refusal(Cause.MIXER_KEEPS, f"the participant says {failed}") from failed

    def lost(self, call: Call, why: str) -> None:
        """The mixer does not serve a participant's media any more: they end, or he is hung up, by configuration."""
        if self._config.on_failure == "refuse" or call.state not in STANDING:
            self._calls.end(call, f"the mixer has gone: {why}")
            return
        task = asyncio.get_running_loop().create_task(self._end_media(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_media(self, call: Call) -> None:
        try:
            await self._exchange(call, lambda: sdp.without_mixed(sdp.parse(call.answer_sdp)))
        except RequestFailed as failed:
            if not failed.ended:
                self._calls.end(
                    call, f"the mixer has gone, and the participant does not go on without: {failed}"
                )
        except (Refusal, SdpError) as error:
            self._calls.end(call, f"the mixer has gone: {error}")

    async def _exchange(self, call: Call, make: Callable[[], SessionDescription]) -> SessionDescription:
        """A re-INVITE with an offer; gives the answer."""
        offered = ""

        def content() -> Content:
            nonlocal offered
            offered = sdp.serialize(make())
            return Content(offered)

        response = await self._requests.send(call, "INVITE", content)
        answered = session_description(response.content_type, response.body)
        described = sdp.parse(answered)
        call.answer_sdp, call.offer_sdp = offered, answered
        return described
