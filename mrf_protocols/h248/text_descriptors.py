"""Rules of the descriptors (annex B of RFC 3525, H.248.1 version 3)."""

from __future__ import annotations

import re
from typing import Any, Final

from mrf_protocols.h248.grammar import EXTENSION, KEYWORDS, LWSP, MUX_TYPE, OCTETS, SAFE, TIME_STAMP
from mrf_protocols.h248.text_cursor import RELATIONS, Cursor
from mrf_protocols.h248.values import (
    DigitMapDescriptor,
    Embed,
    ErrorDescriptor,
    EventBufferControl,
    EventBufferDescriptor,
    EventsDescriptor,
    LocalControl,
    MediaDescriptor,
    ModemDescriptor,
    MuxDescriptor,
    NotificationReason,
    NotifyBehaviour,
    NotifyKind,
    ObservedEvent,
    ObservedEventsDescriptor,
    PackagesDescriptor,
    Property,
    RequestedEvent,
    ServiceState,
    Signal,
    SignalDirection,
    SignalList,
    SignalsDescriptor,
    SignalType,
    Statistic,
    StatisticsDescriptor,
    Stream,
    StreamMode,
    TerminationState,
)

STREAM_MODES: Final = {mode.value: mode for mode in StreamMode}
SERVICE_STATES: Final = {state.value: state for state in ServiceState}
_BUFFER_CONTROLS: Final = {control.value: control for control in EventBufferControl}
_SIGNAL_TYPES: Final = {kind.value: kind for kind in SignalType}
_DIRECTIONS: Final = {direction.value: direction for direction in SignalDirection}
_REASONS: Final = {reason.value: reason for reason in NotificationReason}
_NOTIFY: Final = {kind.value: kind for kind in NotifyKind}
_OCTET_TOKEN: Final = re.compile(
    rf"({SAFE}+){LWSP}(=)?{LWSP}({SAFE}*){LWSP}\{{{LWSP}({OCTETS})\}}",
)
_OCTET_SPACE: Final = " \t\r\n"


