"""The conference focus: which of its parts each SIP, Mp and operator event is for (RFC 4353, RFC 4579).

Events come in from the engine, and go from part to part: what a part tells by an `on_...` of its own is handed on here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from mrf_protocols.h248.mp import FloorRequestReport, NotifyIndication
from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.calls.connections import Connections
from mrfc.calls.dial_out import DialOuts
from mrfc.calls.early import EarlyRequests
from mrfc.calls.in_dialog import InDialog
from mrfc.calls.initial_invites import InitialInvites
from mrfc.calls.moving import Moves
from mrfc.calls.permits import Permits
from mrfc.calls.records import call_record
from mrfc.calls.referrals import Referrals
from mrfc.calls.rekey import Rekeys
from mrfc.calls.reliable import Reliable
from mrfc.calls.reoffer import Reoffers
from mrfc.calls.requests import Requests
from mrfc.calls.session_timers import SessionTimers
from mrfc.floors.floors import Floors
from mrfc.mixer.legs import Mixer
from mrfc.mp.bearer import Bearers
from mrfc.roster.endings import Endings
from mrfc.roster.notifier import Notifier
from mrfc.sip.dialog import DialogEvent, DialogState
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.trace import SipTrace
from mrfc.state.store import Call, Store


@dataclass(frozen=True, slots=True)
class Focus:
    """One focus per engine, of the parts that composition.py has made."""

    store: Store
    bearers: Bearers
    calls: Calls
    initial_invites: InitialInvites
    in_dialog: InDialog
    requests: Requests
    timers: SessionTimers
    reliable: Reliable
    reoffers: Reoffers
    connections: Connections
    rekeys: Rekeys
    moves: Moves
    dial_outs: DialOuts
    early_requests: EarlyRequests
    permits: Permits
    referrals: Referrals
    floors: Floors
    notifier: Notifier
    endings: Endings
    mixer: Mixer
    trace: SipTrace

    def __post_init__(self) -> None:
        self.calls.on_changed = self._changed
        self.calls.on_leaving = self._leaving
        self.calls.on_ended = self._ended
        self.bearers.on_bound = self._bound
        self.connections.on_secured = self.rekeys.watch
        self.reoffers.on_given_up = self._given_up
        self.moves.on_call_gone = self._bearer_gone
        self.moves.on_floors_gone = self.floors.begin_anew
        self.floors.on_changed = self.notifier.changed

    # SIP

    def on_invite(self, job: jobs.InviteJob) -> None:
        """A new INVITE, or one within a dialog."""
        if job.in_dialog and self.mixer.on_request(job, "INVITE"):
            return
        if job.in_dialog and self.early_requests.keeps(job, self.on_invite):
            return
        self.trace.received(job.dialog, job.cseq, "INVITE", body=job.body, contact=job.contact_uri)
        if job.in_dialog:
            self.in_dialog.on_invite(job)
        else:
            self.initial_invites.on_invite(job)

    def on_ack(self, job: jobs.AckJob) -> None:
        """The ACK of a 200."""
        self.trace.received(job.dialog, job.cseq, "ACK")
        call = self.store.call(job.dialog)
        if call is None:
            return
        self.calls.apply(call, DialogEvent.ACK)
        self.requests.acknowledged(call, job.cseq)
        if not self.initial_invites.on_ack(call, job) and self.reoffers.expects_answer(call, job.cseq):
            self.calls.start(call.dialog.key, self.reoffers.take_answer(call, job))

    def on_bye(self, job: jobs.ByeJob) -> None:
        """The participant leaves, or the mixer does."""
        if self.mixer.on_bye(job) or self.early_requests.keeps(job, self.on_bye):
            return
        self.trace.received(job.dialog, job.cseq, "BYE")
        call = self.store.call(job.dialog)
        gone = call is None or call.state is DialogState.TERMINATED
        if call is None or gone or job.cseq <= call.remote_cseq:
            self.calls.refuse(job, Refusal(Cause.NO_DIALOG if gone else Cause.OLD_CSEQ))
            return
        self.calls.answer(job, Response(200, "OK"))
        call.end_reason = call.end_reason or "BYE"
        self.calls.apply(call, DialogEvent.BYE)

    def on_cancel(self, job: jobs.CancelJob) -> None:
        """Whoever has sent an INVITE does not want to wait."""
        if not self.in_dialog.abandon(job.call_id, job.remote_tag, job.cseq):
            self.initial_invites.on_cancel(job)

    def on_timeout(self, job: jobs.TimeoutJob) -> None:
        """A suspended INVITE ran into its time limit; Kamailio has answered it."""
        if not self.in_dialog.abandon(job.dialog.call_id, job.dialog.remote_tag):
            self.initial_invites.abandon(job.dialog, "timed out")

    def on_response(self, job: jobs.ResponseJob) -> None:
        """The response to a request of ours."""
        if self.mixer.on_response(job):
            return
        self.trace.received_response(job)
        if self.requests.on_response(job):
            return
        if job.method == "INVITE":
            self.dial_outs.on_response(job)
        elif job.method == "NOTIFY" and not self.notifier.on_response(job):
            self.referrals.on_response(job)

    def on_request(self, job: jobs.DialogRequestJob) -> None:
        """Another request within a dialog."""
        if self.mixer.on_request(job, job.method) or self.early_requests.keeps(job, self.on_request):
            return
        self.in_dialog.on_request(job)

    # Mp

    def on_indication(self, mrfp: str, indication: NotifyIndication) -> None:
        """An MRFP tells what became of a termination's connection, or of a floor request."""
        if isinstance(indication, FloorRequestReport):
            self.floors.reported(mrfp, indication)
        else:
            self.connections.told(mrfp, indication)

    def on_mrfp_lost(self, mrfp: str) -> None:
        """An MRFP is gone: the conferences on it have lost their floor control."""
        self.moves.mrfp_lost(mrfp)

    # operators

    async def stop(self) -> None:
        """End every call, as far as that goes without waiting for answers."""
        for call in self.store.calls():
            self.calls.end(call, "MRFC stops")
        self.notifier.stop()

    # from part to part

    def _changed(self, call: Call) -> None:
        self.early_requests.changed(call)
        self.notifier.changed(call)
        self.endings.changed(call)

    def _leaving(self, call: Call) -> None:
        """A call is about to give back what it has."""
        self.floors.left(call)
        self.mixer.left(call)

    def _ended(self, call: Call) -> None:
        """A call has ended, and everything that waits for it is told."""
        self.in_dialog.call_ended(call)
        self.requests.forget(call)
        self.timers.forget(call)
        self.reliable.forget(call)
        self.dial_outs.call_ended(call)
        self.initial_invites.forget(call)
        self.reoffers.forget(call)
        self.connections.forget(call)
        self.rekeys.forget(call)
        self.moves.forget(call)
        self.referrals.call_ended(call)
        self.notifier.call_ended(call)
        self.endings.changed(call)
        if call.joined:
            self.calls.logger(call).info("%s", call_record(call, time.time()))

    def _bound(self, mrfp: str, context: int, termination: str) -> None:
        """A termination has its call."""
        if (call := self.store.call_on(mrfp, context, termination)) is not None:
            self.floors.bound(call)
        self.connections.bound(mrfp, context, termination)

    def _given_up(self, call: Call) -> None:
        """A participant goes on without floor control."""
        self.floors.left(call)
        self.connections.forget(call)
        self.rekeys.forget(call)

    def _bearer_gone(self, call: Call) -> None:
        """All that a participant had at an MRFP has gone with it."""
        self._given_up(call)
        self.reoffers.forget(call)
