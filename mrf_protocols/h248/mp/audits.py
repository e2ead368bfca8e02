"""Audits of contexts and terminations, both ways (RFC 3525 7.2.5, 7.2.6), and which names a wildcard matches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.mp import elements as e
from mrf_protocols.h248.mp import fields
from mrf_protocols.h248.mp.events import event_descriptor
from mrf_protocols.h248.mp.floor_policies import conference_properties
from mrf_protocols.h248.mp.floor_procedures import Conference
from mrf_protocols.h248.mp.procedures import Address, EventRequest, Transport, UserNames
from mrf_protocols.h248.values import (
    ALL,
    ALL_CONTEXTS,
    NULL_CONTEXT,
    ROOT,
    Action,
    AuditDescriptor,
    AuditItem,
    AuditReturnItem,
    AuditToken,
    Command,
    CommandKind,
    ContextProperties,
    Descriptor,
    ErrorDescriptor,
    EventsDescriptor,
    IndAudMedia,
    IndAudPackages,
    IndAudStream,
    LocalControl,
    MediaDescriptor,
    PackageItem,
    PackagesDescriptor,
    Property,
    ServiceState,
    Signal,
    SignalsDescriptor,
    StatisticsDescriptor,
    Stream,
    StreamMode,
    TerminationState,
    TransactionReply,
)


@dataclass(frozen=True, slots=True)
class TerminationFacts:
    """What an MRFP tells of a termination when asked; its key is not among it."""

    context: int
    name: str
    user_id: int
    transport: Transport
    local: Address
    remote: Address | None = None
    psk_identity: str | None = None
    start_tcp: bool = False
    start_tls: bool = False
    correlation: str = ""
    events: EventRequest = field(default_factory=EventRequest)
    names: UserNames = field(default_factory=UserNames)


@dataclass(frozen=True, slots=True)
class RootFacts:
    """What an MRFP tells of itself; times in seconds."""

    in_service: ServiceState
    maximum_contexts: int
    maximum_terminations: int
    pending_after: float


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that can be audited at an MRFP."""

    root: RootFacts
    conferences: Mapping[int, Conference]
    terminations: Sequence[TerminationFacts]


PACKAGES: Final = tuple(PackageItem(name, 1) for name in sorted(e.PACKAGES))
"""What the MRFP realises."""


def is_wildcard(name: str) -> bool:
    """Whether a TerminationID names several."""
    return ALL in name


def matches(pattern: str, name: str) -> bool:
    """Whether a TerminationID with wildcards names a termination; "*" alone names all but ROOT."""
    pattern, name = pattern.lower(), name.lower()
    if name == ROOT.lower() or pattern == ROOT.lower():
        return pattern == name
    if pattern == ALL:
        return True
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, map(_literal, wanted)))


def _literal(part: str) -> str:
    return part.replace("[", "[[]").replace("?", "[?]")


# -- MRFP ------------------------------------------------------------------------------------------------------------


def audit_context(action: Action, inventory: Inventory) -> tuple[Action, ...]:
    """The reply to an audit of the properties of one context, or of all (H.248.1 v3)."""
    asked = action.audit
    if asked is None:
        return ()
    if action.context_id == NULL_CONTEXT:
        raise H248Error(ErrorCode.UNKNOWN_ACTION)
    if action.context_id == ALL_CONTEXTS:
        contexts: Iterable[int] = sorted(inventory.conferences)
    elif action.context_id in inventory.conferences:
        contexts = (action.context_id,)
    else:
        raise H248Error(ErrorCode.UNKNOWN_CONTEXT)
    wanted = {name.lower() for name in asked.properties}
    known = {element.identifier.lower() for element in e.CONTEXT_ELEMENTS}
    if wanted - known:
        raise H248Error(ErrorCode.AUDITED_ITEM_MISSING)
    return tuple(
        Action(
            context,
            properties=ContextProperties(
                attributes=tuple(
                    item
                    for item in conference_properties(inventory.conferences[context]).attributes
                    if item.name.lower() in wanted
                )
            ),
        )
        for context in contexts
    )


