"""Procedures of the MRFC as H.248 commands, and back (TS 23.333 8.44 to 8.49; docs/mp.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.mp import elements as e
from mrf_protocols.h248.mp import fields
from mrf_protocols.h248.mp.events import event_descriptor, parse_events
from mrf_protocols.h248.mp.floor_commands import floor_command, parse_floor_command
from mrf_protocols.h248.mp.floor_policies import conference_properties, parse_conference
from mrf_protocols.h248.mp.floor_procedures import (
    Conference,
    ConfigureConference,
    ConfirmMediaUpdate,
    ContextConfigured,
    DesignateFloorChair,
    FloorRequestDecision,
)
from mrf_protocols.h248.mp.procedures import (
    Acknowledgement,
    Address,
    AddressFamily,
    AuditHeartbeat,
    ChangeEvents,
    ConfigureBfcpTermination,
    ConfigureReservedBfcpTermination,
    EventRequest,
    HeartbeatAnswered,
    Procedure,
    ReleaseBfcpTermination,
    ReserveBfcpTermination,
    TerminationConfigured,
    TerminationReleased,
    Transport,
)
from mrf_protocols.h248.values import (
    ALL,
    ALL_CONTEXTS,
    CHOOSE,
    CHOOSE_CONTEXT,
    NULL_CONTEXT,
    ROOT,
    Action,
    AuditDescriptor,
    Command,
    CommandKind,
    ErrorDescriptor,
    EventsDescriptor,
    LocalControl,
    MediaDescriptor,
    Property,
    Signal,
    SignalsDescriptor,
    Stream,
    StreamMode,
    TerminationState,
    TransactionReply,
)

_NAMES: Final[dict[type, str]] = {
    ConfigureBfcpTermination: "Configure BFCP Termination",
    ReserveBfcpTermination: "Reserve BFCP Termination",
    ConfigureReservedBfcpTermination: "Configure Reserved BFCP Termination",
    ReleaseBfcpTermination: "Release BFCP Termination",
    ChangeEvents: "Change Events",
    AuditHeartbeat: "MRFP Heartbeat",
    ConfigureConference: "Configure Conference For Floor Control",
    DesignateFloorChair: "Designate Floor Chair",
    FloorRequestDecision: "Floor Request Decision",
    ConfirmMediaUpdate: "Confirm Media Update",
}
_COMMANDS: Final[dict[type, CommandKind]] = {
    ConfigureBfcpTermination: CommandKind.ADD,
    ReserveBfcpTermination: CommandKind.ADD,
    ConfigureReservedBfcpTermination: CommandKind.MODIFY,
    ReleaseBfcpTermination: CommandKind.SUBTRACT,
    ChangeEvents: CommandKind.MODIFY,
    AuditHeartbeat: CommandKind.AUDIT_VALUE,
    DesignateFloorChair: CommandKind.MODIFY,
    FloorRequestDecision: CommandKind.MODIFY,
    ConfirmMediaUpdate: CommandKind.MODIFY,
}
_FLOOR_PROCEDURES: Final = (DesignateFloorChair, FloorRequestDecision, ConfirmMediaUpdate)


def procedure_name(procedure: Procedure) -> str:
    """The stage 2 name."""
    return _NAMES[type(procedure)]


def command_kind(procedure: Procedure) -> CommandKind | None:
    """The H.248 command that carries a procedure; None: properties of the context alone."""
    return _COMMANDS.get(type(procedure))


# -- MRFC: requests --------------------------------------------------------------------------------------------------


def request_actions(procedure: Procedure) -> tuple[Action, ...]:
    """The actions of the transaction that asks for a procedure."""
    if isinstance(procedure, AuditHeartbeat):
        command = Command(CommandKind.AUDIT_VALUE, (ROOT,), (AuditDescriptor(),))
        return (Action(NULL_CONTEXT, (command,)),)
    if isinstance(procedure, ChangeEvents):
        return (Action(procedure.context, (_change_events(procedure),)),)
    if isinstance(procedure, ReleaseBfcpTermination):
        everything = procedure.termination == ALL
        command = Command(CommandKind.SUBTRACT, (procedure.termination,), wildcard=everything)
        return (Action(procedure.context, (command,)),)
    if isinstance(procedure, ConfigureConference):
        return (Action(procedure.context, (), conference_properties(procedure.conference)),)
    if isinstance(procedure, _FLOOR_PROCEDURES):
        return (Action(procedure.context, (floor_command(procedure),)),)
    conference = None if isinstance(procedure, ConfigureReservedBfcpTermination) else procedure.conference
    properties = conference_properties(conference) if conference else None
    termination = procedure.termination if isinstance(procedure, ConfigureReservedBfcpTermination) else CHOOSE
    command = Command(_COMMANDS[type(procedure)], (termination,), tuple(_descriptors(procedure)))
    return (Action(procedure.context, (command,), properties),)


def _change_events(procedure: ChangeEvents) -> Command:
    descriptors: tuple[EventsDescriptor, ...] = ()
    if procedure.events is not None:
        descriptors = (event_descriptor(procedure.events) or EventsDescriptor(),)
    return Command(CommandKind.MODIFY, (procedure.termination,), descriptors)


def _descriptors(
    procedure: ConfigureBfcpTermination | ReserveBfcpTermination | ConfigureReservedBfcpTermination,
) -> Iterable[MediaDescriptor | EventsDescriptor | SignalsDescriptor]:
    state: list[Property] = []
    if not isinstance(procedure, ConfigureReservedBfcpTermination):
        state.append(Property(e.USER.identifier, (str(procedure.user_id),)))
    if procedure.correlation:
        state.append(Property(e.CORRELATION.identifier, (fields.quoted_text(procedure.correlation),)))
    state += fields.user_properties(procedure.names)
    control: list[Property] = []
    remote: str | None = None
    local: str | None = None
    signals: list[Signal] = []
    if not isinstance(procedure, ReserveBfcpTermination):
        if procedure.psk is not None:
            control.append(Property(e.PSK.identifier, (procedure.psk.hex(),)))
        if procedure.psk_identity is not None:
            control.append(Property(e.PSK_IDENTITY.identifier, (procedure.psk_identity,)))
        remote = _remote_text(procedure.transport, procedure.remote)
        signals += [Signal(e.START_TCP.identifier)] if procedure.start_tcp else []
        signals += [Signal(e.START_TLS.identifier)] if procedure.start_tls else []
    if not isinstance(procedure, ConfigureReservedBfcpTermination):
        local = fields.session_text(procedure.transport, procedure.family, None)
    local_control = LocalControl(StreamMode.SEND_RECEIVE, properties=tuple(control))
    stream = Stream(e.STREAM_ID, local_control, local, remote)
    yield MediaDescriptor((stream,), TerminationState(properties=tuple(state)) if state else None)
    if procedure.events is not None and (events := event_descriptor(procedure.events)) is not None:
        yield events
    if signals:
        yield SignalsDescriptor(tuple(signals))


def _remote_text(transport: Transport, remote: Address) -> str:
    try:
        return fields.session_text(transport, fields.family_of(remote[0]), remote)
    except ValueError as error:
        raise H248Error(ErrorCode.INTERNAL_SOFTWARE_FAILURE, "The remote address is no IP literal") from error


# -- MRFP: requests --------------------------------------------------------------------------------------------------


def parse_command(action: Action, command: Command) -> Procedure:
    """The procedure that one command of an action asks for. Raises H248Error with the code to answer with."""
    kind, context = command.kind, action.context_id
    if kind is CommandKind.AUDIT_VALUE:
        if context != NULL_CONTEXT or command.termination.upper() != ROOT:
            raise H248Error(ErrorCode.NOT_IMPLEMENTED)
        return AuditHeartbeat()
    if kind is CommandKind.SUBTRACT:
        if context in {NULL_CONTEXT, CHOOSE_CONTEXT}:
            raise H248Error(ErrorCode.UNKNOWN_ACTION)
        if context == ALL_CONTEXTS and command.termination != ALL:
            raise H248Error(ErrorCode.UNKNOWN_TERMINATION)
        return ReleaseBfcpTermination(context, _only_termination(command))
    if kind not in {CommandKind.ADD, CommandKind.MODIFY}:
        raise H248Error(ErrorCode.UNKNOWN_COMMAND)
    if context in {NULL_CONTEXT, ALL_CONTEXTS} or (kind is CommandKind.MODIFY and context == CHOOSE_CONTEXT):
        raise H248Error(ErrorCode.UNKNOWN_ACTION)
    if kind is CommandKind.MODIFY:
        if all(isinstance(descriptor, EventsDescriptor) for descriptor in command.descriptors):
            asked = command.find(EventsDescriptor)
            return ChangeEvents(
                context, _only_termination(command), None if asked is None else parse_events(asked)
            )
        floor_procedure = parse_floor_command(context, command)
        if floor_procedure is not None:
            return floor_procedure
    return _Parsed(action, command).procedure()


def parse_context_request(action: Action) -> ConfigureConference:
    """The procedure of an action without commands. Raises H248Error with the code to answer with."""
    conference = parse_conference(action.properties)
    if conference is None:
        raise H248Error(ErrorCode.NOT_IMPLEMENTED)
    if action.context_id in {NULL_CONTEXT, CHOOSE_CONTEXT, ALL_CONTEXTS}:
        raise H248Error(ErrorCode.UNKNOWN_ACTION)
    return ConfigureConference(action.context_id, conference)


def _only_termination(command: Command) -> str:
    if len(command.terminations) != 1:
        raise H248Error(ErrorCode.NOT_IMPLEMENTED, "One termination at a time")
    return command.terminations[0]


class _Parsed:
    """An ADD or MODIFY, taken apart."""

    def __init__(self, action: Action, command: Command) -> None:
        self.action = action
        self.command = command
        for descriptor in command.descriptors:
            if not isinstance(descriptor, MediaDescriptor | EventsDescriptor | SignalsDescriptor):
                raise H248Error(ErrorCode.UNKNOWN_DESCRIPTOR)
        media = command.find(MediaDescriptor)
        if media is None or not media.streams:
            raise H248Error(ErrorCode.MISSING_REMOTE_OR_LOCAL)
        if len(media.streams) != 1:
            raise H248Error(ErrorCode.NOT_IMPLEMENTED, "A BFCP termination has one stream")
        self.stream = media.streams[0]
        state = media.termination_state or TerminationState()
        control = self.stream.local_control or LocalControl()
        self.state = fields.properties(state.properties, (e.USER, e.CORRELATION, e.NAME, e.URI))
        self.control = fields.properties(control.properties, (e.PSK, e.PSK_IDENTITY))
        self.signals = self._signals()

    def procedure(self) -> Procedure:
        if self.command.kind is CommandKind.MODIFY:
            return self._configure_reserved()
        if _only_termination(self.command) != CHOOSE:
            raise H248Error(ErrorCode.INCORRECT_IDENTIFIER)
        if self.stream.local is None:
            raise H248Error(ErrorCode.MISSING_REMOTE_OR_LOCAL)
        transport, family, address = fields.parse_session(self.stream.local)
        if address is not None:
            raise H248Error(ErrorCode.UNKNOWN_VALUE, "The local address is the MRFP's to choose")
        user = self.state.get(e.USER.identifier)
        if user is None:
            raise fields.missing(e.USER)
        user_id = fields.number(fields.single(user, e.USER), e.USER, 0xFFFF)
        names = fields.user_names(self.state)
        events = self._events() or EventRequest(tcp_failure=False, tls_failure=False, released=False)
        conference = self._conference()
        context = self.action.context_id
        if self.stream.remote is None:
            if self.control or self.signals:
                raise H248Error(ErrorCode.MISSING_REMOTE_OR_LOCAL)
            return ReserveBfcpTermination(
                user_id, context, conference, transport, family, events, self._correlation(), names
            )
        remote = self._remote(transport)
        psk, identity = self._key(transport)
        start_tcp, start_tls = self._starts(transport)
        return ConfigureBfcpTermination(
            remote,
            user_id,
            context,
            conference,
            transport,
            family,
            psk,
            identity,
            start_tcp,
            start_tls,
            events,
            self._correlation(),
            names,
        )

    def _configure_reserved(self) -> ConfigureReservedBfcpTermination:
        if self.stream.remote is None:
            raise H248Error(ErrorCode.MISSING_REMOTE_OR_LOCAL)
        transport, _, _ = fields.parse_session(self.stream.remote)
        psk, identity = self._key(transport)
        start_tcp, start_tls = self._starts(transport)
        return ConfigureReservedBfcpTermination(
            self.action.context_id,
            _only_termination(self.command),
            self._remote(transport),
            transport,
            psk,
            identity,
            start_tcp,
            start_tls,
            self._events(),
            self._correlation(),
            fields.user_names(self.state),
        )

    def _remote(self, transport: Transport) -> Address:
        offered, _, address = fields.parse_session(self.stream.remote or "")
        if address is None or offered is not transport:
            raise H248Error(ErrorCode.UNKNOWN_VALUE, "Remote descriptor that does not fit")
        return address

    def _key(self, transport: Transport) -> tuple[bytes | None, str | None]:
        key, identity = self.control.get(e.PSK.identifier), self.control.get(e.PSK_IDENTITY.identifier)
        if transport is Transport.TCP_BFCP:
            if key is not None or identity is not None:
                raise H248Error(ErrorCode.CONFLICTING_VALUES, "A key without TLS")
            return None, None
        if key is None:
            raise fields.missing(e.PSK)
        if identity is None:
            raise fields.missing(e.PSK_IDENTITY)
        name = fields.single(identity, e.PSK_IDENTITY)
        if not 1 <= len(name) <= e.MAX_PSK_IDENTITY:
            raise fields.invalid(e.PSK_IDENTITY)
        return fields.octets(fields.single(key, e.PSK), e.PSK), name

    def _correlation(self) -> str:
        item = self.state.get(e.CORRELATION.identifier)
        return "" if item is None else fields.plain_text(fields.single(item, e.CORRELATION))

    def _signals(self) -> set[str]:
        descriptor = self.command.find(SignalsDescriptor) or SignalsDescriptor()
        found: set[str] = set()
        for signal in descriptor.signals:
            known = {item.identifier.lower(): item.identifier for item in (e.START_TCP, e.START_TLS)}
            identifier = known.get(signal.name.lower()) if isinstance(signal, Signal) else None
            if identifier is None:
                name = signal.name if isinstance(signal, Signal) else ""
                raise fields.unknown(name, ErrorCode.NO_SUCH_SIGNAL)
            found.add(identifier)
        return found

    def _starts(self, transport: Transport) -> tuple[bool, bool]:
        tls = e.START_TLS.identifier in self.signals
        if tls and transport is Transport.TCP_BFCP:
            raise H248Error(ErrorCode.CONFLICTING_VALUES, "TLS to be started without TLS")
        return e.START_TCP.identifier in self.signals, tls

    def _events(self) -> EventRequest | None:
        descriptor = self.command.find(EventsDescriptor)
        if descriptor is None:
            return None
        return parse_events(descriptor)

    def _conference(self) -> Conference | None:
        conference = parse_conference(self.action.properties)
        if conference is None and self.action.context_id == CHOOSE_CONTEXT:
            raise fields.missing(e.CONFERENCE)
        return conference


# -- MRFP: replies ---------------------------------------------------------------------------------------------------


def reply_action(procedure: Procedure, acknowledgement: Acknowledgement) -> Action:
    """The action of a reply that acknowledges a procedure."""
    if isinstance(acknowledgement, ContextConfigured):
        return Action(acknowledgement.context)
    kind = _COMMANDS[type(procedure)]
    if isinstance(acknowledgement, HeartbeatAnswered):
        return Action(NULL_CONTEXT, (Command(kind, (ROOT,)),))
    if isinstance(acknowledgement, TerminationReleased):
        return Action(acknowledgement.context, (Command(kind, (acknowledgement.termination,)),))
    media: tuple[MediaDescriptor, ...] = ()
    if acknowledgement.local is not None:
        transport = procedure.transport if isinstance(procedure, _ADDS) else Transport.TCP_TLS_BFCP
        text = fields.session_text(
            transport, fields.family_of(acknowledgement.local[0]), acknowledgement.local
        )
        media = (MediaDescriptor((Stream(e.STREAM_ID, local=text),)),)
    return Action(acknowledgement.context, (Command(kind, (acknowledgement.termination,), media),))


_ADDS: Final = (ConfigureBfcpTermination, ReserveBfcpTermination)


def error_action(action: Action, command: Command | None, error: H248Error) -> Action:
    """The action of a reply that refuses a command, or an action without one."""
    if command is None:
        return Action(action.context_id, error=error.descriptor)
    refused = Command(command.kind, command.terminations, (error.descriptor,))
    return Action(action.context_id, (refused,))


# -- MRFC: replies ---------------------------------------------------------------------------------------------------


def parse_reply(procedure: Procedure, reply: TransactionReply) -> Acknowledgement:
    """The acknowledgement of a procedure.

    Raises H248Error with the code that the MRFP answered, or 401 when the reply is none to this procedure.
    """
    _raise_error(reply.error)
    if not reply.actions:
        raise _misfit()
    action = reply.actions[0]
    _raise_error(action.error)
    if isinstance(procedure, ConfigureConference):
        if action.context_id != procedure.context:
            raise _misfit()
        return ContextConfigured(action.context_id)
    kind = command_kind(procedure)
    command = next((item for item in action.commands if item.kind is kind), None)
    for item in action.commands:
        _raise_error(item.find(ErrorDescriptor))
    if command is None:
        raise _misfit()
    if isinstance(procedure, AuditHeartbeat):
        return HeartbeatAnswered()
    if isinstance(procedure, ReleaseBfcpTermination):
        return TerminationReleased(action.context_id, command.termination)
    if action.context_id in {NULL_CONTEXT, CHOOSE_CONTEXT, ALL_CONTEXTS} or command.termination in {
        CHOOSE,
        ALL,
    }:
        raise _misfit()
    if procedure.context not in {CHOOSE_CONTEXT, action.context_id}:
        raise _misfit()
    if not isinstance(procedure, _ADDS):
        return TerminationConfigured(action.context_id, command.termination)
    return TerminationConfigured(
        action.context_id, command.termination, _local_address(command, procedure.family)
    )


def _local_address(command: Command, family: AddressFamily) -> Address:
    media = command.find(MediaDescriptor)
    local = media.streams[0].local if media is not None and media.streams else None
    if local is None:
        raise _misfit()
    try:
        _, given, address = fields.parse_session(local)
    except H248Error as error:
        raise _misfit() from error
    if address is None or given is not family:
        raise _misfit()
    return address


def _misfit() -> H248Error:
    return H248Error(ErrorCode.PROTOCOL_ERROR, "The reply does not fit the request")


def _raise_error(error: ErrorDescriptor | None) -> None:
    if error is not None:
        raise H248Error(error.code, error.text)
