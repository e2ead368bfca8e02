"""The dial-out procedure of the MRFC, steps 1 to 11 (TS 23.333 6.2.19.3.2): it calls a participant into a conference.

Kamailio's transaction layer sends the ACK of a 2xx as soon as that comes; the MRFP has listened since the reservation
and starts nothing before it is configured, so the order of ACK and Configure does not matter to anybody.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from mrf_protocols.mikey import MikeyError, TransferInitiator, kms_user_identity
from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.calls.offerer import Offer, Offerer
from mrfc.calls.reliable import Reliable
from mrfc.calls.requests import learn
from mrfc.calls.session_timers import SessionTimers
from mrfc.config import MrfcConfig
from mrfc.keys.errors import said_of
from mrfc.measures import Measures
from mrfc.sip import capabilities, charging
from mrfc.sip.dialog import DialogEvent, DialogState
from mrfc.sip.identity import Identities, Identity
from mrfc.sip.port import OutgoingRequest
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.sip_dialog import NO_CSEQ, SipDialog, bye, new_dialog_id, route_set_of
from mrfc.sip.trace import SipTrace
from mrfc.state import store
from mrfc.state.seats import take_seat

log = logging.getLogger(__name__)

ENDED_KEPT = (
    10_000  # calls that a late 2xx is known to belong to; no stranger's 2xx makes us send a BYE anywhere
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a dial-out stands or ended, in SIP's terms: 1xx on its way, 2xx joined, others failed."""

    status: int
    reason: str


Watcher = Callable[[Outcome], None]


@dataclass(slots=True)
class _Invite:
    """What an INVITE of ours says, and the reliable provisional response that has answered its offer."""

    offer: str
    referred_by: str
    transfer: TransferInitiator | None
    answer: jobs.ResponseJob | None = None