def audit(action: Action, command: Command, inventory: Inventory) -> tuple[Action, ...]:
    """The reply to AuditValue or AuditCapability. Raises H248Error with the code to answer with."""
    if len(command.terminations) != 1:
        raise H248Error(ErrorCode.NOT_IMPLEMENTED, "One termination at a time")
    asked = (command.find(AuditDescriptor) or AuditDescriptor()).items
    pattern = command.termination
    capability = command.kind is CommandKind.AUDIT_CAPABILITY
    if action.context_id == NULL_CONTEXT:
        if not matches(pattern, ROOT):
            raise H248Error(
                ErrorCode.NO_TERMINATION_MATCHED if is_wildcard(pattern) else ErrorCode.UNKNOWN_TERMINATION
            )
        described = _described(asked, partial(_root, inventory.root))
        return (Action(NULL_CONTEXT, (Command(command.kind, (ROOT,), described),)),)
    found = _chosen(action.context_id, pattern, inventory)
    if not asked and pattern == ALL:
        return tuple(
            Action(context, (Command(command.kind, names, context_audit=True),))
            for context, names in _by_context(found).items()
        )
    describe = _capability if capability else _value
    if command.wildcard:  # one answer for all of them: the union of what each would say
        union: dict[Descriptor, None] = {}
        for each in found:
            union |= dict.fromkeys(_described(asked, partial(describe, each)))
        return (Action(action.context_id, (Command(command.kind, (pattern,), tuple(union)),)),)
    return tuple(
        Action(
            each.context,
            (
                Command(
                    command.kind,
                    (each.name,),
                    _described(asked, partial(describe, each)),
                ),
            ),
        )
        for each in found
    )


def _chosen(context: int, pattern: str, inventory: Inventory) -> list[TerminationFacts]:
    if context != ALL_CONTEXTS and context not in inventory.conferences:
        raise H248Error(ErrorCode.UNKNOWN_CONTEXT)
    named = [each for each in inventory.terminations if matches(pattern, each.name)]
    found = [each for each in named if context in {ALL_CONTEXTS, each.context}]
    if found or (pattern == ALL and context == ALL_CONTEXTS):
        return found
    if is_wildcard(pattern):
        raise H248Error(ErrorCode.NO_TERMINATION_MATCHED)
    raise H248Error(ErrorCode.TERMINATION_NOT_IN_CONTEXT if named else ErrorCode.UNKNOWN_TERMINATION)


def _by_context(found: Iterable[TerminationFacts]) -> dict[int, tuple[str, ...]]:
    names: dict[int, tuple[str, ...]] = {}
    for each in found:
        names[each.context] = (*names.get(each.context, ()), each.name)
    return names


_EMPTY: Final[dict[AuditToken, Descriptor]] = {
    AuditToken.EVENTS: EventsDescriptor(),
    AuditToken.SIGNALS: SignalsDescriptor(),
    AuditToken.STATISTICS: StatisticsDescriptor(),
}
"""Descriptors that say that there is nothing; the others are only named."""


def _described(
    asked: Iterable[AuditItem], describe: Callable[[AuditItem], Descriptor | None]
) -> tuple[Descriptor, ...]:
    found: list[Descriptor] = []
    for item in asked:
        descriptor = describe(item)
        if descriptor is not None:
            found.append(descriptor)
        elif isinstance(item, AuditToken):
            found.append(_EMPTY.get(item) or AuditReturnItem(item))
        else:
            raise H248Error(ErrorCode.AUDITED_ITEM_MISSING)
    return tuple(found)


def _packages(item: AuditItem) -> Descriptor | None:
    if item is AuditToken.PACKAGES:
        return PackagesDescriptor(PACKAGES)
    if isinstance(item, IndAudPackages):
        named = tuple(known for known in PACKAGES if known.name.lower() == item.item.name.lower())
        return PackagesDescriptor(named) if named else None
    return None


def _root(root: RootFacts, item: AuditItem) -> Descriptor | None:
    if item is AuditToken.MEDIA:
        milliseconds = str(round(root.pending_after * 1000))
        properties = (
            Property(e.MAX_CONTEXTS.identifier, (str(root.maximum_contexts),)),
            Property(e.MAX_TERMINATIONS.identifier, (str(root.maximum_terminations),)),
            Property(e.PROVISIONAL_TIME.identifier, (milliseconds,)),
        )
        return MediaDescriptor((), TerminationState(root.in_service, properties=properties))
    return _packages(item)


def _value(facts: TerminationFacts, item: AuditItem) -> Descriptor | None:
    if item is AuditToken.MEDIA:
        return _media(facts)
    if item is AuditToken.EVENTS:
        return event_descriptor(facts.events)
    if item is AuditToken.SIGNALS:
        signals = (Signal(e.START_TCP.identifier),) * facts.start_tcp
        signals += (Signal(e.START_TLS.identifier),) * facts.start_tls
        return SignalsDescriptor(signals) if signals else None
    if isinstance(item, IndAudMedia):
        return _part_of_media(item, _media(facts))
    return _packages(item)


