"""The legs to the mixer: runs a pair for each participant with media, and does what it says.

The focus asks `serve` for whatever an offer has beside BFCP, for first offers and later ones alike, and tells `left`
when a participant goes. What comes from the mixer is handed in by `on_response`, `on_request` and `on_bye`, which say
whether it was for a leg.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from mrf_ops.logs import BoundLogger
from mrf_protocols import sdp
from mrf_protocols.sdp import Mixed, SdpError, SessionDescription
from mrfc import jobs
from mrfc.config import MrfcConfig
from mrfc.measures import Measures
from mrfc.mixer import requests
from mrfc.mixer.messages import LegMessages, learn
from mrfc.mixer.pair import AWAITING, PairAction, PairEvent, PairState, step
from mrfc.mixer.pairs import Change, MixerOffer, Pair, Pairs
from mrfc.mixer.session import LegSession
from mrfc.mixer.timers import LegTimers
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.session_timer import Due
from mrfc.sip.turns import ENDS_DIALOG
from mrfc.state.names import call_logger
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


class Mixer:
    """All legs; `random` gives that many random octets."""

    def __init__(
        self,
        config: MrfcConfig,
        messages: LegMessages,
        participants: Participants,
        measures: Measures,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._settings = config.mixer
        self._messages = messages
        self._participants = participants
        self._measures = measures
        self._random = random
        self._pairs = Pairs()
        self._timers = LegTimers(config, _is_quiet, self._due)
        measures.mixer_legs.set_function(lambda: len(self._pairs))

    @property
    def standing(self) -> int:
        """Legs that stand, are being set up, or end."""
        return len(self._pairs)

    def has(self, key: jobs.CallKey) -> bool:
        """Whether a dialog of ours is a leg."""
        return self._pairs.of_leg(key) is not None

    # the participant

    async def serve(self, call: Call, offer: SessionDescription) -> Mixed:
        """What the mixer serves of a participant's offer; nothing where there is no mixer. Raises Refusal.

        Cancelling this takes the offer back. `settle` says what became of a change of a standing session.
        """
        if not self._settings.uri:
            return Mixed()
        pair = self._pairs.of_call(call)
        if pair is not None and pair.state is not PairState.STANDING:
            raise Refusal(Cause.PENDING)
        if not sdp.has_mixable(offer):
            if pair is not None:
                pair.change = Change.END
            return Mixed()
        if pair is not None and pair.session.is_same(offer):
            pair.change = Change.NONE
            return pair.session.mixed
        waiter: asyncio.Future[Mixed] = asyncio.get_running_loop().create_future()
        if pair is None:
            pair = self._begin(call, offer, waiter)
        else:
            pair.waiter, pair.change = waiter, Change.OTHER
            pair.session.change(offer)
            self._apply(pair, PairEvent.REOFFER)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._apply(pair, PairEvent.WITHDRAWN)
            self.settle(call, sent=False)  # where the answer came at the same moment
            raise

    def _begin(self, call: Call, offer: SessionDescription, waiter: asyncio.Future[Mixed]) -> Pair:
        pair = Pair(call, self._messages.new_leg(call.conference_user), LegSession(self._settings.labels))
        pair.waiter, pair.change = waiter, Change.NEW
        self._pairs.add(pair)
        pair.session.begin(offer, sdp.Origin.of(self._config.sip.host, int.from_bytes(self._random(4))))
        self._invite(pair, self._settings.timeout)
        return pair

    def settle(self, call: Call, sent: bool) -> None:
        """Our 2xx to the last offer of a participant went out, or his change has come to nothing."""
        pair = self._pairs.of_call(call)
        if pair is None:
            return
        change, pair.change = pair.change, Change.NONE
        if change is (Change.END if sent else Change.NEW):
            self._apply(pair, PairEvent.LEFT)
        elif change is Change.OTHER and not sent:
            pair.session.undo()
            self._apply(pair, PairEvent.UNDONE)

    def left(self, call: Call) -> None:
        """A participant has gone, or his media have."""
        pair = self._pairs.of_call(call)
        if pair is not None:
            self._apply(pair, PairEvent.LEFT)

    # what comes from the mixer

    def on_response(self, job: jobs.ResponseJob) -> bool:
        """A response to a request of ours; False when it is for no leg."""
        pair = self._pairs.of_leg(job.dialog.key)
        if pair is None:
            return False
        self._messages.responded(job)
        if 200 <= job.status < 300 and pair.leg.dialog.remote_tag not in ("", job.dialog.remote_tag):
            self._messages.bye_to_branch(pair.leg, job)
            return True
        if job.method != "INVITE" or job.status < 200 or job.cseq != pair.invite:
            return True
        if pair.state not in AWAITING:
            return True  # a retransmission
        self._stop_waiting(pair)
        if job.status < 300:
            self._succeeded(pair, job)
        elif self._timers.too_small(pair, job) and pair.state is not PairState.LEAVING:
            self._invite(pair, self._settings.timeout)
        else:
            pair.why, pair.glare = f"{job.status} {job.reason}", job.status == 491
            gone = pair.leg.dialog.remote_tag and job.status in ENDS_DIALOG
            self._apply(pair, PairEvent.GONE if gone else PairEvent.REFUSED)
        return True

    def _succeeded(self, pair: Pair, job: jobs.ResponseJob) -> None:
        leg, session = pair.leg, pair.session
        learn(leg, job)
        self._timers.agreed(pair, job)
        try:
            mixed = session.read(job.content_type, job.body)
        except (Refusal, SdpError) as error:
            pair.why = f"its answer cannot be used: {error}"
            self._apply(pair, PairEvent.UNUSABLE)
            return
        if not mixed.media:
            pair.why = "it declines all media"
            self._apply(pair, PairEvent.UNUSABLE)
            return
        if pair.state in (PairState.ASKING, PairState.CHANGING):
            session.agree(mixed)
        if pair.state is PairState.RESTORING:
            session.restored()
        if pair.state is not PairState.RETURNING:
            leg.offer_sdp, leg.answer_sdp = sdp.serialize(session.offered), job.body
            leg.streams = mixed.streams
        self._apply(pair, PairEvent.ACCEPTED)

    def on_bye(self, job: jobs.ByeJob) -> bool:
        """A BYE; False when it is for no leg."""
        pair = self._pairs.of_dialog(job.dialog)
        if pair is None:
            return False
        self._messages.arrived(job, "BYE")
        self._messages.answer(job, "BYE", Response(200, "OK"))
        pair.why = "it has hung up"
        self._apply(pair, PairEvent.MIXER_BYE)
        return True

    def on_request(self, job: jobs.RequestJob, method: str) -> bool:
        """Another request within a dialog: INVITE, UPDATE, OPTIONS ...; False when it is for no leg."""
        pair = self._pairs.of_dialog(job.dialog)
        if pair is None:
            return False
        self._messages.arrived(job, method)
        standing = pair.state is PairState.STANDING
        try:
            self._timers.check(job)
            served = requests.serve(
                self._config.sip,
                pair.leg,
                pair.call.conference_user,
                job,
                method,
                standing,
                self._timers.options,
            )
        except Refusal as refusal:
            served = refusal.response(self._config.sip.domain)
        if isinstance(served, Response):
            self._answer(pair, job, method, served)
        else:
            pair.asked = MixerOffer(job, method, served)
            self._apply(pair, PairEvent.MIXER_OFFER)
        return True

    # what the pair says

    def _apply(self, pair: Pair, event: PairEvent) -> None:
        pair.state, actions = step(pair.state, event)
        if pair.state in (PairState.LEAVING, PairState.OVER):
            self._pairs.detach(pair)
        for action in actions:
            self._do(pair, action)
        if pair.state is PairState.OVER:
            self._forget(pair)

    def _do(self, pair: Pair, action: PairAction) -> None:
        match action:
            case PairAction.CANCEL:
                self._cancel(pair)
            case PairAction.BYE:
                self._messages.bye(pair.leg)
            case PairAction.ANSWER:
                self._joined(pair)
            case PairAction.DECLINE | PairAction.KEEP:
                self._not_joined(pair, action)
            case PairAction.FORWARD:
                self._invite(pair, self._settings.timeout)
            case PairAction.RESTORE:
                pair.session.restore()
                self._invite(pair, self._settings.timeout)
            case PairAction.REFRESH:
                pair.session.repeat()
                self._invite(pair, self._config.sip.ack_timeout)
            case PairAction.POSTPONE:
                self._timers.refused(pair)
            case PairAction.TELL:
                self._tell(pair)
            case PairAction.REPLY:
                self._reply(pair)
            case PairAction.REJECT:
                self._reject(pair)
            case PairAction.LOSE:
                self._lose(pair)

    def _due(self, pair: Pair, due: Due) -> None:
        """Time to refresh the session, or to give it up."""
        pair.why = "nobody has refreshed the session"
        self._apply(pair, PairEvent.REFRESH if due is Due.REFRESH else PairEvent.EXPIRED)

    def _invite(self, pair: Pair, seconds: float) -> None:
        """What the session offers goes to the mixer, which may take so long for its answer."""
        leg, call, body = pair.leg, pair.call, sdp.serialize(pair.session.offered)
        pair.invite, pair.glare = leg.next_cseq(), False
        self._wait(pair, seconds)
        more = self._timers.ask(pair)
        if not self._messages.invite(leg, pair.invite, call.conference_user, body, call.dialog.call_id, more):
            pair.why = "the INVITE could not be sent"
            asyncio.get_running_loop().call_soon(self._apply, pair, PairEvent.REFUSED)

    def _cancel(self, pair: Pair) -> None:
        if self._messages.cancel(pair.leg, pair.invite):
            self._wait(pair, self._config.sip.ack_timeout)
        else:  # it has ended by itself
            asyncio.get_running_loop().call_soon(self._apply, pair, PairEvent.REFUSED)

    def _wait(self, pair: Pair, seconds: float) -> None:
        self._stop_waiting(pair)
        pair.timer = asyncio.get_running_loop().call_later(seconds, self._late, pair, seconds)

    def _stop_waiting(self, pair: Pair) -> None:
        if pair.timer is not None:
            pair.timer.cancel()
            pair.timer = None

    def _late(self, pair: Pair, seconds: float) -> None:
        pair.timer = None
        pair.why = f"no answer in {seconds:g} s"
        self._apply(pair, PairEvent.LATE)
        if pair.state in AWAITING and pair.timer is None:  # it may still come
            self._wait(pair, self._config.sip.ack_timeout)

    def _joined(self, pair: Pair) -> None:
        """The participant gets what the mixer serves."""
        self._measures.mixer_answers.labels("joined").inc()
        pair.call.mixer = pair.leg
        self._logger(pair).info(
            "media of %s at the mixer, leg %s", pair.call.remote_uri, pair.leg.dialog.call_id
        )
        if pair.waiter is not None and not pair.waiter.done():
            pair.waiter.set_result(pair.session.mixed)

    def _not_joined(self, pair: Pair, action: PairAction) -> None:
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
            if pair.session.stands:  # what he had has gone, too
                asyncio.get_running_loop().call_soon(self._participants.lost, pair.call, pair.why)
        else:
            pair.waiter.set_result(Mixed())

    def _lose(self, pair: Pair) -> None:
        """What the participant had at the mixer has gone."""
        self._measures.mixer_answers.labels("lost").inc()
        self._logger(pair).warning("the mixer does not serve %s any more: %s", pair.call.remote_uri, pair.why)
        self._participants.lost(pair.call, pair.why)

    def _tell(self, pair: Pair) -> None:
        """What the mixer wants goes to the participant."""
        if pair.asked is not None:
            pair.task = asyncio.get_running_loop().create_task(self._offer(pair, pair.asked))

    async def _offer(self, pair: Pair, asked: MixerOffer) -> None:
        try:
            answered = await self._participants.offer(pair.call, asked.wanted)
            asked.reply = pair.session.reply(asked.wanted, answered)
        except (Refusal, SdpError) as error:
            self._logger(pair).info("an offer of the mixer is refused: %s", error)
            asked.refusal = error if isinstance(error, Refusal) else Refusal(Cause.MIXER_KEEPS, str(error))
            self._apply(pair, PairEvent.DECLINED)
        except Exception:  # a fault of one change ends nothing else
            self._logger(pair).exception("an offer of the mixer failed")
            self._apply(pair, PairEvent.DECLINED)
        else:
            self._apply(pair, PairEvent.TOOK)

    def _reply(self, pair: Pair) -> None:
        """The participant's answer goes to the mixer, and holds."""
        asked, pair.asked = pair.asked, None
        if asked is None or asked.reply is None:
            return
        leg, session = pair.leg, pair.session
        session.adopt(asked.wanted, asked.reply)
        leg.streams = session.mixed.streams
        leg.offer_sdp, leg.answer_sdp = sdp.serialize(asked.reply), sdp.serialize(asked.wanted)
        same = requests.unchanged(self._config.sip, leg, pair.call.conference_user, described=True)
        self._answer(pair, asked.job, asked.method, same)

    def _answer(self, pair: Pair, job: jobs.RequestJob, method: str, response: Response) -> None:
        """Answer the mixer; a 2xx to INVITE or UPDATE refreshes the session."""
        if response.status < 300 and method in ("INVITE", "UPDATE"):
            more = self._timers.reply(pair, job.headers)
            response = replace(response, headers=(*response.headers, *more))
        self._messages.answer(job, method, response)

    def _reject(self, pair: Pair) -> None:
        """What the mixer wants comes to nothing."""
        asked, pair.asked = pair.asked, None
        if asked is not None:
            refusal = asked.refusal or Refusal(Cause.MIXER_KEEPS)
            self._messages.answer(asked.job, asked.method, refusal.response(self._config.sip.domain))

    def _forget(self, pair: Pair) -> None:
        self._stop_waiting(pair)
        self._timers.forget(pair)
        if pair.task is not None and pair.task is not asyncio.current_task():
            pair.task.cancel()
        self._pairs.forget(pair)
        if pair.waiter is not None and not pair.waiter.done():
            pair.waiter.set_exception(Refusal(Cause.MIXER_UNAVAILABLE, "the call has ended"))

    def _logger(self, pair: Pair) -> BoundLogger:
        return call_logger(log, pair.call)


def _is_quiet(pair: Pair) -> bool:
    """Whether nothing is under way in a leg, and nothing waits for what becomes of the last change."""
    return pair.state is PairState.STANDING and pair.change is not Change.OTHER
