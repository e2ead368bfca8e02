"""The media gateway: carries out the Mp procedures on contexts and terminations."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from mrf_ops.logs import bind
from mrf_ops.trace import Tracer
from mrf_protocols.h248 import mp
from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.mp import (
    Acknowledgement,
    AddressFamily,
    AuditHeartbeat,
    ChangeEvents,
    Conference,
    ConfigureBfcpTermination,
    ConfigureConference,
    ConfigureReservedBfcpTermination,
    ConfirmMediaUpdate,
    ContextConfigured,
    DesignateFloorChair,
    FloorRequestDecision,
    HeartbeatAnswered,
    Inventory,
    NotifyIndication,
    Procedure,
    ReleaseBfcpTermination,
    ReserveBfcpTermination,
    RootFacts,
    TerminationConfigured,
    TerminationFacts,
    TerminationReleased,
    UserNames,
)
from mrf_protocols.h248.values import ALL, ALL_CONTEXTS, CHOOSE_CONTEXT, ServiceState
from mrf_protocols.tls_psk import PskCredentials, TlsPskError, TlsRole
from mrfp_agent.contexts import Context, Member, Notify
from mrfp_agent.endpoint import Endpoint, MediaNetwork
from mrfp_agent.media_trace import MediaTrace
from mrfp_agent.metrics import MediaMetrics
from mrfp_agent.network import NetworkError
from mrfp_agent.ports import (
    Address,
    IpVersion,
    MediaPorts,
    NoAddressError,
    NoPortLeftError,
    OutOfServiceError,
    literal,
    make_address,
)
from mrfp_agent.termination import Termination, TlsContexts
from mrfp_agent.termination_values import RemoteEnd, TcpRole, TerminationState, TerminationTimers, Transport

_log = logging.getLogger(__name__)

_PORTS_TO_TRY = 64
_HIGHEST_CONTEXT = 0xFFFFFFFD  # the two above are CHOOSE and ALL


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What an operator decides.

    `timers` of every termination; `maximum_candidates` connections tried at a time per termination;
    `accept_any_identity`: see `PskCredentials`; `allow_unsecured`: whether there may be terminations without
    TLS; `floor_grace`: seconds for which the floors of a lost connection are kept; `confirm_timeout`: seconds
    in which the MRFC has to confirm the media of a floor; `maximum_terminations`, `maximum_contexts`: more are
    refused with 510 and 412; `pending_after`: seconds after which the Mp side answers Pending; `peer_name`:
    name of the users' column in traces.
    """

    timers: TerminationTimers = field(default_factory=TerminationTimers)
    maximum_candidates: int = 8
    accept_any_identity: bool = False
    allow_unsecured: bool = False
    floor_grace: float = 60.0
    confirm_timeout: float = 10.0
    maximum_terminations: int = 10000
    maximum_contexts: int = 10000
    pending_after: float = 1.0
    peer_name: str = "UE"