def _media(facts: TerminationFacts) -> MediaDescriptor:
    state = [Property(e.USER.identifier, (str(facts.user_id),))]
    if facts.correlation:
        state.append(Property(e.CORRELATION.identifier, (fields.quoted_text(facts.correlation),)))
    state += fields.user_properties(facts.names)
    control: tuple[Property, ...] = ()
    if facts.psk_identity is not None:
        control = (Property(e.PSK_IDENTITY.identifier, (facts.psk_identity,)),)
    stream = Stream(
        e.STREAM_ID,
        LocalControl(StreamMode.SEND_RECEIVE, properties=control),
        _session(facts.transport, facts.local),
        None if facts.remote is None else _session(facts.transport, facts.remote),
    )
    return MediaDescriptor((stream,), TerminationState(ServiceState.IN_SERVICE, properties=tuple(state)))


def _session(transport: Transport, address: Address) -> str:
    return fields.session_text(transport, fields.family_of(address[0]), address)


def _part_of_media(asked: IndAudMedia, media: MediaDescriptor) -> MediaDescriptor | None:
    """The items of an individual audit; None when one of them does not exist."""
    (whole,) = media.streams
    streams: list[Stream] = []
    for part in asked.streams:
        if part.stream_id not in {None, whole.stream_id} or part.statistics is not None:
            return None
        if (part.local or "") not in (whole.local or "") or (part.remote or "") not in (whole.remote or ""):
            return None
        control = _part_of_control(part, whole.local_control or LocalControl())
        if control is None:
            return None
        streams.append(
            Stream(
                part.stream_id,
                None if control == LocalControl() else control,
                None if part.local is None else whole.local,
                None if part.remote is None else whole.remote,
            )
        )
    state = media.termination_state or TerminationState()
    if asked.termination_state is None:
        return MediaDescriptor(tuple(streams))
    wanted = {item.name.lower() for item in asked.termination_state.properties}
    kept = tuple(item for item in state.properties if item.name.lower() in wanted)
    if len(kept) != len(wanted):
        return None
    shown = state.service_state if asked.termination_state.tokens else None
    return MediaDescriptor(tuple(streams), replace(state, service_state=shown, properties=kept))


def _part_of_control(part: IndAudStream, control: LocalControl) -> LocalControl | None:
    if part.local_control is None:
        return LocalControl()
    wanted = {item.name.lower() for item in part.local_control.properties}
    kept = tuple(item for item in control.properties if item.name.lower() in wanted)
    if len(kept) != len(wanted):
        return None
    shown = control.mode if "Mode" in part.local_control.tokens else None
    return LocalControl(shown, properties=kept)


def _capability(facts: TerminationFacts, item: AuditItem) -> Descriptor | None:
    """What the termination could be told."""
    if item is AuditToken.MEDIA:
        return MediaDescriptor((Stream(e.STREAM_ID, LocalControl(StreamMode.SEND_RECEIVE)),))
    if item is AuditToken.EVENTS:
        everything = EventRequest(tls_established=True, heartbeat=1, floor_decisions=True)
        descriptor = event_descriptor(everything)
        if descriptor is None:
            return None
        return EventsDescriptor(1, tuple(replace(event, parameters=()) for event in descriptor.events))
    if item is AuditToken.SIGNALS:
        return SignalsDescriptor((Signal(e.START_TCP.identifier), Signal(e.START_TLS.identifier)))
    return _packages(item)


# -- MRFC ------------------------------------------------------------------------------------------------------------


def inventory_actions() -> tuple[Action, ...]:
    """Ask which terminations there are, in which contexts."""
    return (Action(ALL_CONTEXTS, (Command(CommandKind.AUDIT_VALUE, (ALL,), (AuditDescriptor(),)),)),)


def parse_inventory(reply: TransactionReply) -> frozenset[tuple[int, str]]:
    """Contexts and terminations of the answer. Raises H248Error with the MRFP's code."""
    if reply.error is not None:
        raise H248Error(reply.error.code, reply.error.text)
    found: set[tuple[int, str]] = set()
    for action in reply.actions:
        errors = [action.error, *(command.find(ErrorDescriptor) for command in action.commands)]
        for error in errors:
            if error is not None and error.code not in _NOTHING_THERE:
                raise H248Error(error.code, error.text)
        for command in action.commands:
            if command.find(ErrorDescriptor) is None:
                found |= {(action.context_id, name) for name in command.terminations if name != ALL}
    return frozenset(found)


_NOTHING_THERE: Final = {
    ErrorCode.UNKNOWN_CONTEXT,
    ErrorCode.UNKNOWN_TERMINATION,
    ErrorCode.NO_TERMINATION_MATCHED,
}
