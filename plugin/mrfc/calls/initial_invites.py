"""INVITEs that begin calls: admitted, served, answered, or given up by who has sent them.

What the 200 says is made by `dial_in.py`, or by `late_offer.py` where the INVITE has no offer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mrfc import jobs
from mrfc.calls.admission import Admission
from mrfc.calls.calls import Calls
from mrfc.calls.dial_in import DialIn
from mrfc.calls.late_offer import LateOffers
from mrfc.calls.list_invites import ListInvites
from mrfc.calls.reliable import Reliable
from mrfc.measures import Measures
from mrfc.sip.dialog import DialogEvent, DialogState
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.trace import SipTrace
from mrfc.state.store import Call, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InitialInvites:
    """All of them."""

    store: Store
    calls: Calls
    admission: Admission
    list_invites: ListInvites
    dial_in: DialIn
    late_offers: LateOffers
    reliable: Reliable
    trace: SipTrace
    measures: Measures

    def on_invite(self, job: jobs.InviteJob) -> None:
        """It is answered later, by a task of its own."""
        self.calls.expect_answer(job)
        self.calls.start(job.dialog.key, self._serve(job))

    async def _serve(self, job: jobs.InviteJob) -> None:
        call: Call | None = None
        try:
            asked = self.list_invites.read(job)
            call = self.admission.admit(asked.job)
            self.reliable.begin(call, asked.job)
            response = await self._session(call, asked.job)
            await self.reliable.acknowledged(call)
        except Refusal as refusal:
            logger = self.calls.logger_of_request(job)
            logger.warning("INVITE from %s for %s refused: %s", job.from_uri, job.request_uri, refusal)
            self._refuse(job, call, refusal)
        except Exception:  # a fault of one INVITE is answered 500 and ends nothing else
            self.calls.logger_of_request(job).exception(
                "INVITE from %s for %s failed", job.from_uri, job.request_uri
            )
            self._refuse(job, call, Refusal(Cause.INTERNAL))
        else:
            if self._accept(job, call, response):
                self.list_invites.dial(call, asked.invitees)

    async def _session(self, call: Call, job: jobs.InviteJob) -> Response:
        """The 200 with our answer, or with our offer where the INVITE has none. Raises Refusal."""
        if job.body:
            return await self.dial_in.run(call, job)
        if not job.contact_uri:
            raise Refusal(Cause.NO_CONTACT)
        await self.late_offers.make(call)
        return self.dial_in.success(call)

    def _accept(self, job: jobs.InviteJob, call: Call, response: Response) -> bool:
        if call.state is not DialogState.PROCEEDING:
            return False
        if not self.calls.answer(job, response):
            self.calls.apply(call, DialogEvent.CANCELLED)  # the transaction went away before we could answer
            return False
        self.measures.invites.labels("accepted").inc()
        self.calls.apply(call, DialogEvent.ACCEPTED)
        plain = "" if call.secured else " WITHOUT TLS"
        control = (
            f"floor control at {call.termination}{plain}" if call.termination else "without floor control"
        )
        self.calls.logger(call).info("%s joined, %s", call.remote_uri, control)
        return True

    def _refuse(self, job: jobs.InviteJob, call: Call | None, refusal: Refusal) -> None:
        self.measures.invites.labels(refusal.cause.name.lower()).inc()
        self.calls.refuse(job, refusal)
        if call is not None:
            self.calls.apply(call, DialogEvent.REFUSED)

    # the answer to an offer of ours

    def on_ack(self, call: Call, job: jobs.AckJob) -> bool:
        """An ACK; False when it has no answer to bring to an offer of ours in the 200."""
        if call.state is not DialogState.CONFIRMED or not self.late_offers.expects_answer(call):
            return False
        self.calls.start(call.dialog.key, self._take_answer(call, job))
        return True

    async def _take_answer(self, call: Call, job: jobs.AckJob) -> None:
        """An answer that cannot be accepted ends the call (RFC 3261 14.1)."""
        try:
            await self.late_offers.take(call, job)
        except Refusal as refusal:
            self.calls.logger(call).warning("answer of %s refused: %s", call.remote_uri, refusal)
            self.calls.end(call, str(refusal))
        except Exception:  # a fault of one call ends that call only
            self.calls.logger(call).exception("answer of %s failed", call.remote_uri)
            self.calls.end(call, "a fault of the MRFC")

    # INVITEs that need no answer any more

    def on_cancel(self, job: jobs.CancelJob) -> None:
        """The caller does not want to wait; Kamailio has sent 487 already."""
        for invite in self.calls.pending_invites():
            dialog = invite.dialog
            if (dialog.call_id, dialog.remote_tag, invite.cseq) == (job.call_id, job.remote_tag, job.cseq):
                self.trace.received(dialog, job.cseq, "CANCEL")
                self.abandon(dialog, "cancelled")

    def abandon(self, dialog: jobs.DialogId, why: str) -> None:
        """An INVITE in progress is over; nothing is left to answer."""
        self.measures.invites.labels(why.replace(" ", "_")).inc()
        if (call := self.store.call(dialog)) is not None:
            call.end_reason = why
            self.calls.apply(call, DialogEvent.CANCELLED)

    def forget(self, call: Call) -> None:
        """The call has ended."""
        self.late_offers.forget(call)