class DescriptorParser(Cursor):
    """Everything between the braces of a command."""

    __slots__ = ()

    # -- octet strings ---------------------------------------------------------------------------------------------

    def octet_string(self) -> tuple[str, str | None, str]:
        """Keyword, name (digit maps only) and octets of a token that holds an octet string."""
        found = _OCTET_TOKEN.fullmatch(self.tokens[self.i])
        if found is None:
            self.fail("octet string")
        self.i += 1
        octets = found[4].strip(_OCTET_SPACE)
        return KEYWORDS[found[1].lower()], found[3] or None, octets.replace("\\}", "}")

    def digit_map(self) -> DigitMapDescriptor:
        """digitMapDescriptor = DigitMapToken EQUAL ( LBRKT ... RBRKT / digitMapName [ LBRKT ... RBRKT ] )."""
        if self.octets_next():
            word, name, value = self.octet_string()
            if word != "DigitMap":
                self.i -= 1
                self.fail("DigitMap")
            return DigitMapDescriptor(name, value)
        self.i += 1
        self.expect("=")
        return DigitMapDescriptor(self.safe())

    def event_digit_map(self) -> DigitMapDescriptor:
        """eventDM = DigitMapToken EQUAL ( digitMapName / LBRKT digitMapValue RBRKT )."""
        found = self.digit_map()
        if found.name is not None and found.value is not None:
            self.fail("name or value of a digit map")
        return found

    # -- media -----------------------------------------------------------------------------------------------------

    def media(self) -> MediaDescriptor:
        """mediaDescriptor = MediaToken LBRKT mediaParm *(COMMA mediaParm) RBRKT."""
        self.i += 1
        streams: list[Stream] = []
        state: TerminationState | None = None
        inline: dict[str, Any] = {}
        self.expect("{")
        while True:
            word = self.keyword()
            if word == "Stream":
                streams.append(self.stream())
            elif word == "TerminationState":
                if state is not None:
                    self.fail("one TerminationState")
                state = self.termination_state()
            else:
                self.stream_parm(inline, word)
            if self.tokens[self.i] != ",":
                break
            self.i += 1
        self.expect("}")
        if inline:
            if streams:
                self.fail("streams or the parameters of one stream, not both")
            streams.append(Stream(None, **inline))
        return MediaDescriptor(tuple(streams), state)

    def stream(self) -> Stream:
        """streamDescriptor = StreamToken EQUAL StreamID LBRKT streamParm *(COMMA streamParm) RBRKT."""
        self.i += 1
        stream_id = self.equals_uint16()
        found: dict[str, Any] = {}
        self.expect("{")
        self.stream_parm(found, self.keyword())
        while self.tokens[self.i] == ",":
            self.i += 1
            self.stream_parm(found, self.keyword())
        self.expect("}")
        return Stream(stream_id, **found)

    def stream_parm(self, found: dict[str, Any], word: str | None) -> None:
        """streamParm, at most once each."""
        value: Any
        if self.octets_next():
            name, _, value = self.octet_string()
            field = name.lower()
            if field not in {"local", "remote"}:
                self.i -= 1
                self.fail("Local or Remote")
        elif word == "LocalControl":
            field, value = "local_control", self.local_control()
        elif word == "Statistics":
            field, value = "statistics", self.statistics()
        else:
            self.fail("stream parameter")
        if field in found:
            self.fail("each stream parameter once")
        found[field] = value

    def local_control(self) -> LocalControl:
        """localControlDescriptor = LocalControlToken LBRKT localParm *(COMMA localParm) RBRKT."""
        self.i += 1
        mode: StreamMode | None = None
        group: bool | None = None
        value: bool | None = None
        properties: list[Property] = []
        self.expect("{")
        while True:
            word = self.keyword()
            if word == "Mode" and mode is None:
                self.i += 1
                self.expect("=")
                mode = self.choice(STREAM_MODES)
            elif word == "ReservedGroup" and group is None:
                self.i += 1
                group = self.on_off()
            elif word == "ReservedValue" and value is None:
                self.i += 1
                value = self.on_off()
            else:
                properties.append(self.property_parm())
            if self.tokens[self.i] != ",":
                break
            self.i += 1
        self.expect("}")
        return LocalControl(mode, group, value, tuple(properties))

    def termination_state(self) -> TerminationState:
        """terminationStateDescriptor = TerminationStateToken LBRKT terminationStateParm *( ... ) RBRKT."""
        self.i += 1
        state: ServiceState | None = None
        control: EventBufferControl | None = None
        properties: list[Property] = []
        self.expect("{")
        while True:
            word = self.keyword()
            if word == "ServiceStates" and state is None:
                self.i += 1
                self.expect("=")
                state = self.choice(SERVICE_STATES)
            elif word == "Buffer" and control is None:
                self.i += 1
                self.expect("=")
                control = self.choice(_BUFFER_CONTROLS)
            else:
                properties.append(self.property_parm())
            if self.tokens[self.i] != ",":
                break
            self.i += 1
        self.expect("}")
        return TerminationState(state, control, tuple(properties))

    def statistics(self) -> StatisticsDescriptor:
        """statisticsDescriptor = StatsToken [LBRKT statisticsParameter *( ... ) RBRKT]."""
        self.i += 1
        if self.tokens[self.i] != "{":
            return StatisticsDescriptor()
        return StatisticsDescriptor(self.items(self.statistics_parameter))

    def statistics_parameter(self) -> Statistic:
        """statisticsParameter = pkgdName [EQUAL VALUE / EQUAL LSBRKT VALUE *(COMMA VALUE) RSBRKT]."""
        name = self.pkgd_name()
        if not self.accept("="):
            return Statistic(name)
        if self.tokens[self.i] == "[":
            return Statistic(name, self.items(self.value, "[", "]"), sublist=True)
        return Statistic(name, (self.value(),))

    # -- events ----------------------------------------------------------------------------------------------------

    def events(self) -> EventsDescriptor:
        """eventsDescriptor = EventsToken [EQUAL RequestID LBRKT requestedEvent *( ... ) RBRKT]."""
        return self._events(embedded=False)

    def _events(self, *, embedded: bool) -> EventsDescriptor:
        self.i += 1
        if self.tokens[self.i] != "=":
            return EventsDescriptor()
        self.i += 1
        request_id = self.request_id()
        # embedded events embed signals only, so the nesting ends here
        rule = self.second_requested_event if embedded else self.requested_event
        return EventsDescriptor(request_id, self.items(rule))

    def requested_event(self) -> RequestedEvent:
        """requestedEvent = pkgdName [LBRKT eventParameter *(COMMA eventParameter) RBRKT]."""
        return self._requested_event(embedded=False)

    def second_requested_event(self) -> RequestedEvent:
        """secondRequestedEvent: as above, but without embedded events."""
        return self._requested_event(embedded=True)

    def _requested_event(self, *, embedded: bool) -> RequestedEvent:
        name = self.pkgd_name()
        if self.tokens[self.i] != "{":
            return RequestedEvent(name)
        found: dict[str, Any] = {}
        parameters: list[Property] = []
        self.i += 1
        while True:
            self.event_parameter(found, parameters, embedded=embedded)
            if self.tokens[self.i] != ",":
                break
            self.i += 1
        self.expect("}")
        return RequestedEvent(name, tuple(parameters), **found)

    def event_parameter(self, found: dict[str, Any], parameters: list[Property], *, embedded: bool) -> None:
        """eventParameter: embedded descriptors and flags at most once each, or a parameter of the package."""
        value: Any
        word = "DigitMap" if self.octets_next() else self.keyword()
        related = self.tokens[self.i + 1] in RELATIONS
        if word == "DigitMap":
            field, value = "digit_map", self.event_digit_map()
        elif word == "Stream" and related:
            self.i += 1
            field, value = "stream", self.equals_uint16()
        elif related or word is None:
            parameters.append(self.parm_value(self.name()))
            return
        elif word == "KeepActive":
            self.i += 1
            field, value = "keep_active", True
        elif word == "Embed":
            field, value = "embed", self.embed(embedded=embedded)
        elif word == "ResetEventsDescriptor":
            self.i += 1
            field, value = "reset_events", True
        elif word in _NOTIFY:
            field, value = "notify", self.notify_behaviour()
        else:
            self.fail("event parameter")
        if field in found:
            self.fail("each event parameter once")
        found[field] = value

    def embed(self, *, embedded: bool = False) -> Embed:
        """embedWithSig, embedNoSig, embedSig = EmbedToken LBRKT [signalsDescriptor] [COMMA] [embedFirst] RBRKT."""
        self.i += 1
        self.expect("{")
        signals: SignalsDescriptor | None = None
        events: EventsDescriptor | None = None
        if self.keyword() == "Signals":
            signals = self.signals()
        if not embedded and (signals is None or self.accept(",")):
            if self.keyword() != "Events":
                self.fail("Signals or Events")
            events = self._events(embedded=True)
        if signals is None and events is None:
            self.fail("Signals")
        self.expect("}")
        return Embed(signals, events)

    def notify_behaviour(self) -> NotifyBehaviour:
        """notifyBehaviour = NotifyImmediateToken / NeverNotifyToken / NotifyRegulatedToken [LBRKT embed RBRKT]."""
        kind = self.choice(_NOTIFY)
        if kind is not NotifyKind.REGULATED or not self.accept("{"):
            return NotifyBehaviour(kind)
        if self.keyword() != "Embed":
            self.fail("Embed")
        embed = self.embed()
        self.expect("}")
        return NotifyBehaviour(kind, embed)

    def event_buffer(self) -> EventBufferDescriptor:
        """eventBufferDescriptor = EventBufferToken [LBRKT eventSpec *(COMMA eventSpec) RBRKT]."""
        self.i += 1
        if self.tokens[self.i] != "{":
            return EventBufferDescriptor()
        return EventBufferDescriptor(self.items(self.observed_event))

    def observed_events(self) -> ObservedEventsDescriptor:
        """observedEventsDescriptor = ObservedEventsToken EQUAL RequestID LBRKT observedEvent *( ... ) RBRKT."""
        self.i += 1
        self.expect("=")
        request_id = self.request_id()
        return ObservedEventsDescriptor(request_id, self.items(self.observed_event))

    def observed_event(self) -> ObservedEvent:
        """observedEvent = [TimeStamp LWSP COLON] LWSP pkgdName [LBRKT observedEventParameter *( ... ) RBRKT]."""
        timestamp: str | None = None
        if self.tokens[self.i + 1][:1] == ":":
            timestamp = self.time_stamp()
            self.i += 1
        name = self.pkgd_name()
        if self.tokens[self.i] != "{":
            return ObservedEvent(name, timestamp=timestamp)
        parameters: list[Property] = []
        stream: int | None = None
        self.i += 1
        while True:
            if self.keyword() == "Stream" and stream is None:
                self.i += 1
                stream = self.equals_uint16()
            else:
                parameters.append(self.parm_value(self.name()))
            if self.tokens[self.i] != ",":
                break
            self.i += 1
        self.expect("}")
        return ObservedEvent(name, tuple(parameters), stream, timestamp)

    def time_stamp(self) -> str:
        """TimeStamp = Date "T" Time."""
        return self.matching(TIME_STAMP, "time stamp").upper()

    # -- signals ---------------------------------------------------------------------------------------------------

    def signals(self) -> SignalsDescriptor:
        """signalsDescriptor = SignalsToken [LBRKT signalParm *(COMMA signalParm) RBRKT]."""
        self.i += 1
        if self.tokens[self.i] != "{":
            return SignalsDescriptor()
        if self.tokens[self.i + 1] == "}":  # some write empty braces
            self.i += 2
            return SignalsDescriptor()
        return SignalsDescriptor(self.items(self.signal_parm))

    def signal_parm(self) -> Signal | SignalList:
        """signalParm = signalList / signalRequest."""
        if self.keyword() == "SignalList":
            self.i += 1
            return SignalList(self.equals_uint16(), self.items(self.signal_request))
        return self.signal_request()

    def signal_request(self) -> Signal:
        """signalRequest = signalName [LBRKT sigParameter *(COMMA sigParameter) RBRKT]."""
        name = self.pkgd_name()
        if self.tokens[self.i] != "{":
            return Signal(name)
        found: dict[str, Any] = {}
        parameters: list[Property] = []
        self.i += 1
        while True:
            self.signal_parameter(found, parameters)
            if self.tokens[self.i] != ",":
                break
            self.i += 1
        self.expect("}")
        return Signal(name, tuple(parameters), **found)

    def signal_parameter(self, found: dict[str, Any], parameters: list[Property]) -> None:
        """sigParameter, at most once each, or a parameter of the package."""
        value: Any
        word = self.keyword()
        self.i += 1
        if word == "Stream":
            field, value = "stream", self.equals_uint16()
        elif word == "SignalType":
            self.expect("=")
            field, value = "signal_type", self.choice(_SIGNAL_TYPES)
        elif word == "Duration":
            field, value = "duration", self.equals_uint16()
        elif word == "NotifyCompletion":
            self.expect("=")
            field, value = "notify_completion", self.items(self.notification_reason)
        elif word == "KeepActive" and self.tokens[self.i] not in RELATIONS:
            field, value = "keep_active", True
        elif word == "SPADirection":
            self.expect("=")
            field, value = "direction", self.choice(_DIRECTIONS)
        elif word == "SPARequestID":
            self.expect("=")
            field, value = "request_id", self.request_id()
        elif word == "Intersignal":
            field, value = "intersignal_delay", self.equals_uint16()
        else:
            self.i -= 1
            parameters.append(self.parm_value(self.name()))
            return
        if field in found:
            self.fail("each signal parameter once")
        found[field] = value

    def notification_reason(self) -> NotificationReason:
        """notificationReason."""
        return self.choice(_REASONS)

    # -- the rest --------------------------------------------------------------------------------------------------

    def packages(self) -> PackagesDescriptor:
        """packagesDescriptor = PackagesToken LBRKT packagesItem *(COMMA packagesItem) RBRKT."""
        self.i += 1
        return PackagesDescriptor(self.items(self.packages_item))

    def mux(self) -> MuxDescriptor:
        """muxDescriptor = MuxToken EQUAL MuxType terminationIDList."""
        self.i += 1
        self.expect("=")
        return MuxDescriptor(self.matching(MUX_TYPE, "multiplex type"), self.items(self.termination_id))

    def modem(self) -> ModemDescriptor:
        """modemDescriptor = ModemToken (EQUAL modemType / LSBRKT modemType *( ... ) RSBRKT) [properties]."""
        self.i += 1
        types = (self.safe(),) if self.accept("=") else self.items(self.safe, "[", "]")
        properties = self.items(self.property_parm) if self.tokens[self.i] == "{" else ()
        return ModemDescriptor(types, properties)

    def error(self) -> ErrorDescriptor:
        """errorDescriptor = ErrorToken EQUAL ErrorCode LBRKT [errorText] RBRKT."""
        self.i += 1
        self.expect("=")
        code = self.uint(999)
        self.expect("{")
        text = "" if self.tokens[self.i] == "}" else self.quoted()
        self.expect("}")
        return ErrorDescriptor(code, text)

    def extension(self) -> Property:
        """extension = "X" ("-" / "+") 1*6(ALPHA / DIGIT) parmValue."""
        return self.parm_value(self.matching(EXTENSION, "parameter"))