class DialOuts:
    """All calls that the focus makes."""

    def __init__(
        self,
        config: MrfcConfig,
        calls_store: store.Store,
        calls: Calls,
        offerer: Offerer,
        timers: SessionTimers,
        reliable: Reliable,
        identities: Identities,
        trace: SipTrace,
        measures: Measures,
    ) -> None:
        self._config = config
        self._store = calls_store
        self._calls = calls
        self._offerer = offerer
        self._timers = timers
        self._reliable = reliable
        self._trace = trace
        self._measures = measures
        self._identities = identities
        self._answers: dict[jobs.CallKey, asyncio.Future[jobs.ResponseJob]] = {}
        self._invites: dict[jobs.CallKey, _Invite] = {}
        self._watchers: dict[jobs.CallKey, Watcher] = {}
        self._ended: dict[jobs.CallKey, None] = {}

    @property
    def waiting(self) -> int:
        """Calls of ours that wait for their final response."""
        return len(self._answers)

    def start(
        self,
        conference: store.Conference,
        invitee: str,
        watcher: Watcher | None = None,
        referred_by: str = "",
        vector: str = "",
    ) -> store.Call:
        """Call `invitee`, a SIP URI, into a conference. `watcher` is told each step until the final one. `vector` is
        the P-Charging-Vector of the call that wants it.

        Raises Refusal when there is no seat, or the URI is none.
        """
        try:
            identity = kms_user_identity(invitee)
        except MikeyError as error:
            raise Refusal(Cause.BAD_INVITEE, error.text) from error
        dialog = new_dialog_id(self._config.sip.domain)
        call = store.Call(
            dialog=dialog,
            conference_user=conference.user,
            conference_id=conference.conference_id,
            user_id=take_seat(self._store, conference, dialog.key, self._config.limits),
            local_uri=f"sip:{conference.user}@{self._config.sip.domain}",
            remote_uri=invitee,
            remote_target=invitee,
            route_set=(),
            remote_cseq=NO_CSEQ,
            owns_call_id=True,
            state=DialogState.PREPARING,
            dialed_out=True,
            identity=Identity(invitee, operators_know=self._identities.operators_know),
            charging=vector or self._own_vector(),
        )
        self._store.add_call(call)
        if watcher is not None:
            self._watchers[dialog.key] = watcher
        self._calls.start(dialog.key, self._run(call, identity, referred_by))
        return call

    def _own_vector(self) -> str:
        if not self._config.identity.charging:
            return ""
        return charging.made(self._config.sip.domain, secrets.token_hex)

    async def _run(self, call: store.Call, identity: str, referred_by: str) -> None:
        try:
            offer = await self._offerer.make(call, kms_user_identity(call.local_uri), identity)
            answer = await self._invite(call, offer, referred_by)
            await self._offerer.take(call, offer, answer.content_type, answer.body)
        except Refusal as refusal:
            self._calls.logger(call).warning("dial-out to %s failed: %s", call.remote_uri, refusal)
            self._fail(call, Outcome(refusal.cause.value.status, refusal.cause.value.reason), str(refusal))
        except TimeoutError:
            self._calls.logger(call).warning("dial-out to %s failed: no answer", call.remote_uri)
            self._fail(call, Outcome(408, "Request Timeout"), "no answer")
        except Exception:  # a fault of one dial-out ends that call only
            self._calls.logger(call).exception("dial-out to %s failed", call.remote_uri)
            self._fail(call, Outcome(500, "Server Internal Error"), "a fault of the MRFC")
        else:
            self._measures.dial_outs.labels("joined").inc()
            self._calls.logger(call).info("%s joined, floor control at %s", call.remote_uri, call.termination)
            self._tell(call, Outcome(200, "OK"))

    async def _invite(self, call: store.Call, offer: Offer, referred_by: str) -> jobs.ResponseJob:
        """Send the INVITE and wait for the 2xx. Raises TimeoutError; a refusal cancels this task."""
        answer: asyncio.Future[jobs.ResponseJob] = asyncio.get_running_loop().create_future()
        self._answers[call.dialog.key] = answer
        self._invites[call.dialog.key] = _Invite(offer.body, referred_by, offer.transfer)
        try:
            if not self._send(call):
                raise Refusal(Cause.UNREACHABLE, "the INVITE could not be sent")
            self._calls.apply(call, DialogEvent.INVITED)
            async with asyncio.timeout(self._config.dial_out.ring_timeout):
                final = await answer
            early = self._invites[call.dialog.key].answer
            if early is not None and early.dialog.remote_tag == final.dialog.remote_tag:
                return early
            return final
        finally:
            self._answers.pop(call.dialog.key, None)
            self._invites.pop(call.dialog.key, None)

    def _send(self, call: store.Call) -> bool:
        """Send the INVITE, for the first time or another one after a 422."""
        call.invite_cseq = call.next_cseq()
        invite = self._invites[call.dialog.key]
        sent = self._calls.sip.send(self._request(call, invite))
        if sent:
            self._trace.sent(call.dialog, call.invite_cseq, "INVITE", invite.offer, to=call.remote_uri)
        return sent

    def _request(self, call: store.Call, invite: _Invite) -> OutgoingRequest:
        headers = [
            ("From", f"<{call.local_uri}>;tag={call.dialog.local_tag}"),
            ("To", f"<{call.remote_uri}>"),
            ("Call-ID", call.dialog.call_id),
            ("CSeq", f"{call.invite_cseq} INVITE"),
            ("Contact", capabilities.contact(self._config.sip, call.conference_user)),
            ("Allow", capabilities.ALLOW),
            ("Supported", capabilities.supported(self._config)),
            *self._timers.ask(call, "INVITE"),
            ("Request-Disposition", "no-fork"),  # one key, one participant (RFC 3841 9.1)
            ("Content-Type", capabilities.SDP),
        ]
        if self._config.identity.assert_own:  # RFC 3325 9.1
            headers.append(("P-Asserted-Identity", f"<{call.local_uri}>"))
        headers += charging.fields(call.charging)
        if invite.referred_by:
            headers.append(("Referred-By", invite.referred_by))
        return OutgoingRequest(
            "INVITE", call.remote_target, self._config.dial_out.next_hop, tuple(headers), invite.offer
        )

    # responses to our INVITEs

    def on_response(self, job: jobs.ResponseJob) -> None:
        """Any response to an INVITE of ours, in any order and number."""
        call = self._store.call_with(job.dialog.key)
        if call is None:
            if 200 <= job.status < 300 and job.dialog.key in self._ended:
                self._hang_up(job)  # it came after we had given up
            return
        if call.state is DialogState.CALLING and job.cseq != call.invite_cseq:
            return  # again a 422 that has had its consequences
        if job.status < 200:
            self._progress(call, job)
        elif job.status < 300:
            self._succeeded(call, job)
        else:
            self._refused(call, job)

    def _progress(self, call: store.Call, job: jobs.ResponseJob) -> None:
        """A provisional response; what a reliable one carries is the answer to our offer (RFC 3262 5)."""
        reliable = Reliable.is_reliable(job)
        if not self._reliable.on_provisional(call, job):
            return
        invite = self._invites.get(call.dialog.key)
        if invite is not None and reliable and job.body and invite.answer is None:
            invite.answer = job
        self._tell(call, Outcome(job.status, job.reason))

    def _succeeded(self, call: store.Call, job: jobs.ResponseJob) -> None:
        if call.dialog.remote_tag and call.dialog.remote_tag != job.dialog.remote_tag:
            self._hang_up(job)  # the call was forked, and another branch was quicker
            return
        if call.state not in (DialogState.CALLING, DialogState.CANCELLING):
            return  # a retransmission
        call.dialog = job.dialog
        learn(call, job.headers, job.contact_uri)
        call.route_set = route_set_of(job)
        self._timers.agreed(call, job)
        answer = self._answers.get(call.dialog.key)
        call.identity = self._identities.of_callee(job, call.identity.uri)
        self._calls.apply(call, DialogEvent.SUCCESS)
        if answer is not None and not answer.done():
            answer.set_result(job)

    def _refused(self, call: store.Call, job: jobs.ResponseJob) -> None:
        if call.state is DialogState.CALLING and self._tries_again(call, job):
            return
        if call.state is DialogState.CALLING:
            invite = self._invites.get(call.dialog.key)
            transfer = None if invite is None else invite.transfer
            why = "" if transfer is None else said_of(transfer, job.content_type, job.body)
            call.end_reason = call.end_reason or f"{job.status} {job.reason}" + (f": {why}" if why else "")
            self._calls.logger(call).warning("dial-out to %s refused: %s", call.remote_uri, call.end_reason)
            self._measures.dial_outs.labels(str(job.status)).inc()
            self._tell(call, Outcome(job.status, job.reason))
        self._calls.apply(call, DialogEvent.FAILURE)

    def _tries_again(self, call: store.Call, job: jobs.ResponseJob) -> bool:
        """Send the INVITE anew after a 422, with the interval that it asks for (RFC 4028 7.3)."""
        if job.status != 422 or call.dialog.key not in self._invites:
            return False
        return self._timers.too_small(call, job) and self._send(call)

    def _hang_up(self, job: jobs.ResponseJob) -> None:
        """End a dialog that nobody wants; Kamailio has acknowledged its 2xx."""
        unwanted = SipDialog(
            dialog=job.dialog,
            local_uri=job.from_uri,
            remote_uri=job.to_uri,
            remote_target=job.contact_uri,
            route_set=route_set_of(job),
            remote_cseq=NO_CSEQ,
            local_cseq=job.cseq,
        )
        if self._calls.sip.send(bye(unwanted, "not wanted")):
            self._trace.sent(job.dialog, unwanted.local_cseq, "BYE", reason="not wanted")

    def _fail(self, call: store.Call, outcome: Outcome, reason: str) -> None:
        self._measures.dial_outs.labels(str(outcome.status)).inc()
        self._tell(call, outcome)
        self._calls.end(call, reason, outcome.status)

    def _tell(self, call: store.Call, outcome: Outcome) -> None:
        key = call.dialog.key
        watcher = self._watchers.get(key) if outcome.status < 200 else self._watchers.pop(key, None)
        if watcher is not None:
            watcher(outcome)

    def call_ended(self, call: store.Call) -> None:
        """A call has ended in whatever way; who still watches it is told."""
        self._ended[call.dialog.key] = None
        if len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
        self._tell(call, Outcome(487, "Request Terminated"))
