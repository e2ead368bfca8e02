"""The legs to the mixer: runs a pair for each participant with media, and does what it says.

The focus asks `serve` for whatever an offer has beside BFCP, for first offers and later ones alike, and tells `left`
when a participant goes. What comes from the mixer is handed in by `on_response`, `on_request` and `on_bye`, which say
whether it was for a leg.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from mrf_ops.logs import BoundLogger, bind
from mrf_protocols import sdp
from mrf_protocols.sdp import Mixed, SdpError, SessionDescription
from mrfc import jobs
from mrfc.config import MrfcConfig
from mrfc.measures import Measures
from mrfc.mixer.pair import AWAITING, PairAction, PairEvent, PairState, step
from mrfc.sip import capabilities, uri
from mrfc.sip.bodies import session_description
from mrfc.sip.port import Response, SipPort
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.sip_dialog import request
from mrfc.sip.trace import SipTrace
from mrfc.sip.turns import ENDS_DIALOG
from mrfc.state.mixer_leg import MixerLeg
from mrfc.state.store import Call

log = logging.getLogger(__name__)


class Participants(Protocol):
    """The participants' dialogs, as the mixer's side needs them."""

    async def offer(self, call: Call, offer: SessionDescription) -> SessionDescription:
        """Offer a participant what the mixer wants to change; gives his answer. Raises Refusal."""
        ...

    def lost(self, call: Call, why: str) -> None:
        """The mixer does not serve a participant's media any more."""
        ...


class _Change(enum.Enum):
    """What the last offer of the participant has changed at the mixer, until it is settled."""

    NONE = "none"
    NEW = "new leg"
    OTHER = "other media"
    END = "no media"  # the leg ends when that is settled


@dataclass(slots=True, eq=False)
class _Pair:
    """A participant's call and its leg."""

    call: Call
    leg: MixerLeg
    state: PairState = PairState.ASKING
    offered: SessionDescription | None = None  # at the mixer, or accepted by it
    accepted: SessionDescription | None = None  # the last that it accepted
    participant: SessionDescription | None = None  # what `offered` was made of
    mixed: Mixed = field(default_factory=Mixed)
    before: tuple[SessionDescription, Mixed] | None = None  # `accepted` and `mixed` before the last change
    change: _Change = _Change.NONE
    waiter: asyncio.Future[Mixed] | None = None
    cseq: int = 0  # of our INVITE under way
    timer: asyncio.TimerHandle | None = None
    asked: tuple[jobs.RequestJob, str] | None = None  # the mixer's INVITE or UPDATE under way
    wanted: SessionDescription | None = None  # what it offers
    reply: SessionDescription | None = None  # what the participant says to that
    refusal: Refusal | None = None  # or what he is refused with
    task: asyncio.Task[None] | None = None
    why: str = ""
    glare: bool = False  # the mixer's last word was 491: it offers something itself


