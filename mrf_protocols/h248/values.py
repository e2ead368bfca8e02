"""Values of H.248.1: one model for every version and encoding (ITU-T H.248.1 version 3, RFC 3525 annex B).

A message is a tree of frozen dataclasses with the standard's own names. Requests and replies share `Action` and
`Command`: the transaction that holds them says which they are. Package items keep the textual form "package/item",
so a package that nobody here knows survives a round trip. Octet strings (Local, Remote, DigitMap) are text without
the surrounding white space.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

NULL_CONTEXT: Final = 0
"""The context of terminations that are associated with no other, written "-"."""
CHOOSE_CONTEXT: Final = 0xFFFFFFFE
"""The MG is to create a context, written "$"."""
ALL_CONTEXTS: Final = 0xFFFFFFFF
"""Every context, written "*"."""
ALL_REQUESTS: Final = 0xFFFFFFFF
"""A RequestID written "*"."""
ROOT: Final = "ROOT"
CHOOSE: Final = "$"
ALL: Final = "*"


class CommandKind(StrEnum):
    """Commands (RFC 3525 7.2); the value is the long token."""

    ADD = "Add"
    MOVE = "Move"
    MODIFY = "Modify"
    SUBTRACT = "Subtract"
    AUDIT_VALUE = "AuditValue"
    AUDIT_CAPABILITY = "AuditCapability"
    NOTIFY = "Notify"
    SERVICE_CHANGE = "ServiceChange"


class StreamMode(StrEnum):
    """Mode of a stream (RFC 3525 7.1.7)."""

    SEND_ONLY = "SendOnly"
    RECEIVE_ONLY = "ReceiveOnly"
    SEND_RECEIVE = "SendReceive"
    INACTIVE = "Inactive"
    LOOPBACK = "Loopback"


class ServiceState(StrEnum):
    """Service state of a termination (RFC 3525 7.1.5)."""

    TEST = "Test"
    OUT_OF_SERVICE = "OutOfService"
    IN_SERVICE = "InService"


class EventBufferControl(StrEnum):
    """Whether events are buffered (RFC 3525 7.1.5)."""

    OFF = "OFF"
    LOCK_STEP = "LockStep"


class Relation(StrEnum):
    """How the values of a property relate to it (parmValue and alternativeValue of annex B)."""

    EQUAL = "="
    NOT_EQUAL = "#"
    LESS = "<"
    GREATER = ">"
    RANGE = "[:]"
    ALL_OF = "[,]"
    ANY_OF = "{,}"


class TopologyDirection(StrEnum):
    """Direction of media between two terminations (RFC 3525 7.1.18, H.248.1 v3)."""

    BOTHWAY = "Bothway"
    ISOLATE = "Isolate"
    ONEWAY = "Oneway"
    ONEWAY_EXTERNAL = "OnewayExternal"
    ONEWAY_BOTH = "OnewayBoth"


class SignalType(StrEnum):
    """When a signal ends (RFC 3525 7.1.11)."""

    ON_OFF = "OnOff"
    TIME_OUT = "TimeOut"
    BRIEF = "Brief"


class SignalDirection(StrEnum):
    """Where a signal is applied (H.248.1 v3)."""

    EXTERNAL = "External"
    INTERNAL = "Internal"
    BOTH = "Both"


class NotificationReason(StrEnum):
    """Why a signal ended (NotifyCompletion)."""

    TIME_OUT = "TimeOut"
    INTERRUPTED_BY_EVENT = "IntByEvent"
    INTERRUPTED_BY_SIGNALS = "IntBySigDescr"
    OTHER = "OtherReason"
    ITERATION = "Iteration"


class NotifyKind(StrEnum):
    """When a detected event is notified (H.248.1 v3)."""

    IMMEDIATE = "ImmediateNotify"
    NEVER = "NeverNotify"
    REGULATED = "RegulatedNotify"


class AuditToken(StrEnum):
    """Whole descriptors that an audit asks for (auditItem of annex B)."""

    MUX = "Mux"
    MODEM = "Modem"
    MEDIA = "Media"
    DIGIT_MAP = "DigitMap"
    STATISTICS = "Statistics"
    OBSERVED_EVENTS = "ObservedEvents"
    PACKAGES = "Packages"
    SIGNALS = "Signals"
    EVENT_BUFFER = "EventBuffer"
    EVENTS = "Events"


class SelectLogic(StrEnum):
    """How the selection criteria of a context audit combine (H.248.1 v3)."""

    AND = "ANDLgc"
    OR = "ORLgc"


# -- Message identifiers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DomainName:
    """`<name>[:port]`."""

    name: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class DomainAddress:
    """`[address][:port]`, an IPv4 or IPv6 literal without brackets."""

    address: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A path name, such as `mrfp1` or `gw/1@example`."""

    path: str


