"""A new offer of a participant in a standing session (RFC 3264 8, RFC 8856 10.4): his connection is kept, replaced,
given up, or had again.

What costs is done first, and only a response that has gone out changes the session: after a refusal, a CANCEL, or a
fault of KMS or MRFP it is what it was. A new connection replaces the old one when it is secured (connections.py).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

from mrf_protocols import sdp
from mrf_protocols.mikey import TransferResponder
from mrfc import jobs
from mrfc.calls.answerer import (
    Answerer,
    answer_policy,
    identity_of,
    joins_without_floor_control,
    plain_identity,
)
from mrfc.calls.calls import Calls
from mrfc.calls.offerer import Offer, Offerer
from mrfc.calls.pace import Pace
from mrfc.config import MrfcConfig
from mrfc.measures import Measures
from mrfc.mixer.legs import Mixer
from mrfc.mp.bearer import Bearers
from mrfc.mp.faults import refusing_mp_faults
from mrfc.mp.server_media import server_media
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.state import store

BURST = 5
INTERVAL = 2.0
"""A participant may have so many new connections at once, and then one more per so many seconds."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The 2xx to a request that may change the session. `settle` is told whether it went out, which changes it."""

    response: Response
    settle: Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class Means:
    """What changes of sessions are made with. `success` makes the 2xx of a call with a description of ours."""

    config: MrfcConfig
    calls_store: store.Store
    bearers: Bearers
    calls: Calls
    answerer: Answerer
    offerer: Offerer
    measures: Measures
    success: Callable[[store.Call, str], Response]
    mixer: Mixer


def _nobody(call: store.Call) -> None:
    """Nobody wants to know that a call has no floor control any more."""


