"""The conference event package: takes SUBSCRIBEs, and tells subscribers who is in (RFC 4575, RFC 6665, TS 24.147).

Thin driver: `subscription.py` decides when to notify, `audience.py` what of; there is one while somebody watches.
"""

from __future__ import annotations

import asyncio
from collections import deque

from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.calls.carriers import Carrier, Carriers
from mrfc.calls.subscriptions import Subscriptions
from mrfc.config import MrfcConfig
from mrfc.measures import Measures
from mrfc.mp.floor_policies import is_one_of
from mrfc.roster.audience import Audience, Surroundings, Watch
from mrfc.roster.request import Wanted, read_subscribe
from mrfc.roster.subscription import ConferenceSubscription, Notice
from mrfc.sip import capabilities, headers
from mrfc.sip.dialog import STANDING
from mrfc.sip.identity import Identities
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.trace import SipTrace
from mrfc.state.store import Call, Conference, Store

NOTICES_PER_TURN = 32  # a large audience must not keep calls waiting


class Notifier:
    """All subscriptions to conferences."""

    def __init__(
        self,
        config: MrfcConfig,
        calls_store: Store,
        calls: Calls,
        carriers: Carriers,
        identities: Identities,
        trace: SipTrace,
        measures: Measures,
    ) -> None:
        self._config = config
        self._store = calls_store
        self._calls = calls
        self._carriers = carriers
        self._trace = trace
        self._subscriptions: Subscriptions[Notice] = Subscriptions(config.sip, calls, carriers, trace)
        self._surroundings = Surroundings(config, measures, on_news=self._tell, on_over=self._over)
        self._measures = measures
        self._identities = identities
        self._audiences: dict[str, Audience] = {}
        self._watches: dict[tuple[jobs.CallKey, str], Watch] = {}  # by dialog and event
        self._waiting: deque[Watch] = deque()
        self._told: set[str] = set()

    @property
    def subscriptions(self) -> int:
        """Subscriptions that stand."""
        return len(self._subscriptions)

    def subscribers(self, user: str) -> int:
        """Subscriptions to one conference."""
        audience = self._audiences.get(user)
        return 0 if audience is None else len(audience.watches)

    # SUBSCRIBE

    def on_subscribe(self, job: jobs.SubscribeJob) -> None:
        """Answer a SUBSCRIBE, and send the NOTIFY that belongs to it."""
        self._trace.received(
            job.dialog, job.cseq, "SUBSCRIBE", event=", ".join(headers.values(job.headers, "Event"))
        )
        logger = self._calls.logger_of_request(job)
        watch: Watch | None = None
        try:
            watch, wanted = self._serve(job)
            response = self._response(watch.carrier, wanted)
        except Refusal as refusal:
            logger.warning("SUBSCRIBE from %s for %s refused: %s", job.from_uri, job.request_uri, refusal)
            self._measures.subscribes.labels(refusal.cause.name.lower()).inc()
            response = refusal.response(self._config.sip.domain)
        except Exception:  # a fault of one SUBSCRIBE is answered 500 and ends nothing else
            logger.exception("SUBSCRIBE from %s failed", job.from_uri)
            self._measures.subscribes.labels("internal").inc()
            response = Refusal(Cause.INTERNAL).response(self._config.sip.domain)
        answered = self._calls.answer(job, response)
        if watch is None:
            return
        if not answered:  # nobody knows of a subscription that is new
            watch.subscription.ended = watch.subscription.ended or not watch.subscription.version
            self._subscriptions.send(watch, None)
            return
        self._measures.subscribes.labels("accepted").inc()
        latest = watch.audience.roster.number
        self._subscriptions.send(watch, watch.subscription.subscribed(wanted.expires, latest, _now()))

    def _serve(self, job: jobs.SubscribeJob) -> tuple[Watch, Wanted]:
        """The subscription that a SUBSCRIBE is for. Raises Refusal."""
        settings = self._config.roster
        carrier = self._carriers.of(job, self._identities.of(job))
        wanted = read_subscribe(job, settings.expires, settings.min_expires)
        if (watch := self._watches.get((job.dialog.key, wanted.event))) is not None:
            if watch.subscription.ending:
                raise Refusal(Cause.NO_DIALOG)
            return watch, wanted
        conference = self._store.conference(carrier.conference_user)
        if conference is None:
            raise Refusal(Cause.UNKNOWN_CONFERENCE)
        as_participant = self._admit(conference, carrier)
        if not carrier.remote_target:
            raise Refusal(Cause.NO_CONTACT)
        if self.subscribers(conference.user) >= settings.subscriptions:
            raise Refusal(Cause.SUBSCRIPTIONS_FULL)
        subscription = ConferenceSubscription(wanted.event, wanted.expires, settings.interval, _now())
        return self._open(conference, carrier, subscription, as_participant), wanted

    def _admit(self, conference: Conference, carrier: Carrier) -> bool:
        """Whether somebody watches as a participant; False: because the configuration names him. Raises Refusal."""
        if is_one_of(carrier.identity.uri, self._config.roster.allow_subscribe):
            return False
        if self._config.roster.participants_may_subscribe and self._takes_part(conference, carrier):
            return True
        raise Refusal(Cause.NOT_A_SUBSCRIBER, f"{carrier.identity.uri} may not watch {conference.user}")

    def _takes_part(self, conference: Conference, carrier: Carrier) -> bool:
        return any(
            call.dialog.key == carrier.dialog.key or call.identity.uri == carrier.identity.uri
            for call in self._present(conference)
        )

    def _response(self, carrier: Carrier, wanted: Wanted) -> Response:
        headers = (
            ("Contact", capabilities.contact(self._config.sip, carrier.conference_user)),
            ("Expires", str(wanted.expires)),
            ("Allow-Events", capabilities.ALLOW_EVENTS),
            ("Supported", capabilities.supported(self._config)),
        )
        return Response(200, "OK", headers)

    def _open(
        self,
        conference: Conference,
        carrier: Carrier,
        subscription: ConferenceSubscription,
        as_participant: bool,
    ) -> Watch:
        audience = self._audiences.get(conference.user)
        if audience is None:
            audience = self._audiences[conference.user] = Audience(self._surroundings, conference)
            for call in self._present(conference):
                audience.show(call)
        watch = Watch(audience, carrier, subscription, as_participant)
        audience.watches[watch] = None
        self._watches[carrier.dialog.key, subscription.event] = watch
        self._subscriptions.add(watch)
        return watch

    def _over(self, watch: Watch) -> None:
        """A subscription has ended."""
        audience = watch.audience
        del audience.watches[watch]
        del self._watches[watch.carrier.dialog.key, watch.subscription.event]
        if not audience.watches:
            audience.stop()
            if self._audiences.get(audience.conference.user) is audience:
                del self._audiences[audience.conference.user]

    # what becomes of the conference

    def changed(self, call: Call) -> None:
        """A call is in another state, or has other floors."""
        audience = self._audiences.get(call.conference_user)
        if audience is None:
            return
        if call.state in STANDING:
            audience.show(call)
        else:
            audience.hide(call)
        self._tell(audience)

    def call_ended(self, call: Call) -> None:
        """A call has gone from the store, perhaps its conference, too."""
        audience = self._audiences.get(call.conference_user)
        if audience is None:
            return
        if self._store.conference(call.conference_user) is not audience.conference:
            self._close(audience, "noresource")
            return
        for watch in list(audience.watches):
            his = (
                watch.carrier.identity.uri == call.identity.uri or watch.carrier.dialog.key == call.dialog.key
            )
            if his and watch.as_participant and not self._takes_part(audience.conference, watch.carrier):
                self._subscriptions.send(watch, watch.subscription.end("rejected", _now()))

    def configuration_changed(self) -> None:
        """Conferences may be called otherwise, or be gone."""
        for audience in list(self._audiences.values()):
            user = audience.conference.user
            conference = self._store.conference(user)
            if conference is None:
                self._close(audience, "noresource")
                continue
            audience.describe(conference)
            self._tell(audience)

    def stop(self) -> None:
        """The MRFC stops: who still wants to watch subscribes anew elsewhere."""
        for audience in list(self._audiences.values()):
            self._close(audience, "deactivated")

    def _present(self, conference: Conference) -> list[Call]:
        calls = (self._store.call_with(key) for key in conference.seats.values())
        return [call for call in calls if call is not None and call.state in STANDING]

    def _tell(self, audience: Audience) -> None:
        """Have all subscribers told what they do not know, soon: what happens until then is told with it."""
        user = audience.conference.user
        if user not in self._told:
            self._told.add(user)
            asyncio.get_running_loop().call_soon(self._tell_all, audience)

    def _tell_all(self, audience: Audience) -> None:
        self._told.discard(audience.conference.user)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._tell_some)
        self._waiting.extend(audience.watches)

    def _tell_some(self) -> None:
        for _ in range(min(NOTICES_PER_TURN, len(self._waiting))):
            watch = self._waiting.popleft()
            self._subscriptions.send(watch, watch.subscription.news(watch.audience.roster.number, _now()))
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._tell_some)

    def _close(self, audience: Audience, reason: str) -> None:
        """End all subscriptions; a conference of the same name would be another one."""
        del self._audiences[audience.conference.user]
        for watch in list(audience.watches):
            self._subscriptions.send(watch, watch.subscription.end(reason, _now()))

    def on_response(self, job: jobs.ResponseJob) -> bool:
        """The response to a NOTIFY; False when it is none of ours."""
        return self._subscriptions.on_response(job)


def _now() -> float:
    return asyncio.get_running_loop().time()