@dataclass(frozen=True, slots=True)
class MtpAddress:
    """`MTP{...}`, four to eight hexadecimal digits."""

    digits: str


MId = DomainName | DomainAddress | DeviceName | MtpAddress


# -- Package items ---------------------------------------------------------------------------------------------------


SECRET_ITEMS: Final = frozenset({"bfcpt/psk"})
"""Package items that hold keys: their values do not show in a repr."""


@dataclass(frozen=True, slots=True, repr=False)
class Property:
    """A property or parameter with its value or values, all text; values need no quotes here."""

    name: str
    values: tuple[str, ...]
    relation: Relation = Relation.EQUAL

    def __repr__(self) -> str:
        shown = "..." if self.name.lower() in SECRET_ITEMS else repr(self.values)
        return f"Property({self.name!r}, {shown}, {self.relation})"

    @property
    def value(self) -> str:
        """The first value."""
        return self.values[0]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic; without values when it is only named."""

    name: str
    values: tuple[str, ...] | None = None
    sublist: bool = False


@dataclass(frozen=True, slots=True)
class PackageItem:
    """A package and its version."""

    name: str
    version: int


# -- Descriptors -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ErrorDescriptor:
    """Error code and text (RFC 3525 7.1.19, H.248.8)."""

    code: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class LocalControl:
    """LocalControl descriptor (RFC 3525 7.1.7)."""

    mode: StreamMode | None = None
    reserve_group: bool | None = None
    reserve_value: bool | None = None
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True)
class TerminationState:
    """TerminationState descriptor (RFC 3525 7.1.5)."""

    service_state: ServiceState | None = None
    event_buffer_control: EventBufferControl | None = None
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True)
class StatisticsDescriptor:
    """Statistics descriptor (RFC 3525 7.1.15)."""

    items: tuple[Statistic, ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """Stream descriptor; `stream_id` is None when the media descriptor holds the parameters of its only stream."""

    stream_id: int | None = 1
    local_control: LocalControl | None = None
    local: str | None = None
    remote: str | None = None
    statistics: StatisticsDescriptor | None = None


@dataclass(frozen=True, slots=True)
class MediaDescriptor:
    """Media descriptor (RFC 3525 7.1.4)."""

    streams: tuple[Stream, ...] = ()
    termination_state: TerminationState | None = None


@dataclass(frozen=True, slots=True)
class DigitMapDescriptor:
    """Digit map, kept as text (RFC 3525 7.1.14)."""

    name: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal and how to play it (RFC 3525 7.1.11)."""

    name: str
    parameters: tuple[Property, ...] = ()
    stream: int | None = None
    signal_type: SignalType | None = None
    duration: int | None = None
    notify_completion: tuple[NotificationReason, ...] = ()
    keep_active: bool = False
    direction: SignalDirection | None = None
    request_id: int | None = None
    intersignal_delay: int | None = None


@dataclass(frozen=True, slots=True)
class SignalList:
    """Signals played one after the other."""

    list_id: int
    signals: tuple[Signal, ...]


@dataclass(frozen=True, slots=True)
class SignalsDescriptor:
    """Signals descriptor; empty: stop all signals."""

    signals: tuple[Signal | SignalList, ...] = ()


@dataclass(frozen=True, slots=True)
class Embed:
    """Signals and events that take effect when an event is detected."""

    signals: SignalsDescriptor | None = None
    events: EventsDescriptor | None = None


@dataclass(frozen=True, slots=True)
class NotifyBehaviour:
    """When the MG notifies (H.248.1 v3)."""

    kind: NotifyKind
    embed: Embed | None = None


@dataclass(frozen=True, slots=True)
class RequestedEvent:
    """An event to detect (RFC 3525 7.1.9)."""

    name: str
    parameters: tuple[Property, ...] = ()
    stream: int | None = None
    keep_active: bool = False
    embed: Embed | None = None
    digit_map: DigitMapDescriptor | None = None
    notify: NotifyBehaviour | None = None
    reset_events: bool = False


