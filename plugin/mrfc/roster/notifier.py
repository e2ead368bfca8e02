"""The conference event package: takes SUBSCRIBEs, and tells subscribers who is in (RFC 4575, RFC 6665, TS 24.147).

Thin driver: `subscription.py` decides when to notify, `roster.py` what of. A roster is kept while somebody watches.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from mrf_protocols.conference_info import CONTENT_TYPE, Description, Part, document
from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.calls.carriers import Carrier, Carriers, notify
from mrfc.config import MrfcConfig
from mrfc.measures import Measures
from mrfc.mp.floor_policies import is_one_of
from mrfc.roster import view
from mrfc.roster.request import Wanted, read_subscribe
from mrfc.roster.roster import Roster
from mrfc.roster.subscription import Content, Notice, Subscription
from mrfc.sip import capabilities, headers
from mrfc.sip.dialog import STANDING
from mrfc.sip.identity import Identities
from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.trace import SipTrace
from mrfc.state.seats import most_participants
from mrfc.state.store import Call, Conference, Store

NOTICES_PER_TURN = 32  # a large audience must not keep calls waiting


@dataclass(slots=True, eq=False)
class _Audience:
    """Who watches a conference, and what there is to see.

    `shown`: calls in the roster, by the entity of their user; `departures`: users who are shown a little longer.
    """

    conference: Conference
    roster: Roster
    watches: dict[_Watch, None] = field(default_factory=dict)
    shown: dict[str, dict[jobs.CallKey, Call]] = field(default_factory=dict)
    departures: dict[str, asyncio.TimerHandle] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Watch:
    """One subscription, the dialog it is in, and the CSeq number of its last NOTIFY."""

    audience: _Audience
    carrier: Carrier
    subscription: Subscription
    as_participant: bool
    cseq: int = 0
    timer: asyncio.TimerHandle | None = None


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
        self._measures = measures
        self._identities = identities
        self._audiences: dict[str, _Audience] = {}
        self._by_dialog: dict[jobs.CallKey, list[_Watch]] = {}
        self._waiting: deque[_Watch] = deque()
        self._told: set[str] = set()

    @property
    def subscriptions(self) -> int:
        """Subscriptions that stand."""
        return sum(map(len, self._by_dialog.values()))

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
        logger = self._calls.logger_of(job.dialog)
        watch: _Watch | None = None
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
            self._send(watch, None)
            return
        self._measures.subscribes.labels("accepted").inc()
        latest = watch.audience.roster.number
        self._send(watch, watch.subscription.subscribed(wanted.expires, latest, _now()))

    def _serve(self, job: jobs.SubscribeJob) -> tuple[_Watch, Wanted]:
        """The subscription that a SUBSCRIBE is for. Raises Refusal."""
        settings = self._config.roster
        carrier = self._carriers.of(job, self._identities.of(job))
        wanted = read_subscribe(job, settings.expires, settings.min_expires)
        for watch in self._by_dialog.get(job.dialog.key, []):
            if watch.subscription.event == wanted.event:
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
        subscription = Subscription(wanted.event, wanted.expires, settings.interval, _now())
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
        self, conference: Conference, carrier: Carrier, subscription: Subscription, as_participant: bool
    ) -> _Watch:
        audience = self._audiences.get(conference.user)
        if audience is None:
            audience = self._audiences[conference.user] = self._look_at(conference)
        watch = _Watch(audience, carrier, subscription, as_participant)
        audience.watches[watch] = None
        self._carriers.hold(carrier)
        self._by_dialog.setdefault(carrier.dialog.key, []).append(watch)
        return watch

    # what becomes of the conference

    def changed(self, call: Call) -> None:
        """A call is in another state, or has other floors."""
        audience = self._audiences.get(call.conference_user)
        if audience is None:
            return
        if call.state in STANDING:
            self._show(audience, call)
        else:
            self._hide(audience, call)
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
                self._send(watch, watch.subscription.end("rejected", _now()))

    def configuration_changed(self) -> None:
        """Conferences may be called otherwise, or be gone."""
        for audience in list(self._audiences.values()):
            user = audience.conference.user
            conference = self._store.conference(user)
            if conference is None:
                self._close(audience, "noresource")
                continue
            audience.conference = conference
            audience.roster.describe(self._description(conference))
            self._tell(audience)

    def stop(self) -> None:
        """The MRFC stops: who still wants to watch subscribes anew elsewhere."""
        for audience in list(self._audiences.values()):
            self._close(audience, "deactivated")

    def _look_at(self, conference: Conference) -> _Audience:
        entity = f"sip:{conference.user}@{self._config.sip.domain}"
        audience = _Audience(conference, Roster(entity, self._description(conference)))
        for call in self._present(conference):
            self._show(audience, call)
        return audience

    def _description(self, conference: Conference) -> Description:
        most = most_participants(conference, self._config.limits)
        return view.description(conference, self._config.sip.domain, most)

    def _present(self, conference: Conference) -> list[Call]:
        calls = (self._store.call_with(key) for key in conference.seats.values())
        return [call for call in calls if call is not None and call.state in STANDING]

    def _show(self, audience: _Audience, call: Call) -> None:
        entity = view.entity(call)
        calls = audience.shown.setdefault(entity, {})
        calls[call.dialog.key] = call
        if (timer := audience.departures.pop(entity, None)) is not None:
            timer.cancel()
        audience.roster.put(view.user(audience.conference, calls.values()))

    def _hide(self, audience: _Audience, call: Call) -> None:
        entity = view.entity(call)
        calls = audience.shown.get(entity, {})
        if calls.pop(call.dialog.key, None) is None:
            return
        was = audience.roster.user(entity)
        kept = self._config.roster.departed_kept
        if calls:
            audience.roster.put(view.user(audience.conference, calls.values()))
            return
        del audience.shown[entity]
        if was is None or not kept:
            audience.roster.remove(entity)
        else:
            audience.roster.put(view.departed(was, call, time.time()))
            audience.departures[entity] = asyncio.get_running_loop().call_later(
                kept, self._forget_departed, audience, entity
            )

    def _forget_departed(self, audience: _Audience, entity: str) -> None:
        audience.departures.pop(entity, None)
        audience.roster.remove(entity)
        self._tell(audience)

    def _tell(self, audience: _Audience) -> None:
        """Have all subscribers told what they do not know, soon: what happens until then is told with it."""
        user = audience.conference.user
        if user not in self._told:
            self._told.add(user)
            asyncio.get_running_loop().call_soon(self._tell_all, audience)

    def _tell_all(self, audience: _Audience) -> None:
        self._told.discard(audience.conference.user)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._tell_some)
        self._waiting.extend(audience.watches)

    def _tell_some(self) -> None:
        for _ in range(min(NOTICES_PER_TURN, len(self._waiting))):
            watch = self._waiting.popleft()
            self._send(watch, watch.subscription.news(watch.audience.roster.number, _now()))
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._tell_some)

    def _close(self, audience: _Audience, reason: str) -> None:
        """End all subscriptions; a conference of the same name would be another one."""
        del self._audiences[audience.conference.user]
        for watch in list(audience.watches):
            self._send(watch, watch.subscription.end(reason, _now()))

    # NOTIFY

    def on_response(self, job: jobs.ResponseJob) -> bool:
        """The response to a NOTIFY; False when it is none of ours."""
        for watch in self._by_dialog.get(job.dialog.key, []):
            if watch.cseq == job.cseq:
                self._measures.notifies.labels(str(job.status)).inc()
                self._send(watch, watch.subscription.answered(job.status, _now()))
                return True
        return False

    def _send(self, watch: _Watch, notice: Notice | None) -> None:
        """Send what is due, and wait for what comes next."""
        if notice is not None and not self._notify(watch, notice):
            watch.subscription.ended = True
        if watch.timer is not None:
            watch.timer.cancel()
            watch.timer = None
        deadline = watch.subscription.deadline
        if deadline is None:
            self._forget(watch)
        else:
            watch.timer = asyncio.get_running_loop().call_at(deadline, self._tick, watch)

    def _tick(self, watch: _Watch) -> None:
        watch.timer = None
        now = max(
            _now(), watch.subscription.deadline or 0.0
        )  # the loop may be early by its clock's resolution
        self._send(watch, watch.subscription.tick(now))

    def _notify(self, watch: _Watch, notice: Notice) -> bool:
        carrier = watch.carrier
        contact = capabilities.contact(self._config.sip, carrier.conference_user)
        body = self._body(watch.audience.roster, watch.subscription, notice)
        watch.cseq, request = notify(
            carrier, contact, watch.subscription.event, notice.state, CONTENT_TYPE, body
        )
        if not self._calls.sip.send(request):
            self._calls.logger_of(carrier.dialog).warning("NOTIFY could not be sent")
            self._measures.notifies.labels("not_sent").inc()
            return False
        self._trace.sent(carrier.dialog, watch.cseq, "NOTIFY", state=notice.state)
        return True

    def _body(self, roster: Roster, subscription: Subscription, notice: Notice) -> str:
        if notice.content is Content.NOTHING:
            return ""
        if notice.content is Content.DELETED:
            subscription.told(roster.number, _now())
            return document(roster.entity, subscription.version, Part.DELETED)
        size = self._config.roster.document_size
        changes = roster.changes(subscription.known, subscription.begun, size)
        if changes.part is Part.FULL:
            subscription.begun = changes.latest
        subscription.told(changes.known, _now())
        return document(roster.entity, subscription.version, changes.part, changes.inside)

    def _forget(self, watch: _Watch) -> None:
        audience = watch.audience
        if watch not in audience.watches:
            return
        del audience.watches[watch]
        self._carriers.release(watch.carrier)
        key = watch.carrier.dialog.key
        self._by_dialog[key].remove(watch)
        if not self._by_dialog[key]:
            del self._by_dialog[key]
        if not audience.watches:
            for timer in audience.departures.values():
                timer.cancel()
            if self._audiences.get(audience.conference.user) is audience:
                del self._audiences[audience.conference.user]


def _now() -> float:
    return asyncio.get_running_loop().time()
