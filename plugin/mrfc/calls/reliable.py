"""Reliable provisional responses of calls (RFC 3262): a 183 to who dials in and wants it so, PRACK to whom we call.

The 183 says that the INVITE is being worked on and carries no session description; the 200 goes after its PRACK.
The machine is in mrfc.sip.reliable.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.config import MrfcConfig
from mrfc.sip import capabilities, headers
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.reliable import FIRST_LIMIT, OPTION, Due, Received, Waiting
from mrfc.sip.sip_dialog import NO_CSEQ, SipDialog, request, route_set_of
from mrfc.sip.trace import SipTrace
from mrfc.state.store import Call


@dataclass(slots=True)
class _Sent:
    job: jobs.InviteJob
    response: Response
    waiting: Waiting
    acknowledged: asyncio.Future[None]
    timer: asyncio.TimerHandle | None = None


class Reliable:
    """All calls that have reliable provisional responses, both directions."""

    def __init__(self, config: MrfcConfig, calls: Calls, trace: SipTrace) -> None:
        self._config = config
        self._calls = calls
        self._trace = trace
        self._sent: dict[jobs.CallKey, _Sent] = {}
        self._received: dict[jobs.CallKey, Received] = {}

    @property
    def waiting(self) -> int:
        """Provisional responses of ours that wait for PRACK."""
        return len(self._sent)

    # those who dial in

    def begin(self, call: Call, job: jobs.InviteJob) -> None:
        """Send a 183, when the INVITE wants one to be sent reliably and the configuration allows it.

        Not for an INVITE without offer: ours would have to be in the 183 (RFC 3262 5).
        """
        if not (job.body and self._wanted(job)):
            return
        rseq = secrets.randbelow(FIRST_LIMIT - 1) + 1
        response = Response(
            183,
            "Session Progress",
            (
                ("Contact", capabilities.contact(self._config.sip, call.conference_user)),
                ("Allow", capabilities.ALLOW),
                ("Require", OPTION),
                ("RSeq", str(rseq)),
            ),
        )
        loop = asyncio.get_running_loop()
        sent = _Sent(job, response, Waiting(rseq, job.cseq, loop.time()), loop.create_future())
        self._sent[call.dialog.key] = sent
        self._send(call, sent)
        self._wait(call, sent)

    def _wanted(self, job: jobs.InviteJob) -> bool:
        mode = self._config.sip.reliable_provisionals
        if OPTION in (tag.strip().lower() for tag in job.require.split(",")):
            return mode != "refuse"
        return mode == "supported" and OPTION in headers.tokens(job.headers, "Supported")

    async def acknowledged(self, call: Call) -> None:
        """Wait for the PRACK, if there is anything to wait for. Raises Refusal when it does not come (RFC 3262 3)."""
        sent = self._sent.get(call.dialog.key)
        if sent is not None:
            try:
                await sent.acknowledged
            finally:
                self.forget(call)

    def on_prack(self, call: Call, job: jobs.RequestJob) -> Response:
        """A PRACK. Raises Refusal: nothing waits for it, or it carries a body, for which there is no reason here."""
        sent = self._sent.get(call.dialog.key)
        if sent is None or not sent.waiting.prack(headers.value(job.headers, "RAck")):
            raise Refusal(Cause.NO_DIALOG, "no provisional response waits for this PRACK")
        if not sent.acknowledged.done():
            sent.acknowledged.set_result(None)
        self._wait(call, sent)
        if job.body:
            raise Refusal(Cause.OFFER_REJECTED, "the offer in the INVITE is not answered yet")
        return Response(200, "OK")

    def _send(self, call: Call, sent: _Sent) -> None:
        if self._calls.sip.provisional(sent.job.transaction, sent.response):
            self._trace.sent_response(call.dialog, sent.job.cseq, "INVITE", sent.response)

    def _wait(self, call: Call, sent: _Sent) -> None:
        if sent.timer is not None:
            sent.timer.cancel()
            sent.timer = None
        if (deadline := sent.waiting.deadline) is not None:
            sent.timer = asyncio.get_running_loop().call_at(deadline, self._tick, call, sent)

    def _tick(self, call: Call, sent: _Sent) -> None:
        now = max(asyncio.get_running_loop().time(), sent.waiting.deadline or 0.0)
        due = sent.waiting.tick(now)
        if due is Due.SEND_AGAIN:
            self._send(call, sent)
        elif due is Due.GIVE_UP and not sent.acknowledged.done():
            sent.acknowledged.set_exception(Refusal(Cause.NO_PRACK))
        self._wait(call, sent)

    # those whom we call

    @staticmethod
    def is_reliable(job: jobs.ResponseJob) -> bool:
        """Whether a provisional response wants a PRACK."""
        return OPTION in headers.tokens(job.headers, "Require")

    def on_provisional(self, call: Call, job: jobs.ResponseJob) -> bool:
        """A 1xx to an INVITE of ours: acknowledged when it is reliable and the next one. True: it counts.

        False for copies, and for what comes before its turn.
        """
        if not self.is_reliable(job):
            return True
        rseq = headers.delta_seconds(headers.value(job.headers, "RSeq"))
        if not self._received.setdefault(call.dialog.key, Received()).accept(job.dialog.remote_tag, rseq):
            return False
        early = SipDialog(
            dialog=job.dialog,
            local_uri=call.local_uri,
            remote_uri=call.remote_uri,
            remote_target=job.contact_uri or call.remote_target,
            route_set=route_set_of(job),
            remote_cseq=NO_CSEQ,
        )
        cseq = call.next_cseq()
        if self._calls.sip.send(request(early, "PRACK", cseq, (("RAck", f"{rseq} {job.cseq} INVITE"),))):
            self._trace.sent(job.dialog, cseq, "PRACK")
        return True

    def forget(self, call: Call) -> None:
        """The INVITE has its final response, or the call has ended."""
        self._received.pop(call.dialog.key, None)
        sent = self._sent.pop(call.dialog.key, None)
        if sent is not None:
            if sent.timer is not None:
                sent.timer.cancel()
            if not sent.acknowledged.done():
                sent.acknowledged.cancel()