class MediaGateway:
    """All contexts of this MRFP. `handle` is for the Mp side; indications go out by the `notify`
    attribute.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        network: MediaNetwork,
        ports: MediaPorts,
        tls_contexts: TlsContexts,
        metrics: MediaMetrics,
        tracer: Tracer,
    ) -> None:
        self.notify: Notify = _drop_indication
        self._settings = settings
        self._network = network
        self._ports = ports
        self._tls_contexts = tls_contexts
        self._metrics = metrics
        self._tracer = tracer
        self._contexts: dict[int, Context] = {}
        self._last_context = 0
        self._last_termination = 0
        self._terminations = 0
        self._loss_timer: asyncio.TimerHandle | None = None
        metrics.watch("contexts", "Contexts (conferences)", lambda: len(self._contexts))
        metrics.watch("terminations", "Terminations", lambda: self._terminations)
        metrics.watch_counts(
            "terminations_by_state", "Terminations by state of their connection", "state", self._count_states
        )
        metrics.watch("ports_in_use", "Ports given to terminations", lambda: ports.in_use)
        metrics.watch("media_connections", "TCP connections and attempts", lambda: network.connections)

    def handle(self, procedure: Procedure) -> Acknowledgement:
        """Carry out a procedure of the MRFC. Raises H248Error with the code to answer; then nothing has
        changed."""
        name = type(procedure).__name__
        try:
            acknowledgement = self._handle(procedure)
        except H248Error as error:
            self._metrics.procedures.labels(name, str(error.code)).inc()
            raise
        self._metrics.procedures.labels(name, "ok").inc()
        return acknowledgement

    def status(self) -> dict[str, int]:
        """How much of everything is there now; all but the sizes are 0 when nothing is in use."""
        return {
            "contexts": len(self._contexts),
            "terminations": self._terminations,
            "established": self._count_established(),
            "ports_in_use": self._ports.in_use,
            "ports": self._ports.size,
            "listeners": self._network.listeners,
            "connections": self._network.connections,
            "timers": len(self._network.timers),
        }

    def load(self) -> float:
        """Share of the terminations that is taken."""
        return self._terminations / self._settings.maximum_terminations

    def inventory(self, in_service: ServiceState) -> Inventory:
        """All that the MRFC can audit."""
        settings = self._settings
        root = RootFacts(
            in_service, settings.maximum_contexts, settings.maximum_terminations, settings.pending_after
        )
        return Inventory(
            root,
            {number: context.conference for number, context in self._contexts.items()},
            [
                _facts(context.number, member)
                for context in self._contexts.values()
                for member in context.members.values()
            ],
        )

    def reconfigure(self, settings: GatewaySettings, tls_contexts: TlsContexts) -> None:
        """Use other settings from now on; terminations and contexts that are there keep theirs."""
        self._settings = settings
        self._tls_contexts = tls_contexts

    def association_lost(self, grace: float | None) -> None:
        """The MRFC is gone; without it nobody would release anything. After `grace` seconds (None: never) all
        contexts are released."""
        if grace is not None and self._loss_timer is None:
            self._loss_timer = self._network.loop.call_later(grace, self._grace_over)

    def association_restored(self) -> None:
        """The MRFC is back."""
        if self._loss_timer is not None:
            self._loss_timer.cancel()
            self._loss_timer = None

    def release_everything(self) -> int:
        """Close all terminations of all contexts; returns how many there were."""
        released = 0
        for context in list(self._contexts.values()):
            released += self._release(context, ALL)
        return released

    # Procedures

    def _handle(self, procedure: Procedure) -> Acknowledgement:
        match procedure:
            case ConfigureBfcpTermination():
                return self._configure(procedure)
            case ReserveBfcpTermination():
                return self._reserve(procedure)
            case ConfigureReservedBfcpTermination():
                return self._configure_reserved(procedure)
            case ReleaseBfcpTermination():
                return self._release_procedure(procedure)
            case ChangeEvents():
                return self._change_events(procedure)
            case AuditHeartbeat():
                return HeartbeatAnswered()
            case ConfigureConference():
                context = self._known_context(procedure.context)
                context.configure(procedure.conference)
                context.report_all()
                return ContextConfigured(procedure.context)
            case DesignateFloorChair() | FloorRequestDecision() | ConfirmMediaUpdate():
                return self._floor_procedure(procedure)

    def _floor_procedure(
        self, procedure: DesignateFloorChair | FloorRequestDecision | ConfirmMediaUpdate
    ) -> TerminationConfigured:
        context = self._known_context(procedure.context)
        member = _known_member(context, procedure.termination)
        match procedure:
            case DesignateFloorChair():
                context.designate_chair(member, procedure.floors)
            case FloorRequestDecision():
                context.decide(procedure.floor_request_id, procedure.decision, procedure.reason)
            case ConfirmMediaUpdate():
                context.confirm_media(procedure.floor_request_id, procedure.reason, done=procedure.done)
        return TerminationConfigured(context.number, procedure.termination)

    def _configure(self, procedure: ConfigureBfcpTermination) -> TerminationConfigured:
        remote = self._remote_end(procedure, _transport(procedure))
        _check_family(procedure.family, remote.address)
        context, member = self._new_member(procedure, remote)
        return TerminationConfigured(context.number, member.endpoint.name, member.endpoint.local)

    def _reserve(self, procedure: ReserveBfcpTermination) -> TerminationConfigured:
        context, member = self._new_member(procedure, None)
        return TerminationConfigured(context.number, member.endpoint.name, member.endpoint.local)

    def _configure_reserved(self, procedure: ConfigureReservedBfcpTermination) -> TerminationConfigured:
        context = self._known_context(procedure.context)
        member = _known_member(context, procedure.termination)
        if member.endpoint.state is not TerminationState.RESERVED:
            raise H248Error(ErrorCode.PROTOCOL_ERROR, f"{procedure.termination} is not reserved")
        if member.endpoint.transport is not _transport(procedure):
            raise H248Error(ErrorCode.CONFLICTING_VALUES, "not the transport that was reserved")
        remote = self._remote_end(procedure, member.endpoint.transport)
        _check_family(_family(member.endpoint.local), remote.address)
        if procedure.events is not None:
            member.events = procedure.events
            context.watch(member)
        if procedure.names != UserNames():
            context.name(member, procedure.names)
        if remote.credentials is not None:
            member.trace.expect(remote.credentials.identity)
        member.trace.configured(member.endpoint.name)
        member.know(remote)
        member.endpoint.configure(remote)
        return TerminationConfigured(context.number, member.endpoint.name)

    def _change_events(self, procedure: ChangeEvents) -> TerminationConfigured:
        context = self._known_context(procedure.context)
        member = _known_member(context, procedure.termination)
        if procedure.events is not None:
            member.events = procedure.events
            context.watch(member)
        return TerminationConfigured(context.number, procedure.termination)

    def _release_procedure(self, procedure: ReleaseBfcpTermination) -> TerminationReleased:
        if procedure.context == ALL_CONTEXTS:
            if procedure.termination != ALL:
                raise H248Error(ErrorCode.UNKNOWN_ACTION, "one termination of all contexts")
            self.release_everything()
        else:
            self._release(self._known_context(procedure.context), procedure.termination)
        return TerminationReleased(procedure.context, procedure.termination)

    # Terminations

    def _new_member(
        self, procedure: ConfigureBfcpTermination | ReserveBfcpTermination, remote: RemoteEnd | None
    ) -> tuple[Context, Member]:
        """A termination in a known or in a new context; nothing is left behind when that fails."""
        if _transport(procedure) is Transport.TCP_BFCP and not self._settings.allow_unsecured:
            raise H248Error(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "TCP/BFCP without TLS is not allowed here")
        if self._terminations >= self._settings.maximum_terminations:
            raise H248Error(ErrorCode.INSUFFICIENT_RESOURCES, "no termination left")
        if procedure.context == CHOOSE_CONTEXT:
            context = self._new_context(procedure.conference)
        else:
            context = self._known_context(procedure.context)
            if procedure.conference is not None:
                context.check_conference(procedure.conference)
        member = self._open(context, procedure, remote)
        self._contexts[context.number] = context
        if procedure.conference is not None:
            context.configure(procedure.conference)
        return context, member

    def _open(
        self,
        context: Context,
        procedure: ConfigureBfcpTermination | ReserveBfcpTermination,
        remote: RemoteEnd | None,
    ) -> Member:
        """Take ports until one can be used; another process may sit on some."""
        trouble = "no port"
        for _ in range(_PORTS_TO_TRY):
            try:
                version: IpVersion = 6 if procedure.family is AddressFamily.IP6 else 4
                peer = None if remote is None else remote.address.host
                local = self._ports.allocate(version, self._now(), peer)
            except NoAddressError as error:
                raise H248Error(ErrorCode.PERMANENT_NETWORK_FAILURE, str(error)) from None
            except OutOfServiceError as error:
                raise H248Error(ErrorCode.TEMPORARY_NETWORK_FAILURE, str(error)) from None
            except NoPortLeftError as error:
                raise H248Error(ErrorCode.INSUFFICIENT_RESOURCES, str(error)) from None
            member = self._member(context, procedure, local)
            context.add(member)
            self._terminations += 1
            try:
                if remote is None:
                    member.endpoint.reserve()
                else:
                    member.know(remote)
                    if remote.credentials is not None:
                        member.trace.expect(remote.credentials.identity)
                    member.endpoint.configure(remote)
            except NetworkError as error:
                trouble = str(error)
                ids = {"call": procedure.correlation, "user": str(procedure.user_id)}
                ids["bfcp_conference"] = str(context.conference.conference_id)
                bind(_log, **ids).warning("%s", trouble)
                self._close(context, member.endpoint.name)
                continue
            member.trace.seized(member.endpoint.name)
            return member
        raise H248Error(ErrorCode.INSUFFICIENT_RESOURCES, trouble)

    def _member(
        self, context: Context, procedure: ConfigureBfcpTermination | ReserveBfcpTermination, local: Address
    ) -> Member:
        settings = self._settings
        self._last_termination += 1
        machine = Termination(
            _transport(procedure), settings.timers, self._tls_contexts, settings.maximum_candidates
        )
        return Member(
            Endpoint(f"bfcp/{self._last_termination}", local, machine, self._network, context),
            procedure.user_id,
            procedure.correlation,
            procedure.events,
            MediaTrace(self._tracer, procedure.correlation, local, settings.peer_name),
            procedure.names,
        )

    def _release(self, context: Context, name: str) -> int:
        names = list(context.members) if name == ALL else [_known_member(context, name).endpoint.name]
        for each in names:
            self._close(context, each)
        if not context.members:
            self._contexts.pop(context.number, None)
        return len(names)

    def _close(self, context: Context, name: str) -> None:
        member = context.remove(name)
        self._ports.release(member.endpoint.local, self._now())
        self._terminations -= 1

    # Contexts

    def _new_context(self, conference: Conference | None) -> Context:
        if conference is None:
            raise H248Error(ErrorCode.REQUIRED_INFORMATION_MISSING, "a new context needs its conference")
        if len(self._contexts) >= self._settings.maximum_contexts:
            raise H248Error(ErrorCode.NO_CONTEXT_AVAILABLE)
        while True:
            self._last_context = self._last_context % _HIGHEST_CONTEXT + 1
            if self._last_context not in self._contexts:
                break
        return Context(
            self._last_context,
            conference,
            self._network,
            self._send_indication,
            self._metrics,
            self._settings.floor_grace,
            self._settings.confirm_timeout,
        )

    def _known_context(self, number: int) -> Context:
        context = self._contexts.get(number)
        if context is None:
            raise H248Error(ErrorCode.UNKNOWN_CONTEXT)
        return context

    # Values

    def _remote_end(
        self, procedure: ConfigureBfcpTermination | ConfigureReservedBfcpTermination, transport: Transport
    ) -> RemoteEnd:
        """The peer as the termination wants it described; checks what no later step would."""
        try:
            address = make_address(*procedure.remote)
        except ValueError as error:
            raise H248Error(ErrorCode.UNKNOWN_VALUE, str(error)) from None
        tcp_role = TcpRole.ACTIVE if procedure.start_tcp else TcpRole.PASSIVE
        if tcp_role is TcpRole.ACTIVE and address.port == 0:
            raise H248Error(ErrorCode.UNKNOWN_VALUE, "no remote port to connect to")
        if transport is Transport.TCP_BFCP:
            if procedure.psk is not None:
                raise H248Error(ErrorCode.CONFLICTING_VALUES, "a pre-shared key with TCP/BFCP")
            return RemoteEnd(address, tcp_role)
        if procedure.psk is None or procedure.psk_identity is None:
            raise H248Error(ErrorCode.REQUIRED_INFORMATION_MISSING, "TCP/TLS/BFCP needs a pre-shared key")
        try:
            credentials = PskCredentials(
                procedure.psk_identity, procedure.psk, self._settings.accept_any_identity
            )
        except TlsPskError as error:
            raise H248Error(ErrorCode.UNKNOWN_VALUE, str(error)) from None
        return RemoteEnd(
            address, tcp_role, TlsRole.CLIENT if procedure.start_tls else TlsRole.SERVER, credentials
        )

    def _send_indication(self, indication: NotifyIndication) -> None:
        self.notify(indication)

    def _count_states(self) -> dict[str, float]:
        counts = dict.fromkeys((state.name.lower() for state in TerminationState), 0.0)
        for context in self._contexts.values():
            for member in context.members.values():
                counts[member.endpoint.state.name.lower()] += 1
        return counts

    def _count_established(self) -> int:
        return sum(
            member.endpoint.state is TerminationState.ESTABLISHED
            for context in self._contexts.values()
            for member in context.members.values()
        )

    def _grace_over(self) -> None:
        self._loss_timer = None
        released = self.release_everything()
        if released:
            _log.warning("no MRFC for too long: %d terminations released", released)

    def _now(self) -> float:
        return self._network.loop.time()


def _drop_indication(indication: NotifyIndication) -> None:
    _log.warning("no Mp side for an indication of context %d", indication.context)


def _known_member(context: Context, name: str) -> Member:
    member = context.members.get(name)
    if member is None:
        raise H248Error(ErrorCode.UNKNOWN_TERMINATION)
    return member


def _facts(context: int, member: Member) -> TerminationFacts:
    remote, local = member.remote, member.endpoint.local
    return TerminationFacts(
        context,
        member.endpoint.name,
        member.user_id,
        mp.Transport(member.endpoint.transport.value),
        (local.host, local.port),
        None if remote is None else (remote.address.host, remote.address.port),
        member.psk_identity,
        remote is not None and remote.tcp_role is TcpRole.ACTIVE,
        remote is not None and remote.tls_role is TlsRole.CLIENT,
        member.correlation,
        member.events,
        member.names,
    )


def _transport(
    procedure: ConfigureBfcpTermination | ReserveBfcpTermination | ConfigureReservedBfcpTermination,
) -> Transport:
    return Transport(procedure.transport.value)


def _family(address: Address) -> AddressFamily:
    return AddressFamily.IP6 if ":" in address.host else AddressFamily.IP4


def _check_family(family: AddressFamily, remote: Address) -> None:
    if literal(remote.host).version != (6 if family is AddressFamily.IP6 else 4):
        raise H248Error(ErrorCode.CONFLICTING_VALUES, "local and remote address of different IP versions")