class Reoffers:
    """Changes of all sessions that participants ask for. `on_given_up` is told each call that will lose its stream."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._policy = answer_policy(means.config)
        self.on_given_up: Callable[[store.Call], None] = _nobody
        self._paces: dict[jobs.CallKey, Pace] = {}
        self._offers: dict[jobs.CallKey, tuple[int, Offer]] = {}  # and the CSeq number of the INVITE

    async def change(self, call: store.Call, job: jobs.RequestJob) -> Proposal:
        """Serve an INVITE or UPDATE within the dialog with an offer, or an INVITE that wants ours. Raises Refusal."""
        try:
            proposal = await (self._answer(call, job) if job.body else self._offer(call, job.cseq))
        except Refusal as refusal:
            self._means.measures.reoffers.labels(refusal.cause.name.lower()).inc()
            raise
        return proposal

    def forget(self, call: store.Call) -> None:
        """The call has ended."""
        self._paces.pop(call.dialog.key, None)
        self._offers.pop(call.dialog.key, None)

    # offers of the participant

    async def _answer(self, call: store.Call, job: jobs.RequestJob) -> Proposal:
        last = last_exchange(call)
        offer, agreed = self._read(call, job, last)
        if agreed is not None and agreed.connection is sdp.ConnectionUse.NEW:
            return await self._renew(call, job, offer, agreed, last)
        mixed = await self._means.mixer.serve(call, offer)
        if agreed is None:
            return self._gives_up(call, job, sdp.join_again(last.own, sdp.without_stream(offer, last), mixed))
        answer = sdp.join_again(last.own, sdp.answer_kept(offer, agreed, last, {}), mixed)
        kept = sdp.serialize(answer)
        return self._proposal(call, kept, lambda: self._agreed(call, job.body, kept, "kept"))

    def _read(
        self, call: store.Call, job: jobs.RequestJob, last: sdp.Exchange
    ) -> tuple[sdp.SessionDescription, sdp.Agreement | None]:
        policy = (
            sdp.AnswerPolicy() if call.secured else self._policy
        )  # who has come with a key does not go on without
        connected = call.termination is not None and not call.bearer_lost
        try:
            offer = sdp.parse(job.body)
        except sdp.SdpError as error:
            raise Refusal(Cause.BAD_SDP, str(error)) from error
        try:
            return offer, sdp.evaluate_reoffer(offer, last, policy, connected=connected)
        except sdp.SdpRejected as error:
            if last.stream is None and joins_without_floor_control(self._means.config, offer, error):
                return offer, None
            raise Refusal(Cause.OFFER_REJECTED, error.text, error.warning) from error

    async def _renew(
        self,
        call: store.Call,
        job: jobs.RequestJob,
        offer: sdp.SessionDescription,
        agreed: sdp.Agreement,
        last: sdp.Exchange,
    ) -> Proposal:
        """A new connection, under a new key where there is TLS: steps 3 to 8 of a dial-in once more."""
        self._keep_pace(call)
        means = self._means
        key = await means.answerer.agree_on_key(
            agreed, lambda transfer: self._check_identities(call, transfer), call
        )
        result = None if key is None else key.result
        with refusing_mp_faults(), means.measures.mp_seconds.time():
            termination, local = await means.bearers.seize_another(
                call, means.answerer.wanted(call, agreed, result)
            )
        try:
            mixed = await means.mixer.serve(call, offer)
        except (Refusal, asyncio.CancelledError):
            means.bearers.drop(call, termination)
            raise
        # from here on nothing waits: either the response goes out and `settle` runs, or it is refused here
        media = server_media(means.calls_store, call, local, result.message if result else b"")
        answer = sdp.join_again(last.own, sdp.answer_bfcp(offer, agreed, media, last.own.origin), mixed)
        body = sdp.serialize(answer)
        means.answerer.built(call, agreed, result, local)

        def done() -> None:
            call.secured, call.csb = result is not None, None if key is None else key.session
            call.key_expires = 0.0 if key is None else key.expires
            means.bearers.succeed(call, termination)
            self._agreed(call, job.body, body, "renewed")

        return self._proposal(call, body, done, lambda: means.bearers.drop(call, termination))

    def _gives_up(self, call: store.Call, job: jobs.RequestJob, answer: sdp.SessionDescription) -> Proposal:
        """The participant wants no floor control now: the connection is given back, the call stays."""
        body = sdp.serialize(answer)

        def done() -> None:
            self.on_given_up(call)
            self._means.bearers.give_back(call)
            call.bearer_lost = False
            self._agreed(call, job.body, body, "given_up")

        return self._proposal(call, body, done)

    def _check_identities(self, call: store.Call, transfer: TransferResponder) -> None:
        """The ticket must be from the participant and for his conference, under one of its names."""
        domain = self._means.config.sip.domain
        own = {identity_of(call.local_uri), identity_of(f"sip:{call.conference_user}@{domain}")}
        callers = {identity_of(call.remote_uri), identity_of(call.identity.uri)} - {""}
        if plain_identity(transfer.initiator) not in callers:
            raise Refusal(Cause.TICKET_REFUSED, "the ticket was not made by the participant")
        if plain_identity(transfer.responder) not in own:
            raise Refusal(Cause.TICKET_REFUSED, "the ticket is for another conference")

    def _keep_pace(self, call: store.Call) -> None:
        pace = self._paces.setdefault(call.dialog.key, Pace(BURST, INTERVAL))
        if wait := pace.take(asyncio.get_running_loop().time()):
            raise Refusal(Cause.TOO_OFTEN, retry_after=math.ceil(wait))

    # our offers, where an INVITE has none

    async def _offer(self, call: store.Call, cseq: int) -> Proposal:
        """The connection in use, or a new one when it is lost; who has given it up is offered what there is."""
        offerer, bearers = self._means.offerer, self._means.bearers
        if call.termination is None:
            return self._proposal(call, call.answer_sdp, lambda: None)
        if not call.bearer_lost:
            offer = offerer.present(call)
        else:
            self._keep_pace(call)
            offer = await offerer.again(call)

        def done() -> None:
            self._offers[call.dialog.key] = cseq, offer
            if offer.termination is not None:
                bearers.succeed(call, offer.termination)

        def undone() -> None:
            if offer.termination is not None:
                bearers.drop(call, offer.termination)

        return self._proposal(call, offer.body, done, undone)

    async def take_answer(self, call: store.Call, ack: jobs.AckJob) -> None:
        """The ACK has the answer to the offer in our 2xx. One that is no use leaves the session as it was."""
        _, offer = self._offers.pop(call.dialog.key, (0, None))
        if offer is None:
            return
        try:
            await self._means.offerer.take(call, offer, ack.content_type, ack.body)
        except Refusal as refusal:
            self._means.calls.logger(call).warning("answer of %s refused: %s", call.remote_uri, refusal)
            if offer.termination is not None:
                self._means.bearers.drop(call, offer.termination)
        except Exception:  # a fault of one answer leaves its session as it was, and touches no other
            self._means.calls.logger(call).exception("answer of %s failed", call.remote_uri)
            if offer.termination is not None:
                self._means.bearers.drop(call, offer.termination)
        else:
            await self._tell_mixer(call)
        self._means.measures.reoffers.labels("ours").inc()

    async def _tell_mixer(self, call: store.Call) -> None:
        """What the participant has answered to our offer may be news for the mixer, whose streams were in it."""
        mixer = self._means.mixer
        try:
            await mixer.serve(call, sdp.parse(call.offer_sdp))
        except Refusal as refusal:
            self._means.calls.logger(call).warning("the mixer does not follow the answer: %s", refusal)
        mixer.settle(call, sent=True)

    def expects_answer(self, call: store.Call, cseq: int) -> bool:
        """Whether the ACK with this number has to carry the answer to an offer of a later exchange.

        That of an earlier or a refused INVITE may come meanwhile: workers run in parallel.
        """
        return self._offers.get(call.dialog.key, (None,))[0] == cseq

    # what both have in common

    def _proposal(
        self,
        call: store.Call,
        body: str,
        done: Callable[[], None],
        undone: Callable[[], None] = lambda: None,
    ) -> Proposal:
        def settle(sent: bool) -> None:
            (done if sent else undone)()
            self._means.mixer.settle(call, sent)

        return Proposal(self._means.success(call, body), settle)

    def _agreed(self, call: store.Call, offer: str, answer: str, result: str) -> None:
        call.offer_sdp, call.answer_sdp = offer, answer
        self._means.measures.reoffers.labels(result).inc()
        self._means.calls.logger(call).info("session changed: connection %s", result.replace("_", " "))


def last_exchange(call: store.Call) -> sdp.Exchange:
    """The last exchange of a call. Raises Refusal when there is none."""
    try:
        return sdp.Exchange(sdp.parse(call.answer_sdp), sdp.parse(call.offer_sdp))
    except sdp.SdpError as error:
        raise Refusal(Cause.PENDING, "the first exchange is not finished") from error
