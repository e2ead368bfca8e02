"""Session timers of calls (RFC 4028): negotiated with each INVITE and UPDATE; a call that nobody refreshes is ended.

The machine is in mrfc.sip.session_timer. We refresh by UPDATE without offer when the peer takes UPDATE, else by a
re-INVITE that offers the session in progress: Kamailio sends the ACK of a 2xx without body, so an INVITE without offer
is not possible.
"""

from __future__ import annotations

import asyncio

from mrfc import jobs
from mrfc.calls.calls import Answerable, Calls
from mrfc.calls.offerer import Offer, Offerer
from mrfc.calls.requests import Content, RequestFailed, Requests, update_allowed
from mrfc.config import Sip
from mrfc.sip.dialog import DialogState
from mrfc.sip.port import Fields
from mrfc.sip.refusal import Refusal
from mrfc.sip.session_timer import Due, SessionTimer, TimerPolicy, check_interval
from mrfc.state.store import Call, Store

NOT_KNOWN = frozenset({405, 501})


class SessionTimers:
    """The timers of all calls; none at all when the configuration says so."""

    def __init__(
        self, config: Sip, calls_store: Store, calls: Calls, requests: Requests, offerer: Offerer
    ) -> None:
        self._on = config.session_timers
        self._policy = TimerPolicy(config.session_expires, config.min_se)
        self._store = calls_store
        self._calls = calls
        self._requests = requests
        self._timers: dict[jobs.CallKey, SessionTimer] = {}
        self._handles: dict[jobs.CallKey, asyncio.TimerHandle] = {}
        self._refreshes: dict[jobs.CallKey, asyncio.Task[None]] = {}
        self._offerer = offerer
        calls.completing = self._completing
        requests.more_headers = self.ask
        requests.on_refreshed = self.agreed

    @property
    def standing(self) -> int:
        """Calls that have a timer."""
        return len(self._handles)

    # the negotiation

    def check(self, job: jobs.RequestJob) -> None:
        """Look at an INVITE or UPDATE before anything is done for it. Raises Refusal (422)."""
        if self._on:
            check_interval(job.headers, self._policy)

    def _completing(self, job: Answerable) -> Fields:
        """What our 2xx says of the timer."""
        if not (self._on and isinstance(job, jobs.RequestJob) and _is_refresh(job)):
            return ()
        call = self._store.call(job.dialog)
        if call is None:
            return ()
        fields = self._timer(call).reply(job.headers, _now())
        self._wait(call)
        return fields

    def ask(self, call: Call, method: str) -> Fields:
        """What an INVITE or UPDATE of ours says of the timer; within a dialog nothing where none was agreed on."""
        if not self._on:
            return ()
        timer = self._timer(call)
        return timer.ask() if timer.interval or call.state is not DialogState.CONFIRMED else ()

    def agreed(self, call: Call, job: jobs.ResponseJob) -> None:
        """A 2xx to an INVITE or UPDATE of ours."""
        if self._on:
            self._timer(call).agreed(job.headers, _now())
            self._wait(call)

    def too_small(self, call: Call, job: jobs.ResponseJob) -> bool:
        """A 422 to an INVITE or UPDATE of ours. True: another one with what `ask` says now may pass."""
        return self._on and self._timer(call).too_small(job.headers)

    # time

    def _timer(self, call: Call) -> SessionTimer:
        return self._timers.setdefault(call.dialog.key, SessionTimer(self._policy))

    def _wait(self, call: Call) -> None:
        key = call.dialog.key
        if (handle := self._handles.pop(key, None)) is not None:
            handle.cancel()
        timer = self._timers.get(key)
        if timer is not None and timer.deadline is not None:
            self._handles[key] = asyncio.get_running_loop().call_at(timer.deadline, self._tick, call)

    def _tick(self, call: Call) -> None:
        timer = self._timers[call.dialog.key]
        due = timer.tick(
            max(_now(), timer.deadline or 0.0)
        )  # the loop may be early by its clock's resolution
        if due is Due.EXPIRE:
            self._calls.logger(call).warning("%s has not refreshed the session in time", call.remote_uri)
            self._calls.end(call, "the session was not refreshed", 408)
            return
        if due is Due.REFRESH and call.dialog.key not in self._refreshes:
            task = asyncio.get_running_loop().create_task(self._refresh(call))
            self._refreshes[call.dialog.key] = task
        self._wait(call)

    async def _refresh(self, call: Call) -> None:
        key = call.dialog.key
        try:
            await self._ask_for_refresh(call)
        except RequestFailed as failure:
            if not failure.ended:
                self._calls.logger(call).warning(
                    "%s does not refresh the session: %s", call.remote_uri, failure
                )
                self._timers[key].failed(_now())
                self._wait(call)
        except Exception:  # a fault of one refresh ends nothing but, in time, its call
            self._calls.logger(call).exception("the session cannot be refreshed")
        finally:
            del self._refreshes[key]

    async def _ask_for_refresh(self, call: Call) -> None:
        """UPDATE, or INVITE where that is not known; again when the interval was too small. Raises RequestFailed."""
        while True:
            method = "UPDATE" if update_allowed(call) else "INVITE"
            try:
                if method == "UPDATE":
                    await self._requests.send(call, "UPDATE", Content)
                else:
                    await self._offer_again(call)
            except RequestFailed as failure:
                if failure.status in NOT_KNOWN and method == "UPDATE":
                    call.peer_allows -= {"UPDATE"}
                elif failure.status != 422 or failure.job is None or not self.too_small(call, failure.job):
                    raise
            else:
                return

    async def _offer_again(self, call: Call) -> None:
        """Offer the session as it is. An answer that wants another one changes nothing. Raises RequestFailed."""
        offers: list[Offer] = []

        def content() -> Content:
            try:
                offers.append(self._offerer.present(call))
            except Refusal:  # there is no connection: the description has nothing but declined streams
                return Content(call.answer_sdp)
            return Content(offers[-1].body)

        accepted = await self._requests.send(call, "INVITE", content)
        try:
            if offers:
                await self._offerer.take(call, offers[-1], accepted.content_type, accepted.body)
        except Refusal as refusal:
            self._calls.logger(call).warning("answer of %s refused: %s", call.remote_uri, refusal)

    def forget(self, call: Call) -> None:
        """The call has ended."""
        self._timers.pop(call.dialog.key, None)
        if (handle := self._handles.pop(call.dialog.key, None)) is not None:
            handle.cancel()


def _is_refresh(job: jobs.RequestJob) -> bool:
    return isinstance(job, jobs.InviteJob) or (
        isinstance(job, jobs.DialogRequestJob) and job.method == "UPDATE"
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
