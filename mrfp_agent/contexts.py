"""An H.248 Context of ours: one conference, its floor control server, its users' terminations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from mrf_ops.logs import BoundLogger, bind
from mrf_protocols.bfcp import BfcpError, Message, RequestStatus
from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.mp import (
    BearerReleased,
    Conference,
    Decision,
    EventRequest,
    FloorRequestReport,
    FloorRequestState,
    NotifyIndication,
    TcpEstablishmentFailed,
    TerminationHeartbeat,
    TlsEstablished,
    TlsEstablishmentFailed,
    UserNames,
)
from mrfp_agent.endpoint import Endpoint, Event, MediaNetwork
from mrfp_agent.floor_control import (
    CloseConnection,
    FloorControlServer,
    FloorStateChanged,
    RequestChanged,
    Send,
)
from mrfp_agent.floor_control import Output as FloorOutput
from mrfp_agent.floor_policies import floors_of
from mrfp_agent.floor_waits import FloorWaits
from mrfp_agent.media_trace import MediaTrace
from mrfp_agent.metrics import MediaMetrics
from mrfp_agent.repeating_encoder import RepeatingEncoder
from mrfp_agent.termination_values import (
    CandidateDropped,
    ClientHello,
    ConnectionEnded,
    Established,
    EstablishmentFailed,
    FailureKind,
    RemoteEnd,
    TcpUp,
    TerminationState,
)
from mrfp_agent.timer_wheel import Timer

_log = logging.getLogger(__name__)

Notify = Callable[[NotifyIndication], None]

_DECISIONS = {
    Decision.GRANT: RequestStatus.GRANTED,
    Decision.DENY: RequestStatus.DENIED,
    Decision.REVOKE: RequestStatus.REVOKED,
}
_STATES = {status: FloorRequestState(status.label) for status in RequestStatus}


@dataclass(slots=True)
class Member:
    """A user's termination in the conference, and which of its events the MRFC wants to hear of."""

    endpoint: Endpoint
    user_id: int
    correlation: str
    events: EventRequest
    trace: MediaTrace
    names: UserNames = field(default_factory=UserNames)
    remote: RemoteEnd | None = None
    psk_identity: str | None = None
    heartbeat: Timer | None = None

    def know(self, remote: RemoteEnd) -> None:
        """Remember what an audit may tell of the user's end; the key is not among it."""
        self.psk_identity = None if remote.credentials is None else remote.credentials.identity
        self.remote = replace(remote, credentials=None)