class Mixer:
    """All legs. `sip` gives the SIP port of the moment; `random` that many random octets."""

    def __init__(
        self,
        config: MrfcConfig,
        sip: Callable[[], SipPort],
        trace: SipTrace,
        measures: Measures,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._settings = config.mixer
        self._sip = sip
        self._trace = trace
        self._measures = measures
        self._random = random
        self._pairs: dict[jobs.CallKey, _Pair] = {}  # by the call's key
        self._legs: dict[jobs.CallKey, _Pair] = {}  # by the leg's key
        self.participants: Participants | None = None
        measures.mixer_legs.set_function(lambda: len(self._legs))

    @property
    def standing(self) -> int:
        """Legs that stand, are being set up, or end."""
        return len(self._legs)

    def has(self, key: jobs.CallKey) -> bool:
        """Whether a dialog of ours is a leg."""
        return key in self._legs

    # the participant

    async def serve(self, call: Call, offer: SessionDescription) -> Mixed:
        """What the mixer serves of a participant's offer; nothing where there is no mixer. Raises Refusal.

        Cancelling this takes the offer back. `settle` says what became of a change of a standing session.
        """
        if not self._settings.uri:
            return Mixed()
        pair = self._pairs.get(call.dialog.key)
        if pair is not None and pair.state is not PairState.STANDING:
            raise Refusal(Cause.PENDING)
        if not sdp.has_mixable(offer):
            if pair is not None:
                pair.change = _Change.END
            return Mixed()
        if pair is not None and self._is_known(pair, offer):
            pair.change = _Change.NONE
            return pair.mixed
        waiter: asyncio.Future[Mixed] = asyncio.get_running_loop().create_future()
        if pair is None:
            pair = self._new(call)
            pair.waiter, pair.change = waiter, _Change.NEW
            self._ask(pair, offer)
        else:
            pair.before = None if pair.accepted is None else (pair.accepted, pair.mixed)
            pair.participant, pair.waiter, pair.change = offer, waiter, _Change.OTHER
            self._apply(pair, PairEvent.REOFFER)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._apply(pair, PairEvent.WITHDRAWN)
            self.settle(call, sent=False)  # where the answer came at the same moment
            raise

    def settle(self, call: Call, sent: bool) -> None:
        """Our 2xx to the last offer of a participant went out, or his change has come to nothing."""
        pair = self._pairs.get(call.dialog.key)
        if pair is None:
            return
        change, pair.change = pair.change, _Change.NONE
        if change is (_Change.END if sent else _Change.NEW):
            self._apply(pair, PairEvent.LEFT)
        elif change is _Change.OTHER and not sent and pair.before is not None:
            pair.accepted, pair.mixed = pair.before
            self._apply(pair, PairEvent.UNDONE)

    def left(self, call: Call) -> None:
        """A participant has gone, or his media have."""
        pair = self._pairs.get(call.dialog.key)
        if pair is not None:
            self._apply(pair, PairEvent.LEFT)

    def _is_known(self, pair: _Pair, offer: SessionDescription) -> bool:
        accepted = pair.accepted
        return accepted is not None and sdp.offer_to_mixer(offer, accepted.origin) == accepted

    def _new(self, call: Call) -> _Pair:
        to = self._settings.uri_of(call.conference_user)
        leg = MixerLeg(
            dialog=jobs.DialogId(
                f"{secrets.token_hex(16)}@{self._config.sip.domain}", secrets.token_hex(12), ""
            ),
            local_uri=f"sip:{call.conference_user}@{self._config.sip.domain}",
            remote_uri=to,
            remote_target=to,
            route_set=(),
            remote_cseq=-1,
            owns_call_id=True,
        )
        pair = _Pair(call, leg)
        self._pairs[call.dialog.key] = self._legs[leg.dialog.key] = pair
        return pair

    # requests to the mixer

    def _ask(self, pair: _Pair, offer: SessionDescription) -> None:
        """The first INVITE."""
        host = uri.host_of(f"sip:{self._config.sip.contact}").strip("[]")
        origin = sdp.Origin.of(host, int.from_bytes(self._random(4)))
        pair.participant, pair.offered = offer, sdp.offer_to_mixer(offer, origin)
        self._send(pair)

    def _forward(self, pair: _Pair) -> None:
        if pair.accepted is None or pair.participant is None:
            raise LookupError("a leg that stands has an offer")
        offered = sdp.offer_to_mixer(pair.participant, pair.accepted.origin)
        pair.offered = sdp.successor(pair.offered or pair.accepted, offered)
        self._send(pair)

    def _restore(self, pair: _Pair) -> None:
        if pair.accepted is None or pair.offered is None:
            raise LookupError("a leg that is restored has had an offer")
        pair.offered = sdp.successor(pair.offered, pair.accepted)
        self._send(pair)

    def _send(self, pair: _Pair) -> None:
        leg, offered = pair.leg, pair.offered
        if offered is None:
            raise LookupError("there is nothing to offer")
        body, pair.cseq = sdp.serialize(offered), leg.next_cseq()
        headers = (
            ("Contact", capabilities.contact(self._config.sip, pair.call.conference_user)),
            ("Allow", capabilities.ALLOW),
            ("Content-Type", capabilities.SDP),
        )
        if leg.dialog.remote_tag:
            wanted = request(leg, "INVITE", pair.cseq, headers, body)
        else:
            wanted = request(leg, "INVITE", pair.cseq, (*headers, ("Request-Disposition", "no-fork")), body)
            own = tuple(("To", f"<{leg.remote_uri}>") if each[0] == "To" else each for each in wanted.headers)
            wanted = replace(wanted, headers=own, next_hop=self._settings.next_hop)
        pair.glare = False
        self._wait(pair, self._settings.timeout)
        if not self._sip().send(wanted):
            pair.why = "the INVITE could not be sent"
            asyncio.get_running_loop().call_soon(self._apply, pair, PairEvent.REFUSED)
            return
        self._trace.sent(leg.dialog, pair.cseq, "INVITE", body, participant=pair.call.dialog.call_id)

    def _wait(self, pair: _Pair, seconds: float) -> None:
        self._stop_waiting(pair)
        pair.timer = asyncio.get_running_loop().call_later(seconds, self._late, pair)

    def _stop_waiting(self, pair: _Pair) -> None:
        if pair.timer is not None:
            pair.timer.cancel()
            pair.timer = None

    def _late(self, pair: _Pair) -> None:
        pair.timer = None
        pair.why = f"no answer in {self._settings.timeout:g} s"
        self._apply(pair, PairEvent.LATE)
        if pair.state in AWAITING and pair.timer is None:  # it may still come
            self._wait(pair, self._config.sip.ack_timeout)

    # what comes from the mixer

    def on_response(self, job: jobs.ResponseJob) -> bool:
        """A response to a request of ours; False when it is for no leg."""
        pair = self._legs.get(job.dialog.key)
        if pair is None:
            return False
        self._trace.received_response(job)
        if 200 <= job.status < 300 and pair.leg.dialog.remote_tag not in ("", job.dialog.remote_tag):
            self._hang_up_branch(pair, job)
            return True
        if job.method != "INVITE" or job.status < 200 or job.cseq != pair.cseq:
            return True
        if pair.state not in AWAITING:
            return True  # a retransmission
        self._stop_waiting(pair)
        if job.status < 300:
            self._succeeded(pair, job)
        else:
            pair.why, pair.glare = f"{job.status} {job.reason}", job.status == 491
            gone = pair.leg.dialog.remote_tag and job.status in ENDS_DIALOG
            self._apply(pair, PairEvent.GONE if gone else PairEvent.REFUSED)
        return True

    def _hang_up_branch(self, pair: _Pair, job: jobs.ResponseJob) -> None:
        """Another branch of an INVITE that was forked in spite of our wish (RFC 3261 13.2.2.4)."""
        stray = replace(
            pair.leg,
            dialog=job.dialog,
            remote_target=job.contact_uri,
            route_set=tuple(reversed(uri.split_routes(job.record_route))),
            local_cseq=job.cseq,
        )
        self._sip().send(request(stray, "BYE", stray.next_cseq()))

    def _succeeded(self, pair: _Pair, job: jobs.ResponseJob) -> None:
        leg = pair.leg
        if not leg.dialog.remote_tag:
            leg.dialog = job.dialog
            leg.route_set = tuple(reversed(uri.split_routes(job.record_route)))
        leg.remote_target = job.contact_uri or leg.remote_target
        try:
            mixed = self._read(pair, job)
        except (Refusal, SdpError) as error:
            pair.why = f"its answer cannot be used: {error}"
            self._apply(pair, PairEvent.UNUSABLE)
            return
        if not mixed.media:
            pair.why = "it declines all media"
            self._apply(pair, PairEvent.UNUSABLE)
            return
        if pair.state in (PairState.ASKING, PairState.CHANGING):
            pair.mixed, pair.accepted = mixed, pair.offered
        if pair.state is not PairState.RETURNING:
            leg.offer_sdp, leg.answer_sdp = sdp.serialize(self._offered(pair)), job.body
            leg.streams = mixed.streams
        self._apply(pair, PairEvent.ACCEPTED)

    def _read(self, pair: _Pair, job: jobs.ResponseJob) -> Mixed:
        answered = sdp.parse(session_description(job.content_type, job.body))
        offered = self._offered(pair)
        return sdp.with_labels(sdp.from_mixer(offered, answered), offered, self._settings.labels)

    def _offered(self, pair: _Pair) -> SessionDescription:
        if pair.offered is None:
            raise LookupError("nothing was offered")
        return pair.offered

    def on_bye(self, job: jobs.ByeJob) -> bool:
        """A BYE; False when it is for no leg."""
        pair = self._leg(job.dialog)
        if pair is None:
            return False
        self._trace.received(job.dialog, job.cseq, "BYE")
        self._answer(job, "BYE", Response(200, "OK"))
        pair.why = "it has hung up"
        self._apply(pair, PairEvent.MIXER_BYE)
        return True

    def on_request(self, job: jobs.RequestJob, method: str) -> bool:
        """Another request within a dialog: INVITE, UPDATE, OPTIONS ...; False when it is for no leg."""
        pair = self._leg(job.dialog)
        if pair is None:
            return False
        self._trace.received(job.dialog, job.cseq, method, body=job.body)
        try:
            response = self._serve(pair, job, method)
        except Refusal as refusal:
            response = refusal.response(self._config.sip.domain)
        if response is not None:
            self._answer(job, method, response)
        return True

    def _serve(self, pair: _Pair, job: jobs.RequestJob, method: str) -> Response | None:
        if job.cseq <= pair.leg.remote_cseq:
            raise Refusal(Cause.OLD_CSEQ)
        pair.leg.remote_cseq = job.cseq
        capabilities.refuse_unknown(job.require, ())
        if method not in ("INVITE", "UPDATE"):
            allow = (("Allow", capabilities.ALLOW),)
            return (
                Response(200, "OK", allow)
                if method == "OPTIONS"
                else Response(405, "Method Not Allowed", allow)
            )
        pair.leg.remote_target = job.contact_uri or pair.leg.remote_target
        body = session_description(job.content_type, job.body)
        if not body and method == "INVITE":
            raise Refusal(Cause.MIXER_KEEPS, "an INVITE without offer cannot be served within this dialog")
        if not body or (body == pair.leg.answer_sdp and pair.state is PairState.STANDING):
            return self._same(pair, bool(body))
        try:
            wanted = sdp.parse(body)
        except SdpError as error:
            raise Refusal(Cause.BAD_SDP, str(error)) from error
        if pair.state is not PairState.STANDING:
            raise Refusal(Cause.PENDING)
        pair.asked, pair.wanted, pair.refusal = (job, method), wanted, None
        self._apply(pair, PairEvent.MIXER_OFFER)
        return None

    def _same(self, pair: _Pair, with_body: bool) -> Response:
        """The 200 that changes nothing: a refresh of the session or of the target."""
        contact = (("Contact", capabilities.contact(self._config.sip, pair.call.conference_user)),)
        if not with_body:
            return Response(200, "OK", contact)
        return Response(200, "OK", contact, capabilities.SDP, pair.leg.offer_sdp)

    def _leg(self, dialog: jobs.DialogId) -> _Pair | None:
        pair = self._legs.get(dialog.key)
        return pair if pair is not None and pair.leg.dialog.remote_tag == dialog.remote_tag else None

    def _answer(self, job: jobs.RequestJob | jobs.ByeJob, method: str, response: Response) -> None:
        if self._sip().answer(job.transaction, response):
            self._trace.sent_response(job.dialog, job.cseq, method, response)

    # what the pair says

    def _apply(self, pair: _Pair, event: PairEvent) -> None:
        pair.state, actions = step(pair.state, event)
        if pair.state in (PairState.LEAVING, PairState.OVER):
            self._detach(pair)
        for action in actions:
            self._do(pair, action)
        if pair.state is PairState.OVER:
            self._forget(pair)

    def _do(self, pair: _Pair, action: PairAction) -> None:
        match action:
            case PairAction.CANCEL:
                self._cancel(pair)
            case PairAction.BYE:
                self._bye(pair)
            case PairAction.ANSWER:
                self._joined(pair)
            case PairAction.DECLINE | PairAction.KEEP:
                self._not_joined(pair, action)
            case PairAction.FORWARD:
                self._forward(pair)
            case PairAction.RESTORE:
                self._restore(pair)
            case PairAction.TELL:
                pair.task = asyncio.get_running_loop().create_task(self._tell(pair))
            case PairAction.REPLY:
                self._reply(pair)
            case PairAction.REJECT:
                self._reject(pair)
            case PairAction.LOSE:
                self._measures.mixer_answers.labels("lost").inc()
                self._logger(pair).warning(
                    "the mixer does not serve %s any more: %s", pair.call.remote_uri, pair.why
                )
                if self.participants is not None:
                    self.participants.lost(pair.call, pair.why)

    def _joined(self, pair: _Pair) -> None:
        self._measures.mixer_answers.labels("joined").inc()
        pair.call.mixer = pair.leg
        self._logger(pair).info(
            "media of %s at the mixer, leg %s", pair.call.remote_uri, pair.leg.dialog.call_id
        )
        if pair.waiter is not None and not pair.waiter.done():
            pair.waiter.set_result(pair.mixed)

    def _not_joined(self, pair: _Pair, action: PairAction) -> None:
        """The participant's offer comes to nothing at the mixer."""
        late = pair.state in (PairState.LEAVING, PairState.RETURNING)
        self._measures.mixer_answers.labels("late" if late else "refused").inc()
        self._logger(pair).warning("the mixer does not serve %s: %s", pair.call.remote_uri, pair.why)
        if pair.waiter is None or pair.waiter.done():
            return
        if action is PairAction.KEEP:
            cause = Cause.PENDING if pair.glare else Cause.MIXER_KEEPS
            pair.waiter.set_exception(Refusal(cause, pair.why))
        elif self._settings.on_failure == "refuse":
            pair.waiter.set_exception(Refusal(Cause.MIXER_UNAVAILABLE, pair.why))
            if pair.accepted is not None and self.participants is not None:  # what he had has gone, too
                asyncio.get_running_loop().call_soon(self.participants.lost, pair.call, pair.why)
        else:
            pair.waiter.set_result(Mixed())

    def _cancel(self, pair: _Pair) -> None:
        dialog = pair.leg.dialog
        if not self._sip().cancel(dialog.call_id, pair.cseq, 487):
            asyncio.get_running_loop().call_soon(
                self._apply, pair, PairEvent.REFUSED
            )  # it has ended by itself
            return
        self._trace.sent(dialog, pair.cseq, "CANCEL")
        self._wait(pair, self._config.sip.ack_timeout)

    def _bye(self, pair: _Pair) -> None:
        cseq = pair.leg.next_cseq()
        if self._sip().send(request(pair.leg, "BYE", cseq)):
            self._trace.sent(pair.leg.dialog, cseq, "BYE")

    async def _tell(self, pair: _Pair) -> None:
        try:
            if self.participants is None or pair.wanted is None:
                raise Refusal(Cause.MIXER_KEEPS)
            answered = await self.participants.offer(pair.call, pair.wanted)
            if pair.accepted is None:
                raise Refusal(Cause.MIXER_KEEPS)
            pair.reply = sdp.successor(
                pair.accepted, sdp.answer_to_mixer(pair.wanted, answered, pair.accepted.origin)
            )
        except (Refusal, SdpError) as error:
            self._logger(pair).info("an offer of the mixer is refused: %s", error)
            pair.refusal = error if isinstance(error, Refusal) else Refusal(Cause.MIXER_KEEPS, str(error))
            self._apply(pair, PairEvent.DECLINED)
        except Exception:  # a fault of one change ends nothing else
            self._logger(pair).exception("an offer of the mixer failed")
            self._apply(pair, PairEvent.DECLINED)
        else:
            self._apply(pair, PairEvent.TOOK)

    def _reply(self, pair: _Pair) -> None:
        if pair.asked is None or pair.reply is None or pair.wanted is None:
            return
        pair.accepted = pair.offered = pair.reply
        offered = sdp.from_mixer(pair.wanted, pair.wanted)
        taken = {index: each for index, each in offered.media.items() if pair.reply.media[index].port}
        pair.mixed = sdp.with_labels(Mixed(taken, offered.attributes), pair.wanted, self._settings.labels)
        pair.leg.streams = pair.mixed.streams
        pair.leg.offer_sdp, pair.leg.answer_sdp = sdp.serialize(pair.reply), sdp.serialize(pair.wanted)
        (job, method), pair.asked, pair.wanted = pair.asked, None, None
        self._answer(job, method, self._same(pair, with_body=True))

    def _reject(self, pair: _Pair) -> None:
        if pair.asked is not None:
            refusal = pair.refusal or Refusal(Cause.MIXER_KEEPS)
            (job, method), pair.asked, pair.wanted = pair.asked, None, None
            self._answer(job, method, refusal.response(self._config.sip.domain))

    def _detach(self, pair: _Pair) -> None:
        """The participant has this leg no more; it may take a while to end, and he may get another."""
        if self._pairs.get(pair.call.dialog.key) is pair:
            del self._pairs[pair.call.dialog.key]
        if pair.call.mixer is pair.leg:
            pair.call.mixer = None

    def _forget(self, pair: _Pair) -> None:
        self._stop_waiting(pair)
        if pair.task is not None and pair.task is not asyncio.current_task():
            pair.task.cancel()
        self._legs.pop(pair.leg.dialog.key, None)
        if pair.waiter is not None and not pair.waiter.done():
            pair.waiter.set_exception(Refusal(Cause.MIXER_UNAVAILABLE, "the call has ended"))

    def _logger(self, pair: _Pair) -> BoundLogger:
        return bind(log, call=pair.call.dialog.call_id, conference=pair.call.conference_user)
