"""What a participant sends within the dialog of his call: re-INVITE, UPDATE, and methods that are not served there.

One place for the rules of RFC 3261 12.2.2 and 14.2 and of RFC 3311: the dialog has to be known (481), CSeq numbers grow
(500), options are known (420), and who may change the session now (491, or 500 with Retry-After).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.calls.reliable import Reliable
from mrfc.calls.reoffer import Proposal
from mrfc.calls.requests import Requests, learn
from mrfc.calls.session_timers import SessionTimers
from mrfc.config import MrfcConfig
from mrfc.sip import bodies, capabilities
from mrfc.sip.dialog import DialogState
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.trace import SipTrace
from mrfc.state.store import Call, Store

Change = Callable[[Call, jobs.RequestJob], Awaitable[Proposal]]
"""Serves an offer of a participant that differs from the session in progress, or an INVITE that wants an offer of ours:
(call, INVITE or UPDATE) -> the 2xx, and what it does when that has gone out.

Raises Refusal, and then the session is as it was. It is cancelled when the call ends, when the peer cancels its
re-INVITE, and when the transaction times out; then, too, it has to leave the session as it was.
"""

_OVER = (DialogState.ENDING, DialogState.TERMINATED)


class InDialog:
    """All requests within dialogs but ACK, BYE, CANCEL and REFER.

    `success` makes the 2xx of the session in progress; `change` serves offers of another one.
    """

    def __init__(
        self,
        config: MrfcConfig,
        calls_store: Store,
        calls: Calls,
        requests: Requests,
        timers: SessionTimers,
        reliable: Reliable,
        trace: SipTrace,
        success: Callable[[Call], Response],
        change: Change,
    ) -> None:
        self._config = config
        self._store = calls_store
        self._calls = calls
        self._requests = requests
        self._timers = timers
        self._reliable = reliable
        self._trace = trace
        self._success = success
        self._changes: dict[jobs.CallKey, tuple[jobs.RequestJob, asyncio.Task[None]]] = {}
        self.change = change

    @property
    def running(self) -> int:
        """Changes of sessions under way."""
        return len(self._changes)

    def on_invite(self, job: jobs.InviteJob) -> None:
        """A re-INVITE."""
        self._serve(job, "INVITE", self._modify)

    def on_request(self, job: jobs.DialogRequestJob) -> None:
        """Any other request within a dialog."""
        self._trace.received(job.dialog, job.cseq, job.method, body=job.body)
        served = {"UPDATE": self._modify, "OPTIONS": self._options, "PRACK": self._prack}
        self._serve(job, job.method, served.get(job.method, self._not_served))

    def _serve(
        self,
        job: jobs.RequestJob,
        method: str,
        serve: Callable[[Call, jobs.RequestJob, str], Response | None],
    ) -> None:
        try:
            response = serve(self._call(job), job, method)
        except Refusal as refusal:
            self._refuse(job, method, refusal)
        else:
            if response is not None:
                self._calls.answer(job, response)

    def _refuse(self, job: jobs.RequestJob, method: str, refusal: Refusal) -> None:
        self._calls.logger_of_request(job).info("%s within the dialog refused: %s", method, refusal)
        self._calls.refuse(job, refusal)

    def _call(self, job: jobs.RequestJob) -> Call:
        call = self._store.call(job.dialog)
        if call is None or call.state in _OVER:
            raise Refusal(Cause.NO_DIALOG)
        if job.cseq <= call.remote_cseq:
            raise Refusal(Cause.OLD_CSEQ)
        call.remote_cseq = job.cseq
        return call

    # methods

    def _not_served(self, call: Call, job: jobs.RequestJob, method: str) -> Response:
        return Response(405, "Method Not Allowed", (("Allow", capabilities.ALLOW),))

    def _options(self, call: Call, job: jobs.RequestJob, method: str) -> Response:
        capabilities.refuse_unknown(job.require, ())
        return Response(200, "OK", capabilities.of_focus(self._config))

    def _prack(self, call: Call, job: jobs.RequestJob, method: str) -> Response:
        return self._reliable.on_prack(call, job)

    def _modify(self, call: Call, job: jobs.RequestJob, method: str) -> Response | None:
        """INVITE or UPDATE: a refresh of target and timers, a refresh of the session, or a change of it."""
        capabilities.refuse_unknown(job.require, capabilities.dialog_options(self._config))
        self._timers.check(job)
        if method == "INVITE" or job.body:
            _refuse_early(call)
        job = bodies.plain(job)
        if job.body and not capabilities.is_sdp(job.content_type):
            raise Refusal(Cause.UNSUPPORTED_TYPE)
        self._requests.arrived(call, method, job.cseq, bool(job.body))
        if job.body != call.offer_sdp if job.body else method == "INVITE":
            self._start_change(call, job, method)
            return None
        learn(call, job.headers, job.contact_uri)
        response = self._success(call)
        return response if job.body or method == "INVITE" else replace(response, body="", content_type="")

    # changes

    def _start_change(self, call: Call, job: jobs.RequestJob, method: str) -> None:
        task = asyncio.get_running_loop().create_task(self._run_change(call, job, method))
        self._changes[call.dialog.key] = job, task

    async def _run_change(self, call: Call, job: jobs.RequestJob, method: str) -> None:
        try:
            proposal = await self.change(call, job)
        except Refusal as refusal:
            self._refuse(job, method, refusal)
        except Exception:  # a fault of one request is answered 500 and ends nothing else
            self._calls.logger(call).exception("%s within the dialog failed", method)
            self._refuse(job, method, Refusal(Cause.INTERNAL))
        else:
            learn(call, job.headers, job.contact_uri)
            proposal.settle(self._calls.answer(job, proposal.response))
        finally:
            if self._changes.get(call.dialog.key, (None,))[0] is job:
                del self._changes[call.dialog.key]

    def abandon(self, call_id: str, remote_tag: str, cseq: int | None = None) -> bool:
        """A re-INVITE was cancelled, or its transaction timed out; Kamailio has answered it. False: there is none."""
        for job, task in self._changes.values():
            dialog = job.dialog
            if (dialog.call_id, dialog.remote_tag) == (call_id, remote_tag) and cseq in (None, job.cseq):
                task.cancel()
                self._calls.on_answered(job, 487)
                return True
        return False

    def call_ended(self, call: Call) -> None:
        """A request that is still being worked on gets its answer (RFC 3261 15.1.2)."""
        job, task = self._changes.get(call.dialog.key, (None, None))
        if job is not None and task is not None and task is not asyncio.current_task():
            task.cancel()
            self._calls.answer(job, Response(487, "Request Terminated"))


def _refuse_early(call: Call) -> None:
    """No second offer before the first is answered (RFC 3261 14.2, RFC 3311 5.2). Raises Refusal.

    A 200 without its ACK does not stand in the way: whoever sends on has seen it, and workers run in parallel.
    """
    if call.state is DialogState.PROCEEDING:
        raise Refusal(Cause.OUT_OF_TURN, retry_after=1)
    if not call.offer_sdp:
        raise Refusal(Cause.PENDING, "our offer is not answered yet")