class Context:
    """A conference with its terminations by TerminationID. The BFCP User ID that a termination speaks for
    is told to the floor control server with every message, whatever the message says itself.

    A user may have several terminations: its connection is being replaced. The floor control server speaks to it on
    the one that was secured last; until then the old one serves. What still comes on an older one is answered there,
    and its end touches nothing.
    """

    def __init__(
        self,
        number: int,
        conference: Conference,
        network: MediaNetwork,
        notify: Notify,
        metrics: MediaMetrics,
        floor_grace: float,
        confirm_timeout: float,
    ) -> None:
        """`floor_grace`: seconds for which floors of a lost connection are kept; `confirm_timeout`: seconds in
        which the MRFC has to confirm media."""
        self.number = number
        self.conference = conference
        self.members: dict[str, Member] = {}
        self._by_user: dict[int, Member] = {}
        self._network = network
        self._notify = notify
        self._metrics = metrics
        self._server = FloorControlServer(
            conference.conference_id,
            floors_of(conference),
            grace=floor_grace if conference.grace is None else conference.grace,
            confirm_timeout=confirm_timeout,
        )
        self._floor_grace = floor_grace
        self._timer: Timer | None = None
        self._waits = FloorWaits(metrics.floor_waits.observe)

    def add(self, member: Member) -> None:
        """A user's termination joins, its first one or one that is to replace that."""
        self.members[member.endpoint.name] = member
        is_new = self._by_user.setdefault(member.user_id, member) is member
        if is_new or member.names != UserNames():
            self.name(member, member.names)
        self.watch(member)

    def name(self, member: Member, names: UserNames) -> None:
        """What the others may learn of a user, from now on."""
        member.names = names
        self._server.add_user(member.user_id, names.display_name or None, names.uri or None)

    def remove(self, name: str) -> Member:
        """Close a termination; with the last one its user leaves the conference. Raises KeyError."""
        member = self.members.pop(name)  # from here on its events are nobody's business
        self._stop_heartbeat(member)
        if self._by_user[member.user_id] is member:
            self._unbind(member)
        member.endpoint.release()
        return member

    def _unbind(self, member: Member) -> None:
        """The termination that speaks for a user goes: another one of his does from now on, or he leaves."""
        user_id = member.user_id
        others = [other for other in self.members.values() if other.user_id == user_id]
        if not others:
            self._act(self._server.remove_user(user_id, self._now()))
            del self._by_user[user_id]
            return
        connected = [other for other in others if other.endpoint.state is TerminationState.ESTABLISHED]
        self._by_user[user_id] = (connected or others)[-1]
        if not connected:
            self._act(self._server.connection_lost(user_id, self._now()))

    def watch(self, member: Member) -> None:
        """Do what the MRFC asked to be told of: reports, and the heartbeat, which starts anew."""
        self._server.reporting |= member.events.floor_decisions
        self._stop_heartbeat(member)
        if member.events.heartbeat:
            when = self._now() + member.events.heartbeat
            member.heartbeat = self._network.timers.set(when, partial(self._beat, member))

    # Floor procedures of the MRFC; they raise H248Error, and then nothing has changed

    def check_conference(self, conference: Conference) -> None:
        """Only policies may change."""
        ours = self.conference
        if conference.conference_id != ours.conference_id or {
            floor.floor_id for floor in conference.floors
        } != {floor.floor_id for floor in ours.floors}:
            raise H248Error(ErrorCode.CONFLICTING_VALUES, "the context has another conference")

    def configure(self, conference: Conference) -> None:
        """Configure Conference For Floor Control."""
        self.check_conference(conference)
        if conference != self.conference:
            self.conference = conference
            grace = self._floor_grace if conference.grace is None else conference.grace
            self._act(self._server.configure(floors_of(conference), self._now(), grace=grace))

    def report_all(self) -> None:
        """Report every ongoing request once more."""
        self._act(self._server.report_all())

    def designate_chair(self, member: Member, floors: tuple[int, ...]) -> None:
        """Designate Floor Chair: of these floors and no others."""
        user_id = member.user_id
        try:
            others = {self._server.chair(floor_id) for floor_id in floors} - {None, user_id}
        except BfcpError as error:
            raise H248Error(ErrorCode.UNKNOWN_VALUE, error.text) from None
        if others:
            raise H248Error(ErrorCode.ONE_FLOOR_CHAIR)
        for floor in self.conference.floors:
            is_chair = self._server.chair(floor.floor_id) == user_id
            if is_chair != (floor.floor_id in floors):
                chair = None if is_chair else user_id
                self._act(self._server.appoint_chair(floor.floor_id, chair, self._now()))

    def decide(self, request_id: int, decision: Decision, reason: str) -> None:
        """Floor Request Decision."""
        try:
            outputs = self._server.decide(request_id, _DECISIONS[decision], self._now(), reason or None)
        except BfcpError as error:
            raise H248Error(ErrorCode.UNKNOWN_VALUE, error.text) from None
        self._act(outputs)

    def confirm_media(self, request_id: int, reason: str, *, done: bool) -> None:
        """Confirm Media Update."""
        try:
            outputs = self._server.confirm(request_id, self._now(), done=done, info=reason or None)
        except BfcpError as error:
            raise H248Error(ErrorCode.UNKNOWN_VALUE, error.text) from None
        self._act(outputs)

    # Reports of the endpoints

    def endpoint_event(self, endpoint: Endpoint, event: Event) -> None:
        """A step of a connection's life."""
        member = self.members.get(endpoint.name)
        if member is None:
            return
        member.trace.event(event)
        match event:
            case TcpUp() | ClientHello():
                pass  # the trace has it
            case Established():
                self._metrics.count_established(event.tls_version)
                if _log.isEnabledFor(logging.INFO):
                    words = f"{event.tls_version} {event.cipher}"
                    self._logger(member).info("connected from %s %s", event.peer, words)
                self._by_user[member.user_id] = member
                self._act(self._server.connection_up(member.user_id, self._now()))
                if event.tls_version and member.events.tls_established:
                    words = f"{event.tls_version} {event.cipher}"
                    self._notify(TlsEstablished(self.number, endpoint.name, words, member.events.request_id))
            case EstablishmentFailed():
                self._metrics.failures.labels(event.kind.value, event.reason).inc()
                self._logger(member).warning("%s: %s", event.kind.value, event.reason)
                self._tell_failure(member, event)
            case ConnectionEnded():
                self._metrics.count_ended(event.reason)
                if _log.isEnabledFor(logging.INFO):
                    self._logger(member).info("connection ended: %s", event.reason)
                if member.events.released:
                    request_id = member.events.request_id
                    self._notify(BearerReleased(self.number, endpoint.name, event.reason, request_id))
                if self._by_user[member.user_id] is member:
                    self._act(self._server.connection_lost(member.user_id, self._now()))
            case CandidateDropped():
                self._metrics.dropped.inc()
                self._logger(member).info("connection from %s dropped: %s", event.peer, event.reason)

    def endpoint_received(self, endpoint: Endpoint, content: Message | BfcpError) -> None:
        """A BFCP message of a user, or what should have been one."""
        member = self.members.get(endpoint.name)
        if member is None:
            return
        if isinstance(content, BfcpError):
            self._metrics.unreadable.inc()
            self._logger(member).warning("unreadable BFCP message: %s", content)
            self._act(self._server.reject(member.user_id, content, self._now()), member)
            return
        self._metrics.received.inc()
        member.trace.message(content, sent=False)
        self._act(self._server.receive(member.user_id, content, self._now()), member)

    # Inside

    def _logger(self, member: Member) -> BoundLogger:
        conference = str(self.conference.conference_id)
        return bind(_log, call=member.correlation, bfcp_conference=conference, user=str(member.user_id))

    def _tell_failure(self, member: Member, event: EstablishmentFailed) -> None:
        wanted, name = member.events, member.endpoint.name
        if event.kind is FailureKind.TCP and wanted.tcp_failure:
            self._notify(TcpEstablishmentFailed(self.number, name, event.reason, wanted.request_id))
        elif event.kind is FailureKind.TLS and wanted.tls_failure:
            self._notify(TlsEstablishmentFailed(self.number, name, event.reason, wanted.request_id))

    def _act(self, outputs: Iterable[FloorOutput], asked: Member | None = None) -> None:
        """Do what the floor control server says; `asked`: where the message came that it says it to."""
        encoder = RepeatingEncoder()
        for output in outputs:
            match output:
                case Send(user_id=user_id, message=message):
                    member = self._by_user.get(user_id)
                    if asked is not None and asked.user_id == user_id and message.transaction_id:
                        member = asked  # a response goes back on the connection of its request
                    if member is not None:
                        self._metrics.sent.inc()
                        member.trace.message(message, sent=True)
                        member.endpoint.send(encoder.encode(message))
                case CloseConnection(user_id=user_id, reason=reason):
                    member = asked or self._by_user.get(user_id)
                    if member is not None:
                        member.endpoint.end(reason)
                case FloorStateChanged():
                    self._floor_changed(output)
                case RequestChanged():
                    self._report(output)
        self._arm()

    def _floor_changed(self, floor: FloorStateChanged) -> None:
        self._waits.changed(floor.floor_id, floor.holders, floor.queue, self._now())
        if _log.isEnabledFor(logging.INFO):
            _log.info(
                "floor %d: held by %s, queue %s",
                floor.floor_id,
                list(floor.holders),
                list(floor.queue),
                extra={"bfcp_conference": floor.conference_id},
            )

    def _report(self, changed: RequestChanged) -> None:
        """Report Floor Request Decision; the requests of a user who leaves end with the termination."""
        member = self._by_user.get(changed.beneficiary)
        if member is None or member.endpoint.name not in self.members or not member.events.floor_decisions:
            return
        self._notify(
            FloorRequestReport(
                self.number,
                member.endpoint.name,
                changed.request_id,
                changed.floors,
                FloorRequestState.GRANTING if changed.granting else _STATES[changed.status],
                changed.positions,
                0 if changed.requester == changed.beneficiary else changed.requester,
                changed.info or "",
                member.events.request_id,
            )
        )

    def _arm(self) -> None:
        deadline = self._server.next_deadline() if self.members else None
        self._timer = self._network.timers.follow(self._timer, deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self._act(self._server.tick(self._now()))

    def _beat(self, member: Member) -> None:
        member.heartbeat = None
        self._notify(TerminationHeartbeat(self.number, member.endpoint.name, "", member.events.request_id))
        self.watch(member)

    def _stop_heartbeat(self, member: Member) -> None:
        if member.heartbeat is not None:
            self._network.timers.cancel(member.heartbeat)
            member.heartbeat = None

    def _now(self) -> float:
        return self._network.loop.time()