@dataclass(frozen=True, slots=True)
class EventsDescriptor:
    """Events descriptor; without request id and events: stop detection."""

    request_id: int | None = None
    events: tuple[RequestedEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedEvent:
    """A detected event; `timestamp` is yyyymmddThhmmssss (hundredths of a second)."""

    name: str
    parameters: tuple[Property, ...] = ()
    stream: int | None = None
    timestamp: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedEventsDescriptor:
    """Detected events, under the request id that asked for them (RFC 3525 7.1.17)."""

    request_id: int
    events: tuple[ObservedEvent, ...]


@dataclass(frozen=True, slots=True)
class EventBufferDescriptor:
    """Events to buffer (RFC 3525 7.1.10)."""

    events: tuple[ObservedEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class PackagesDescriptor:
    """Packages of a termination (RFC 3525 7.1.16)."""

    items: tuple[PackageItem, ...]


@dataclass(frozen=True, slots=True)
class MuxDescriptor:
    """Multiplexed bearers (RFC 3525 7.1.3)."""

    mux_type: str
    terminations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModemDescriptor:
    """Modem descriptor, deprecated (RFC 3525 7.1.2)."""

    types: tuple[str, ...]
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceChangeDescriptor:
    """ServiceChange parameters of a request or a reply (RFC 3525 7.2.8). `address` may be a port alone."""

    method: str | None = None
    reason: str | None = None
    delay: int | None = None
    address: MId | int | None = None
    mgc_id: MId | None = None
    profile: str | None = None
    version: int | None = None
    timestamp: str | None = None
    incomplete: bool = False
    extensions: tuple[Property, ...] = ()
    audit: tuple[AuditItem, ...] = ()


# -- Audits ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IndAudProperty:
    """A name, or a property with a value that selects (H.248.1 v3)."""

    name: str
    values: tuple[str, ...] = ()
    relation: Relation = Relation.EQUAL


@dataclass(frozen=True, slots=True)
class IndAudLocalControl:
    """Individual audit of LocalControl: bare tokens in `tokens`, a mode that selects in `mode`."""

    tokens: tuple[str, ...] = ()
    mode: StreamMode | None = None
    mode_relation: Relation = Relation.EQUAL
    properties: tuple[IndAudProperty, ...] = ()


@dataclass(frozen=True, slots=True)
class IndAudTerminationState:
    """Individual audit of TerminationState."""

    tokens: tuple[str, ...] = ()
    service_state: ServiceState | None = None
    state_relation: Relation = Relation.EQUAL
    properties: tuple[IndAudProperty, ...] = ()


@dataclass(frozen=True, slots=True)
class IndAudStatistics:
    """Individual audit of one statistic."""

    name: str


@dataclass(frozen=True, slots=True)
class IndAudStream:
    """Individual audit of a stream, of the only stream when `stream_id` is None.

    `local`, `remote`: the octets to look for, empty for whatever there is, None when the descriptor is not asked for.
    """

    stream_id: int | None = None
    local: str | None = None
    remote: str | None = None
    local_control: IndAudLocalControl | None = None
    statistics: IndAudStatistics | None = None


@dataclass(frozen=True, slots=True)
class IndAudMedia:
    """Individual audit of a media descriptor."""

    streams: tuple[IndAudStream, ...] = ()
    termination_state: IndAudTerminationState | None = None


@dataclass(frozen=True, slots=True)
class IndAudEvents:
    """Individual audit of one requested event."""

    name: str
    request_id: int | None = None


@dataclass(frozen=True, slots=True)
class IndAudEventBuffer:
    """Individual audit of one buffered event."""

    name: str
    stream: int | None = None
    parameter: str | None = None


@dataclass(frozen=True, slots=True)
class IndAudSignals:
    """Individual audit of a signal or a signal list; empty: none named."""

    signal: Signal | None = None
    list_id: int | None = None


@dataclass(frozen=True, slots=True)
class IndAudDigitMap:
    """Individual audit of a digit map."""

    name: str


@dataclass(frozen=True, slots=True)
class IndAudPackages:
    """Individual audit of a package."""

    item: PackageItem


AuditItem = (
    AuditToken
    | IndAudMedia
    | IndAudEvents
    | IndAudEventBuffer
    | IndAudSignals
    | IndAudDigitMap
    | IndAudStatistics
    | IndAudPackages
)


@dataclass(frozen=True, slots=True)
class AuditDescriptor:
    """What an audit asks for; empty: only whether the termination exists (RFC 3525 7.1.12)."""

    items: tuple[AuditItem, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditReturnItem:
    """A descriptor that an audit reply names without content."""

    token: AuditToken


Descriptor = (
    MediaDescriptor
    | EventsDescriptor
    | ObservedEventsDescriptor
    | EventBufferDescriptor
    | SignalsDescriptor
    | DigitMapDescriptor
    | StatisticsDescriptor
    | AuditDescriptor
    | AuditReturnItem
    | ServiceChangeDescriptor
    | ErrorDescriptor
    | PackagesDescriptor
    | MuxDescriptor
    | ModemDescriptor
)
D = TypeVar("D")


# -- Contexts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Topology:
    """One triple of the topology descriptor (RFC 3525 7.1.18); `extension` refines a direction (H.248.1 v3)."""

    source: str
    sink: str
    direction: TopologyDirection
    stream: int | None = None
    extension: TopologyDirection | None = None


@dataclass(frozen=True, slots=True)
class ContextProperties:
    """Properties of a context: priority, emergency, topology and, in version 3, packages' properties (ContextAttr)."""

    topology: tuple[Topology, ...] = ()
    priority: int | None = None
    emergency: bool | None = None
    ieps: bool | None = None
    attributes: tuple[Property, ...] = ()
    context_list: tuple[int, ...] = ()

    def attribute(self, name: str) -> Property | None:
        """The property of that name, whatever its case."""
        wanted = name.lower()
        return next((item for item in self.attributes if item.name.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class ContextAudit:
    """What to report of a context and, in version 3, which contexts to select."""

    topology: bool = False
    emergency: bool = False
    priority: bool = False
    ieps: bool = False
    properties: tuple[str, ...] = ()
    select: ContextProperties | None = None
    logic: SelectLogic | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A command or the reply to one, on one termination or more.

    `context_audit`: an audit reply that lists the terminations of a context ("AuditValue = Context { ... }").
    """

    kind: CommandKind
    terminations: tuple[str, ...]
    descriptors: tuple[Descriptor, ...] = ()
    optional: bool = False
    wildcard: bool = False
    context_audit: bool = False

    @property
    def termination(self) -> str:
        """The first termination."""
        return self.terminations[0] if self.terminations else ""

    def find(self, kind: type[D]) -> D | None:
        """The descriptor of that class, None if there is none."""
        for descriptor in self.descriptors:
            if isinstance(descriptor, kind):
                return descriptor
        return None


@dataclass(frozen=True, slots=True)
class Action:
    """What is asked of, or reported about, one context."""

    context_id: int
    commands: tuple[Command, ...] = ()
    properties: ContextProperties | None = None
    audit: ContextAudit | None = None
    error: ErrorDescriptor | None = None


# -- Transactions and messages ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """A transaction to execute, action after action."""

    transaction_id: int
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class TransactionReply:
    """The outcome of a transaction: actions, or one error for all of it. Segments are of version 3."""

    transaction_id: int
    actions: tuple[Action, ...] = ()
    error: ErrorDescriptor | None = None
    immediate_ack: bool = False
    segment: int | None = None
    last_segment: bool = False


@dataclass(frozen=True, slots=True)
class TransactionPending:
    """The transaction is being executed."""

    transaction_id: int


@dataclass(frozen=True, slots=True)
class TransactionResponseAck:
    """Replies received: inclusive ranges of transaction ids."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class SegmentReply:
    """A segment received (H.248.1 v3)."""

    transaction_id: int
    segment: int
    last_segment: bool = False


Transaction = (
    TransactionRequest | TransactionReply | TransactionPending | TransactionResponseAck | SegmentReply
)


@dataclass(frozen=True, slots=True)
class AuthenticationHeader:
    """Interim authentication header (RFC 3525 10.2): hexadecimal digits without 0x."""

    security_parameter_index: str
    sequence_number: str
    data: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """A message: protocol version, sender, and either transactions or one error about the message it answers."""

    version: int
    mid: MId
    transactions: tuple[Transaction, ...] = ()
    error: ErrorDescriptor | None = None
    auth: AuthenticationHeader | None = None
