"""The conference focus: what each SIP, Mp and operator event does to calls and conferences (RFC 4353, RFC 4579).

Thin driver code: the dialog machine decides (dialog.py), the procedure of an INVITE is written down in dial_in.py, the
state is in the store. This class runs them, keeps their tasks and timers, and gives everything back when a call ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from mrf_ops.logs import bind
from mrfc import jobs, uri
from mrfc.bearer import Bearers
from mrfc.config import MrfcConfig
from mrfc.dial_in import DialIn
from mrfc.dialog import DialogAction, DialogEvent, DialogState, step
from mrfc.measures import Measures
from mrfc.refusal import Cause, Refusal
from mrfc.sip_port import InDialogRequest, Response, SipPort
from mrfc.sip_trace import SipTrace
from mrfc.store import Call, Conference, NoFreeNumber, Store

log = logging.getLogger(__name__)

ACCEPTED_OPTIONS: frozenset[str] = frozenset()  # option tags of Require that we have: none yet
FIRST_FACTORY_NUMBER = 1_000_000  # BFCP conference ids below are left to configured conferences


@dataclass(frozen=True, slots=True)
class Parts:
    """What the focus works with."""

    config: MrfcConfig
    store: Store
    bearers: Bearers
    dial_in: DialIn
    trace: SipTrace
    measures: Measures
    new_name: Callable[[], str]  # an unguessable name for a conference made by the factory


class Focus:
    """One focus per engine. `sip` may be replaced while calls stand (the script was reloaded)."""

    def __init__(self, parts: Parts, sip: SipPort) -> None:
        self.sip = sip
        self._config = parts.config
        self._store = parts.store
        self._bearers = parts.bearers
        self._dial_in = parts.dial_in
        self._trace = parts.trace
        self._measures = parts.measures
        self._new_name = parts.new_name
        self._serving: dict[jobs.DialogId, tuple[asyncio.Task[None], jobs.InviteJob]] = {}
        self._ack_timers: dict[jobs.DialogId, asyncio.TimerHandle] = {}
        for conference in parts.config.conference:
            self._store.add_conference(
                Conference(conference.user, conference.id, tuple(conference.floors), permanent=True)
            )

    # INVITE

    def on_invite(self, job: jobs.InviteJob) -> None:
        """A new INVITE, or one within a dialog. It is answered later, by a task of its own."""
        self._trace.received(job.dialog, job.cseq, "INVITE", sdp=job.body, contact=job.contact_uri)
        if job.in_dialog:
            self._on_reinvite(job)
            return
        task = asyncio.get_running_loop().create_task(self._serve(job))
        self._serving[job.dialog] = (task, job)
        task.add_done_callback(lambda _: self._serving.pop(job.dialog, None))

    async def _serve(self, job: jobs.InviteJob) -> None:
        calls = bind(log, call=job.dialog.call_id)
        call: Call | None = None
        try:
            call = self._admit(job)
            response = await self._dial_in.run(call, job)
        except Refusal as refusal:
            calls.warning("INVITE from %s for %s refused: %s", job.from_uri, job.request_uri, refusal)
            self._refuse(job, call, refusal)
        except Exception:
            calls.exception("INVITE from %s for %s failed", job.from_uri, job.request_uri)
            self._refuse(job, call, Refusal(Cause.INTERNAL))
        else:
            self._accept(job, call, response)

    def _admit(self, job: jobs.InviteJob) -> Call:
        """Find or make the conference and take a seat in it."""
        unknown = [tag for tag in _tokens(job.require) if tag not in ACCEPTED_OPTIONS]
        if unknown:
            raise Refusal(Cause.BAD_EXTENSION, ", ".join(unknown))
        conference = self._conference_for(job)
        if len(conference.seats) >= self._config.limits.participants:
            raise Refusal(Cause.FULL, "the conference has no seat left")
        try:
            user_id = self._store.take_seat(conference, job.dialog)
        except NoFreeNumber:
            raise Refusal(Cause.FULL, "the conference has no user id left") from None
        routes = uri.split_routes(job.record_route)
        call = Call(
            dialog=job.dialog,
            conference_user=conference.user,
            user_id=user_id,
            local_uri=job.to_uri,
            remote_uri=job.from_uri,
            remote_target=job.contact_uri,
            route_set=routes,
            remote_cseq=job.cseq,
        )
        self._store.add_call(call)
        return call

    def _conference_for(self, job: jobs.InviteJob) -> Conference:
        try:
            user = uri.user_of(job.request_uri)
        except uri.UriError:
            raise Refusal(Cause.UNKNOWN_CONFERENCE) from None
        if (conference := self._store.conference(user)) is not None:
            return conference
        factory = self._config.factory
        if factory is None or user != factory.user:
            raise Refusal(Cause.UNKNOWN_CONFERENCE)
        if len(self._store.conferences()) >= self._config.limits.conferences:
            raise Refusal(Cause.FULL, "no room for another conference")
        used = self._store.conference_numbers()
        number = next(n for n in range(FIRST_FACTORY_NUMBER, 2**32) if n not in used)
        conference = Conference(self._new_name(), number, tuple(factory.floors), permanent=False)
        self._store.add_conference(conference)
        return conference

    def _accept(self, job: jobs.InviteJob, call: Call, response: Response) -> None:
        if call.state is not DialogState.PROCEEDING:
            return
        if not self.sip.answer(job.transaction, response):
            self.apply(call, DialogEvent.CANCELLED)  # the transaction went away before we could answer
            return
        self._trace.sent_response(job.dialog, job.cseq, "INVITE", response)
        self._measures.invites.labels("accepted").inc()
        self.apply(call, DialogEvent.ACCEPTED)
        bind(log, call=job.dialog.call_id, conference=call.conference_user, user=str(call.user_id)).info(
            "%s joined, floor control at %s", call.remote_uri, call.termination
        )

    def _refuse(self, job: jobs.InviteJob, call: Call | None, refusal: Refusal) -> None:
        self._measures.invites.labels(refusal.cause.name.lower()).inc()
        self._answer(
            job.transaction, job.dialog, job.cseq, "INVITE", refusal.response(self._config.sip.domain)
        )
        if call is not None:
            self.apply(call, DialogEvent.REFUSED)

    def _on_reinvite(self, job: jobs.InviteJob) -> None:
        """An INVITE within a dialog: the same session again is confirmed, a changed one is refused.

        After a 488 the session stays as it was before (RFC 3261 14.2).
        """
        try:
            response = self._refresh(job)
        except Refusal as refusal:
            response = refusal.response(self._config.sip.domain)
        self._answer(job.transaction, job.dialog, job.cseq, "INVITE", response)

    def _refresh(self, job: jobs.InviteJob) -> Response:
        call = self._store.call(job.dialog)
        if call is None or call.state in (DialogState.ENDING, DialogState.TERMINATED):
            raise Refusal(Cause.NO_DIALOG)
        if job.cseq <= call.remote_cseq:
            raise Refusal(Cause.OLD_CSEQ)
        call.remote_cseq = job.cseq
        if call.state is not DialogState.CONFIRMED:
            raise Refusal(Cause.PENDING)
        if job.body and job.body != call.offer_sdp:
            raise Refusal(Cause.REOFFER)
        call.remote_target = job.contact_uri or call.remote_target
        return self._dial_in.success(call)

    # the other requests

    def on_ack(self, job: jobs.AckJob) -> None:
        """The ACK of a 200."""
        self._trace.received(job.dialog, job.cseq, "ACK")
        if (call := self._store.call(job.dialog)) is not None:
            self.apply(call, DialogEvent.ACK)

    def on_bye(self, job: jobs.ByeJob) -> None:
        """The participant leaves."""
        self._trace.received(job.dialog, job.cseq, "BYE")
        call = self._store.call(job.dialog)
        if call is None or call.state is DialogState.TERMINATED:
            refusal = Refusal(Cause.NO_DIALOG)
            self._answer(
                job.transaction, job.dialog, job.cseq, "BYE", refusal.response(self._config.sip.domain)
            )
            return
        self._answer(job.transaction, job.dialog, job.cseq, "BYE", Response(200, "OK"))
        call.end_reason = "BYE"
        self.apply(call, DialogEvent.BYE)

    def on_cancel(self, job: jobs.CancelJob) -> None:
        """The caller does not want to wait; Kamailio has sent 487 already."""
        for dialog, (_, invite) in list(self._serving.items()):
            if (dialog.call_id, dialog.remote_tag, invite.cseq) == (job.call_id, job.remote_tag, job.cseq):
                self._trace.received(dialog, job.cseq, "CANCEL")
                self._abandon(dialog, "cancelled")

    def on_timeout(self, job: jobs.TimeoutJob) -> None:
        """A suspended INVITE ran into its time limit; Kamailio has answered it."""
        self._abandon(job.dialog, "timed out")

    def on_response(self, job: jobs.ResponseJob) -> None:
        """The response to a BYE of ours."""
        self._trace.received_response(job.dialog, job.cseq, job.method, job.status, job.reason)

    # events of the bearer side

    def on_bearer_ended(self, mrfp: str, context: int, termination: str, reason: str) -> None:
        """The MRFP says that a termination has no connection (any more)."""
        call = self._store.call_on(mrfp, context, termination)
        if call is not None:
            self.end(call, reason)

    def on_mrfp_lost(self, mrfp: str) -> None:
        """An MRFP is gone: the conferences on it have lost their floor control."""
        for call in list(self._store.calls_on(mrfp)):
            self._bearers.forget(call)
            self.end(call, "MRFP lost")
        self._bearers.mrfp_lost(mrfp)

    # the end of calls

    def end(self, call: Call, reason: str) -> None:
        """End a call from our side."""
        call.end_reason = call.end_reason or reason
        self.apply(call, DialogEvent.LOCAL_END)

    def apply(self, call: Call, event: DialogEvent) -> None:
        """Run an event through the dialog machine and do what it says."""
        call.state, actions = step(call.state, event)
        for action in actions:
            self._do(call, action)
        if call.state is DialogState.TERMINATED:
            self._store.remove_call(call)

    def _do(self, call: Call, action: DialogAction) -> None:
        if action is DialogAction.AWAIT_ACK:
            self._ack_timers[call.dialog] = asyncio.get_running_loop().call_later(
                self._config.sip.ack_timeout, self._ack_missing, call
            )
        elif action is DialogAction.STOP_AWAITING_ACK:
            if (timer := self._ack_timers.pop(call.dialog, None)) is not None:
                timer.cancel()
        elif action is DialogAction.SEND_BYE:
            self._send_bye(call)
        elif action is DialogAction.REFUSE_INVITE:
            self._refuse_pending(call)
        elif action is DialogAction.RELEASE:
            self._release(call)

    def _ack_missing(self, call: Call) -> None:
        self._ack_timers.pop(call.dialog, None)
        call.end_reason = "no ACK"
        self.apply(call, DialogEvent.ACK_TIMEOUT)

    def _refuse_pending(self, call: Call) -> None:
        serving = self._serving.get(call.dialog)
        if serving is not None:
            _, job = serving
            self._answer(job.transaction, job.dialog, job.cseq, "INVITE", Response(487, "Request Terminated"))

    def _release(self, call: Call) -> None:
        serving = self._serving.get(call.dialog)
        if serving is not None and serving[0] is not asyncio.current_task():
            serving[0].cancel()
        self._bearers.give_back(call)
        bind(log, call=call.dialog.call_id, conference=call.conference_user, user=str(call.user_id)).info(
            "%s left: %s", call.remote_uri, call.end_reason or "INVITE refused"
        )

    def _abandon(self, dialog: jobs.DialogId, why: str) -> None:
        """An INVITE in progress is over; nothing is left to answer."""
        call = self._store.call(dialog)
        self._measures.invites.labels(why.replace(" ", "_")).inc()
        if call is not None:
            call.end_reason = why
            self.apply(call, DialogEvent.CANCELLED)

    def _send_bye(self, call: Call) -> None:
        call.local_cseq += 1
        request = bye(call)
        if not self.sip.send(request):
            log.error("BYE could not be sent", extra={"call": call.dialog.call_id})
        self._trace.sent(call.dialog, call.local_cseq, "BYE", reason=call.end_reason)

    def _answer(
        self,
        transaction: jobs.TransactionId,
        dialog: jobs.DialogId,
        cseq: int,
        method: str,
        response: Response,
    ) -> None:
        if self.sip.answer(transaction, response):
            self._trace.sent_response(dialog, cseq, method, response)

    async def stop(self) -> None:
        """End every call, as far as that goes without waiting for answers."""
        for call in self._store.calls():
            self.end(call, "MRFC stops")


def bye(call: Call) -> InDialogRequest:
    """The BYE that ends a call from our side (RFC 3261 12.2.1.1, 15.1.1), with a Reason (RFC 3326)."""
    headers = [
        ("From", f"<{call.local_uri}>;tag={call.dialog.local_tag}"),
        ("To", f"<{call.remote_uri}>;tag={call.dialog.remote_tag}"),
        ("Call-ID", call.dialog.call_id),
        ("CSeq", f"{call.local_cseq} BYE"),
        ("Reason", f'SIP;cause=503;text="{call.end_reason}"'),
    ]
    target, routes = call.remote_target, call.route_set
    if routes and uri.is_strict_router(
        routes[0]
    ):  # RFC 3261 12.2.1.1: the strict router's URI goes to the request line
        target, routes = uri.address_of(routes[0]), (*routes[1:], f"<{call.remote_target}>")
        next_hop = target
    else:
        next_hop = uri.address_of(routes[0]) if routes else ""
    headers += [("Route", route) for route in routes]
    return InDialogRequest("BYE", target, next_hop, tuple(headers))


def _tokens(header: str) -> list[str]:
    return [token.strip().lower() for token in header.split(",") if token.strip()]
