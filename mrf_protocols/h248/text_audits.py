"""Rules of audits: whole descriptors, and the individual items that versions 2 and 3 can ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mrf_protocols.h248.text_cursor import RELATIONS
from mrf_protocols.h248.text_descriptors import SERVICE_STATES, STREAM_MODES, DescriptorParser
from mrf_protocols.h248.values import (
    AuditDescriptor,
    AuditItem,
    AuditToken,
    IndAudDigitMap,
    IndAudEventBuffer,
    IndAudEvents,
    IndAudLocalControl,
    IndAudMedia,
    IndAudPackages,
    IndAudProperty,
    IndAudSignals,
    IndAudStatistics,
    IndAudStream,
    IndAudTerminationState,
    Property,
    Relation,
    Signal,
    StreamMode,
)

AUDIT_TOKENS: Final = {token.value: token for token in AuditToken}
_LOCAL_CONTROL_TOKENS: Final = frozenset({"Mode", "ReservedGroup", "ReservedValue"})
_STATE_TOKENS: Final = frozenset({"ServiceStates", "Buffer"})


class AuditParser(DescriptorParser):
    """auditDescriptor and everything that may stand in it."""

    __slots__ = ()

    def audit(self) -> AuditDescriptor:
        """auditDescriptor = AuditToken LBRKT [auditItem *(COMMA auditItem)] RBRKT."""
        self.i += 1
        if self.tokens[self.i + 1] == "}":
            self.expect("{")
            self.i += 1
            return AuditDescriptor()
        return AuditDescriptor(self.items(self.audit_item))

    def audit_item(self) -> AuditItem:
        """auditItem = a descriptor's token, or indAudterminationAudit."""
        if self.octets_next():
            self.fail("audit item")
        word = self.keyword()
        token = AUDIT_TOKENS.get(word or "")
        if token is None:
            self.fail("audit item")
        following = self.tokens[self.i + 1]
        if following not in {"{", "="}:
            self.i += 1
            return token
        rules: dict[AuditToken, Callable[[], AuditItem]] = {
            AuditToken.MEDIA: self.ind_aud_media,
            AuditToken.EVENTS: self.ind_aud_events,
            AuditToken.EVENT_BUFFER: self.ind_aud_event_buffer,
            AuditToken.SIGNALS: self.ind_aud_signals,
            AuditToken.DIGIT_MAP: self.ind_aud_digit_map,
            AuditToken.STATISTICS: self.ind_aud_statistics,
            AuditToken.PACKAGES: self.ind_aud_packages,
        }
        individual = rules.get(token)
        if individual is None:
            self.fail("a bare audit item")
        return individual()

    def ind_aud_media(self) -> IndAudMedia:
        """indAudmediaDescriptor = MediaToken LBRKT indAudmediaParm *( ... ) RBRKT."""
        self.i += 1
        streams: list[IndAudStream] = []
        state: IndAudTerminationState | None = None
        inline: dict[str, Any] = {}
        self.expect("{")
        while True:
            word = self.keyword()
            if word == "Stream":
                self.i += 1
                stream_id = self.equals_uint16()
                found: dict[str, Any] = {}
                self.expect("{")
                self.ind_aud_stream_parm(found)  # just one: the same stream may follow once more
                self.expect("}")
                streams.append(IndAudStream(stream_id, **found))
            elif word == "TerminationState" and state is None:
                state = self.ind_aud_termination_state()
            else:
                self.ind_aud_stream_parm(inline)
            if not self.accept(","):
                break
        self.expect("}")
        if inline:
            if streams:
                self.fail("streams or the parameters of one stream, not both")
            streams.append(IndAudStream(None, **inline))
        return IndAudMedia(tuple(streams), state)

    def ind_aud_stream_parm(self, found: dict[str, Any]) -> None:
        """indAudstreamParm, at most once each."""
        value: Any
        word = self.keyword()
        if self.octets_next():
            name, _, value = self.octet_string()
            field = name.lower()
            if field not in {"local", "remote"}:
                self.i -= 1
                self.fail("Local or Remote")
        elif word == "LocalControl":
            field, value = "local_control", self.ind_aud_local_control()
        elif word == "Statistics":
            field, value = "statistics", self.ind_aud_statistics()
        else:
            self.fail("stream parameter")
        if field in found:
            self.fail("each stream parameter once")
        found[field] = value

    def ind_aud_property(self) -> IndAudProperty:
        """A property's name, or a property with the value that selects."""
        name = self.pkgd_name()
        if self.tokens[self.i] not in RELATIONS:
            return IndAudProperty(name)
        found: Property = self.parm_value(name)
        return IndAudProperty(name, found.values, found.relation)

    def selecting_relation(self) -> Relation | None:
        """EQUAL / INEQUAL, None when there is neither."""
        if self.accept("="):
            return Relation.EQUAL
        return Relation.NOT_EQUAL if self.accept("#") else None

    def once(self, word: str, seen: set[str]) -> None:
        """At most once per item."""
        if word in seen:
            self.fail("each audit item once")
        seen.add(word)

    def ind_aud_local_control(self) -> IndAudLocalControl:
        """indAudlocalControlDescriptor."""
        self.i += 1
        tokens: list[str] = []
        seen: set[str] = set()
        mode: StreamMode | None = None
        mode_relation = Relation.EQUAL
        properties: list[IndAudProperty] = []
        self.expect("{")
        while True:
            word = self.keyword()
            if word in _LOCAL_CONTROL_TOKENS:
                self.i += 1
                relation = self.selecting_relation() if word == "Mode" else None
                self.once(word, seen)
                if relation is None:
                    tokens.append(word)
                else:
                    mode, mode_relation = self.choice(STREAM_MODES), relation
            else:
                properties.append(self.ind_aud_property())
            if not self.accept(","):
                break
        self.expect("}")
        return IndAudLocalControl(tuple(tokens), mode, mode_relation, tuple(properties))

    def ind_aud_termination_state(self) -> IndAudTerminationState:
        """indAudterminationStateDescriptor = TerminationStateToken LBRKT indAudterminationStateParm RBRKT."""
        self.i += 1
        self.expect("{")
        word = self.keyword()
        if word not in _STATE_TOKENS:
            found = IndAudTerminationState(properties=(self.ind_aud_property(),))
        else:
            self.i += 1
            relation = self.selecting_relation() if word == "ServiceStates" else None
            if relation is None:
                found = IndAudTerminationState((word,))
            else:
                found = IndAudTerminationState((), self.choice(SERVICE_STATES), relation)
        self.expect("}")
        return found

    def ind_aud_events(self) -> IndAudEvents:
        """indAudeventsDescriptor = EventsToken [EQUAL RequestID] LBRKT indAudrequestedEvent RBRKT."""
        self.i += 1
        request_id = self.request_id() if self.accept("=") else None
        self.expect("{")
        name = self.pkgd_name()
        self.expect("}")
        return IndAudEvents(name, request_id)

    def ind_aud_event_buffer(self) -> IndAudEventBuffer:
        """indAudeventBufferDescriptor = EventBufferToken LBRKT indAudeventSpec RBRKT."""
        self.i += 1
        self.expect("{")
        name = self.pkgd_name()
        stream: int | None = None
        parameter: str | None = None
        if self.accept("{"):
            if self.keyword() == "Stream" and self.tokens[self.i + 1] == "=":
                self.i += 1
                stream = self.equals_uint16()
            else:
                parameter = self.name()
            self.expect("}")
        self.expect("}")
        return IndAudEventBuffer(name, stream, parameter)

    def ind_aud_signals(self) -> IndAudSignals:
        """indAudsignalsDescriptor = SignalsToken LBRKT [indAudsignalParm] RBRKT."""
        self.i += 1
        self.expect("{")
        if self.accept("}"):
            return IndAudSignals()
        signal: Signal | None = None
        list_id: int | None = None
        if self.keyword() == "SignalList":
            self.i += 1
            list_id = self.equals_uint16()
            if self.accept("{"):
                signal = self.ind_aud_signal_request()
                self.expect("}")
        else:
            signal = self.ind_aud_signal_request()
        self.expect("}")
        return IndAudSignals(signal, list_id)

    def ind_aud_signal_request(self) -> Signal:
        """indAudsignalRequest: of its parameters only sigStream and sigRequestID."""
        found = self.signal_request()
        if found != Signal(found.name, stream=found.stream, request_id=found.request_id):
            self.fail("stream or request identifier")
        return found

    def ind_aud_digit_map(self) -> IndAudDigitMap:
        """indAuddigitMapDescriptor = DigitMapToken EQUAL digitMapName."""
        found = self.digit_map()
        if found.name is None or found.value is not None:
            self.fail("digit map name")
        return IndAudDigitMap(found.name)

    def ind_aud_statistics(self) -> IndAudStatistics:
        """indAudstatisticsDescriptor = StatsToken LBRKT pkgdName RBRKT."""
        self.i += 1
        self.expect("{")
        name = self.pkgd_name()
        self.expect("}")
        return IndAudStatistics(name)

    def ind_aud_packages(self) -> IndAudPackages:
        """indAudpackagesDescriptor = PackagesToken LBRKT packagesItem RBRKT."""
        self.i += 1
        self.expect("{")
        item = self.packages_item()
        self.expect("}")
        return IndAudPackages(item)
