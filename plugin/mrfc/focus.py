"""The conference focus: what each SIP, Mp and operator event does to calls and conferences (RFC 4353, RFC 4579).

Thin driver code: the dialog machine decides (dialog.py, run by calls.py), the procedure of an INVITE is written down
in dial_in.py, the state is in the store.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from mrf_ops.logs import BoundLogger, bind
from mrf_protocols.h248.mp import FloorRequestReport, NotifyIndication
from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.calls.carriers import Carriers
from mrfc.calls.connections import Connections
from mrfc.calls.dial_in import DialIn
from mrfc.calls.dial_out import DialOuts
from mrfc.calls.in_dialog import InDialog
from mrfc.calls.late_offer import LateOffers
from mrfc.calls.list_invites import ListInvites
from mrfc.calls.moving import Moves
from mrfc.calls.permits import Permits
from mrfc.calls.records import call_record
from mrfc.calls.referrals import Referrals
from mrfc.calls.rekey import Rekeys
from mrfc.calls.reliable import Reliable
from mrfc.calls.removal import Removals
from mrfc.calls.reoffer import Reoffers
from mrfc.calls.requests import Requests, learn
from mrfc.calls.session_timers import SessionTimers
from mrfc.config import MrfcConfig, identities
from mrfc.floors.floors import Floors
from mrfc.measures import Measures
from mrfc.mixer.legs import Mixer
from mrfc.mp.bearer import Bearers
from mrfc.roster.endings import Endings
from mrfc.roster.notifier import Notifier
from mrfc.sip import capabilities, charging, headers, uri
from mrfc.sip.dialog import DialogEvent, DialogState
from mrfc.sip.identity import is_trusted
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.trace import SipTrace
from mrfc.state.seats import take_seat
from mrfc.state.store import Call, Conference, Store

log = logging.getLogger(__name__)

FLOOR_MARGIN = 5  # seconds that floor requests are kept longer than their call: the end of the call ends them
EARLY_KEPT = 1.0  # seconds that an indication waits for the call it belongs to


@dataclass(frozen=True, slots=True)
class Parts:
    """What the focus works with."""

    config: MrfcConfig
    store: Store
    bearers: Bearers
    calls: Calls
    requests: Requests
    timers: SessionTimers
    reliable: Reliable
    dial_in: DialIn
    dial_outs: DialOuts
    late_offers: LateOffers
    reoffers: Reoffers
    connections: Connections
    rekeys: Rekeys
    floors: Floors
    mixer: Mixer
    trace: SipTrace
    measures: Measures
    new_name: Callable[[], str]  # an unguessable name for a conference made by the factory
    draw: Callable[[int], int]  # an unguessable number below its argument


class Focus:
    """One focus per engine."""

    def __init__(self, parts: Parts) -> None:
        self.calls = parts.calls
        self.calls.on_ended = self.on_ended
        self._early: dict[tuple[str, int, str], NotifyIndication] = {}
        self._config = parts.config
        self._identities = identities(parts.config)
        self._store = parts.store
        self._store.floor_grace = math.ceil(parts.config.sip.reconnect_grace) + FLOOR_MARGIN
        self._bearers = parts.bearers
        self._bearers.on_bound = self._bearer_bound
        self._dial_in = parts.dial_in
        self.requests = parts.requests
        self.timers = parts.timers
        self.reliable = parts.reliable
        self.in_dialog = InDialog(
            parts.config,
            parts.store,
            parts.calls,
            parts.requests,
            parts.timers,
            parts.reliable,
            parts.trace,
            parts.dial_in.success,
            parts.reoffers.change,
        )
        self._reoffers = parts.reoffers
        self._reoffers.on_given_up = self._given_up
        self.connections = parts.connections
        self.rekeys = parts.rekeys
        self.connections.on_secured = self.rekeys.watch
        self.dial_outs = parts.dial_outs
        self._late_offers = parts.late_offers
        self.floors = parts.floors
        self.mixer = parts.mixer
        self.calls.on_leaving = self.on_leaving
        self.moves = Moves(
            parts.store,
            parts.bearers,
            parts.calls,
            parts.connections,
            parts.rekeys,
            parts.measures,
            wanted=parts.config.mp.on_mrfp_loss == "move",
            forget=self._bearer_gone,
            begin_anew=parts.floors.begin_anew,
        )
        self._trace = parts.trace
        self._measures = parts.measures
        self._new_name = parts.new_name
        self._draw = parts.draw
        self.permits = Permits(parts.config, parts.store)
        carriers = Carriers(parts.store)
        self.removals = Removals(parts.store, parts.calls, self.permits, parts.measures)
        self.referrals = Referrals(
            parts.config,
            parts.store,
            parts.calls,
            parts.dial_outs,
            self.permits,
            parts.trace,
            carriers,
            self.removals,
        )
        self.notifier = Notifier(
            parts.config, parts.store, parts.calls, carriers, parts.trace, parts.measures
        )
        self.endings = Endings(parts.store, self.removals)
        self.floors.on_changed = self.notifier.changed
        self.calls.on_changed = self._changed
        self._list_invites = ListInvites(parts.config.dial_out, parts.store, parts.dial_outs, self.permits)

        for conference in parts.config.conference:
            self._store.add_conference(Conference.configured(conference))

    # INVITE

    def on_invite(self, job: jobs.InviteJob) -> None:
        """A new INVITE, or one within a dialog. It is answered later, by a task of its own."""
        if job.in_dialog and self.mixer.on_request(job, "INVITE"):
            return
        self._trace.received(job.dialog, job.cseq, "INVITE", body=job.body, contact=job.contact_uri)
        if job.in_dialog:
            self.in_dialog.on_invite(job)
            return
        self.calls.expect_answer(job)
        self.calls.start(job.dialog.key, self._serve(job))

    async def _serve(self, job: jobs.InviteJob) -> None:
        call: Call | None = None
        try:
            asked = self._list_invites.read(job, self._identities.of(job))
            call = self._admit(asked.job)
            self.reliable.begin(call, asked.job)
            response = await self._session(call, asked.job)
            await self.reliable.acknowledged(call)
        except Refusal as refusal:
            logger = self._logger(job, call)
            logger.warning("INVITE from %s for %s refused: %s", job.from_uri, job.request_uri, refusal)
            self._refuse(job, call, refusal)
        except Exception:  # a fault of one INVITE is answered 500 and ends nothing else
            self._logger(job, call).exception("INVITE from %s for %s failed", job.from_uri, job.request_uri)
            self._refuse(job, call, Refusal(Cause.INTERNAL))
        else:
            if self._accept(job, call, response):
                self._list_invites.dial(call, asked.invitees)

    def _logger(self, job: jobs.InviteJob, call: Call | None) -> BoundLogger:
        return bind(log, call=job.dialog.call_id) if call is None else self.calls.logger(call)

    async def _session(self, call: Call, job: jobs.InviteJob) -> Response:
        """The 200 with our answer, or with our offer where the INVITE has none."""
        if job.body:
            return await self._dial_in.run(call, job)
        if not job.contact_uri:
            raise Refusal(Cause.NO_CONTACT)
        await self._late_offers.make(call)
        return self._dial_in.success(call)

    def _admit(self, job: jobs.InviteJob) -> Call:
        """Find or make the conference and take a seat in it."""
        capabilities.refuse_unknown(job.require, capabilities.invite_options(self._config))
        self.timers.check(job)
        conference = self._conference_for(job)
        user_id = take_seat(self._store, conference, job.dialog.key, self._config.limits)
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
            identity=self._identities.of(job),
            charging=self._charging(job),
        )
        learn(call, job.headers, job.contact_uri)
        self._store.add_call(call)
        return call

    def _charging(self, job: jobs.InviteJob) -> str:
        """The P-Charging-Vector of a new call: that of a trusted neighbour, or one of our own if it is wanted."""
        found = ""
        if is_trusted(job.source, self._config.identity.trusted_networks()):
            found = charging.received(headers.values(job.headers, charging.HEADER))
        if found or not self._config.identity.charging:
            return found
        return charging.made(self._config.sip.domain, secrets.token_hex)

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
        creator = self._identities.of(job)
        owner = factory.owner or creator.uri
        if self._store.owned_by(owner) >= self._config.limits.conferences_per_owner:
            raise Refusal(Cause.FULL, "the caller has as many conferences as he may")
        number = self._store.new_conference_number(self._draw)
        conference = Conference(
            self._new_name(),
            number,
            tuple(factory.floors),
            permanent=False,
            terms=factory,
            owner=owner,
            owner_shown=factory.owner or creator.operators_uri(1),
        )
        self._store.add_conference(conference)
        return conference

    def _accept(self, job: jobs.InviteJob, call: Call, response: Response) -> bool:
        if call.state is not DialogState.PROCEEDING:
            return False
        if not self.calls.answer(job, response):
            self.calls.apply(call, DialogEvent.CANCELLED)  # the transaction went away before we could answer
            return False
        self._measures.invites.labels("accepted").inc()
        self.calls.apply(call, DialogEvent.ACCEPTED)
        plain = "" if call.secured else " WITHOUT TLS"
        control = (
            f"floor control at {call.termination}{plain}" if call.termination else "without floor control"
        )
        self.calls.logger(call).info("%s joined, %s", call.remote_uri, control)
        return True

    def _refuse(self, job: jobs.InviteJob, call: Call | None, refusal: Refusal) -> None:
        self._measures.invites.labels(refusal.cause.name.lower()).inc()
        self.calls.answer(job, refusal.response(self._config.sip.domain))
        if call is not None:
            self.calls.apply(call, DialogEvent.REFUSED)

    # the other requests

    def on_ack(self, job: jobs.AckJob) -> None:
        """The ACK of a 200."""
        self._trace.received(job.dialog, job.cseq, "ACK")
        call = self._store.call(job.dialog)
        if call is None:
            return
        self.calls.apply(call, DialogEvent.ACK)
        self.requests.acknowledged(call, job.cseq)
        if call.state is DialogState.CONFIRMED and self._late_offers.expects_answer(call):
            self.calls.start(call.dialog.key, self._take_answer(call, job))
        elif self._reoffers.expects_answer(call):
            self.calls.start(call.dialog.key, self._reoffers.take_answer(call, job))

    async def _take_answer(self, call: Call, job: jobs.AckJob) -> None:
        """The ACK carries the answer to our offer; one that cannot be accepted ends the call (RFC 3261 14.1)."""
        try:
            await self._late_offers.take(call, job)
        except Refusal as refusal:
            self.calls.logger(call).warning("answer of %s refused: %s", call.remote_uri, refusal)
            self.calls.end(call, str(refusal))
        except Exception:  # a fault of one call ends that call only
            self.calls.logger(call).exception("answer of %s failed", call.remote_uri)
            self.calls.end(call, "a fault of the MRFC")

    def on_bye(self, job: jobs.ByeJob) -> None:
        """The participant leaves, or the mixer does."""
        if self.mixer.on_bye(job):
            return
        self._trace.received(job.dialog, job.cseq, "BYE")
        call = self._store.call(job.dialog)
        gone = call is None or call.state is DialogState.TERMINATED
        if call is None or gone or job.cseq <= call.remote_cseq:
            cause = Cause.NO_DIALOG if gone else Cause.OLD_CSEQ
            self.calls.answer(job, Refusal(cause).response(self._config.sip.domain))
            return
        self.calls.answer(job, Response(200, "OK"))
        call.end_reason = call.end_reason or "BYE"
        self.calls.apply(call, DialogEvent.BYE)

    def on_cancel(self, job: jobs.CancelJob) -> None:
        """The caller does not want to wait; Kamailio has sent 487 already."""
        if self.in_dialog.abandon(job.call_id, job.remote_tag, job.cseq):
            return
        for invite in self.calls.pending_invites():
            dialog = invite.dialog
            if (dialog.call_id, dialog.remote_tag, invite.cseq) == (job.call_id, job.remote_tag, job.cseq):
                self._trace.received(dialog, job.cseq, "CANCEL")
                self._abandon(dialog, "cancelled")

    def on_timeout(self, job: jobs.TimeoutJob) -> None:
        """A suspended INVITE ran into its time limit; Kamailio has answered it."""
        if not self.in_dialog.abandon(job.dialog.call_id, job.dialog.remote_tag):
            self._abandon(job.dialog, "timed out")

    def on_response(self, job: jobs.ResponseJob) -> None:
        """The response to a request of ours."""
        if self.mixer.on_response(job):
            return
        self._trace.received_response(job)
        if self.requests.on_response(job):
            return
        if job.method == "INVITE":
            self.dial_outs.on_response(job)
        elif job.method == "NOTIFY" and not self.notifier.on_response(job):
            self.referrals.on_response(job)

    def on_request(self, job: jobs.DialogRequestJob) -> None:
        """Another request within a dialog."""
        if not self.mixer.on_request(job, job.method):
            self.in_dialog.on_request(job)

    def on_leaving(self, call: Call) -> None:
        """A call is about to give back what it has."""
        self.floors.left(call)
        self.mixer.left(call)

    def _changed(self, call: Call) -> None:
        self.notifier.changed(call)
        self.endings.changed(call)

    def on_ended(self, call: Call) -> None:
        """A call has ended, and everything that waits for it is told."""
        self.in_dialog.call_ended(call)
        self.requests.forget(call)
        self.timers.forget(call)
        self.reliable.forget(call)
        self.dial_outs.call_ended(call)
        self._late_offers.forget(call)
        self._reoffers.forget(call)
        self.connections.forget(call)
        self.rekeys.forget(call)
        self.moves.forget(call)
        self.referrals.call_ended(call)
        self.notifier.call_ended(call)
        self.endings.changed(call)
        if call.joined:
            self.calls.logger(call).info("%s", call_record(call, time.time()))

    def _abandon(self, dialog: jobs.DialogId, why: str) -> None:
        """An INVITE in progress is over; nothing is left to answer."""
        self._measures.invites.labels(why.replace(" ", "_")).inc()
        if (call := self._store.call(dialog)) is not None:
            call.end_reason = why
            self.calls.apply(call, DialogEvent.CANCELLED)

    # events of the bearer side

    def on_indication(self, mrfp: str, indication: NotifyIndication) -> None:
        """An MRFP tells what became of a termination's connection, or of a floor request."""
        if isinstance(indication, FloorRequestReport):
            self.floors.reported(mrfp, indication)
            return
        where = (mrfp, indication.context, indication.termination)
        call = self._store.call_on(*where)
        if call is None:  # quicker than the call that asked for the termination and is told of it just now
            self._early[where] = indication
            asyncio.get_running_loop().call_later(EARLY_KEPT, self._early.pop, where, None)
            return
        self.connections.told(call, indication)

    def _bearer_bound(self, mrfp: str, context: int, termination: str) -> None:
        if (call := self._store.call_on(mrfp, context, termination)) is not None:
            self.floors.bound(call)
        early = self._early.pop((mrfp, context, termination), None)
        if early is not None:
            self.on_indication(mrfp, early)

    def _given_up(self, call: Call) -> None:
        """A participant goes on without floor control."""
        self.floors.left(call)
        self.connections.forget(call)
        self.rekeys.forget(call)

    def _bearer_gone(self, call: Call) -> None:
        """All that a participant had at an MRFP has gone with it."""
        self._given_up(call)
        self._reoffers.forget(call)

    def on_mrfp_lost(self, mrfp: str) -> None:
        """An MRFP is gone: the conferences on it have lost their floor control."""
        self.moves.mrfp_lost(mrfp)

    async def stop(self) -> None:
        """End every call, as far as that goes without waiting for answers."""
        for call in self._store.calls():
            self.calls.end(call, "MRFC stops")
        self.notifier.stop()
