"""Encoder of the text encoding: `Message` to octets, pretty (long tokens, indented) or compact (short tokens).

Writes only what the grammar allows: a descriptor that would have empty braces is left out, since the grammar has no
form for it. Text that the encoding cannot carry raises H248Error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from mrf_protocols.h248 import values as v
from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.grammar import KEYWORDS, PKGD_NAME, QUOTABLE_TEXT, SAFE_TEXT, SHORT_TOKENS

_LINE_BREAK: Final = "\x00"  # stands for the line breaks of octet strings while a pretty message is indented
_UNQUOTABLE: Final = re.compile(r"[^\t\x20-\x21\x23-\x7e]")
_CONTEXTS: Final = {v.NULL_CONTEXT: "-", v.CHOOSE_CONTEXT: "$", v.ALL_CONTEXTS: "*"}


def encode(message: v.Message, *, pretty: bool = False) -> bytes:
    """The octets of a message. Raises H248Error when a value cannot be written."""
    text = _Writer(pretty=pretty).message(message)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise _unwritable("text") from error


def format_mid(mid: v.MId) -> str:
    """A message identifier in its text form."""
    if isinstance(mid, v.DeviceName):
        return _safe(mid.path)
    if isinstance(mid, v.MtpAddress):
        return f"MTP{{{_safe(mid.digits)}}}"
    host = f"<{_safe(mid.name)}>" if isinstance(mid, v.DomainName) else f"[{mid.address}]"
    return host if mid.port is None else f"{host}:{mid.port}"


def _unwritable(what: str) -> H248Error:
    return H248Error(ErrorCode.INTERNAL_SOFTWARE_FAILURE, f"The text encoding cannot carry this {what}")


def _safe(text: str) -> str:
    if SAFE_TEXT.fullmatch(text) is None:
        raise _unwritable("name")
    return text


def _item_name(text: str) -> str:
    if PKGD_NAME.fullmatch(text) is None:
        raise _unwritable("package item name")
    return _safe(text)


def _value(text: str) -> str:
    if SAFE_TEXT.fullmatch(text) is not None:
        # a word that some scanners take for the start of a descriptor is safer in quotes
        return f'"{text}"' if text in KEYWORDS else text
    return _quoted(text)


def _quoted(text: str) -> str:
    if QUOTABLE_TEXT.fullmatch(text) is None:
        raise _unwritable("value")
    return f'"{text}"'


def _octets(text: str) -> str:
    if _LINE_BREAK in text or text.endswith("\\") or text.startswith(";"):  # a comment, behind the brace
        raise _unwritable("octet string")
    return text.replace("}", "\\}")


class _Writer:
    """Writes in one style. Every rule returns text; indentation of a block is added when its parent closes it."""

    def __init__(self, *, pretty: bool) -> None:
        self.pretty = pretty
        self.equal = " = " if pretty else "="

    # -- style -----------------------------------------------------------------------------------------------------

    def token(self, long: str) -> str:
        return long if self.pretty else SHORT_TOKENS.get(long, long)

    def assign(self, long: str, value: object) -> str:
        return f"{self.token(long)}{self.equal}{value}"

    def block(self, head: str, items: Iterable[str]) -> str:
        """`head { item, item }`, or the head alone when there are no items."""
        found = list(items)
        if not found:
            return head
        if not self.pretty:
            return f"{head}{{{','.join(found)}}}"
        body = ",\n".join(found).replace("\n", "\n\t")
        return f"{head} {{\n\t{body}\n}}"

    def octet_block(self, head: str, text: str) -> str:
        lines = _octets(text).replace("\n", _LINE_BREAK)
        return f"{head}{{{_LINE_BREAK}{lines}{_LINE_BREAK}}}" if self.pretty or text else f"{head}{{}}"

    # -- messages and transactions ---------------------------------------------------------------------------------

    def message(self, message: v.Message) -> str:
        head = f"{self.token('MEGACO')}/{message.version} {format_mid(message.mid)}"
        if message.auth is not None:
            auth = message.auth
            digits = f"0x{auth.security_parameter_index}:0x{auth.sequence_number}:0x{auth.data}"
            head = f"{self.assign('Authentication', digits)}\n{head}"
        if message.error is not None:
            parts = [self.error(message.error)]
        else:
            parts = [self.transaction(item) for item in message.transactions]
        if not parts:
            raise _unwritable("message without transactions")
        return "\n".join([head, *parts]).replace(_LINE_BREAK, "\n")

    def transaction(self, item: v.Transaction) -> str:
        if isinstance(item, v.TransactionRequest):
            head = self.assign("Transaction", item.transaction_id)
            actions = [self.action(action) for action in item.actions]
            if not actions or not all(text.endswith("}") for text in actions):
                raise _unwritable("request without content")
            return self.block(head, actions)
        if isinstance(item, v.TransactionReply):
            return self.transaction_reply(item)
        if isinstance(item, v.TransactionPending):
            return f"{self.assign('Pending', item.transaction_id)}{{}}"
        if isinstance(item, v.TransactionResponseAck):
            acks = (str(a) if a == b else f"{a}-{b}" for a, b in item.ranges)
            return self.block(self.token("TransactionResponseAck"), acks)
        end = f"/{self.token('END')}" if item.last_segment else ""
        return self.assign("Segment", f"{item.transaction_id}/{item.segment}{end}")

    def transaction_reply(self, reply: v.TransactionReply) -> str:
        number = str(reply.transaction_id)
        if reply.segment is not None:
            number += f"/{reply.segment}" + (f"/{self.token('END')}" if reply.last_segment else "")
        parts = [self.token("ImmAckRequired")] if reply.immediate_ack else []
        if reply.error is not None:
            parts.append(self.error(reply.error))
        else:
            parts += map(self.action, reply.actions)
        return self.block(self.assign("Reply", number), parts)

    def context_id(self, number: int) -> str:
        return _CONTEXTS.get(number) or str(number)

    def action(self, action: v.Action) -> str:
        parts: list[str] = []
        if action.properties is not None:
            parts += self.context_properties(action.properties)
        if action.audit is not None:
            parts.append(self.context_audit(action.audit))
        parts += map(self.command, action.commands)
        if action.error is not None:
            parts.append(self.error(action.error))
        return self.block(self.assign("Context", self.context_id(action.context_id)), parts)

    def context_properties(self, item: v.ContextProperties, *, selector: bool = False) -> list[str]:
        parts: list[str] = []
        if item.topology:
            parts.append(self.block(self.token("Topology"), map(self.topology, item.topology)))
        if item.priority is not None:
            parts.append(self.assign("Priority", item.priority))
        if item.emergency is not None:
            word = self.token("Emergency" if item.emergency else "EmergencyOff")
            parts.append(self.assign("EmergencyValue", word) if selector else word)
        if item.ieps is not None:
            parts.append(self.assign("IEPSCall", self.on_off(item.ieps)))
        if item.attributes:
            parts.append(self.block(self.token("ContextAttr"), map(self.property, item.attributes)))
        if item.context_list:
            listed = self.block(
                self.token("ContextList") + self.equal.rstrip(" "), map(self.context_id, item.context_list)
            )
            parts.append(self.block(self.token("ContextAttr"), [listed]))
        return parts

    def topology(self, triple: v.Topology) -> str:
        words = [_safe(triple.source), _safe(triple.sink), self.token(triple.direction.value)]
        if triple.stream is not None:
            words.append(self.assign("Stream", triple.stream))
        if triple.extension is not None:
            words.append(self.token(triple.extension.value))
        return ",".join(words)

    def context_audit(self, audit: v.ContextAudit) -> str:
        parts = [
            self.token(word)
            for word, asked in (
                ("Topology", audit.topology),
                ("Emergency", audit.emergency),
                ("Priority", audit.priority),
                ("IEPSCall", audit.ieps),
            )
            if asked
        ]
        parts += map(_item_name, audit.properties)
        if audit.select is not None:
            parts += self.context_properties(audit.select, selector=True)
        if audit.logic is not None:
            parts.append(audit.logic.value)
        return self.block(self.token("ContextAudit"), parts)

    # -- commands --------------------------------------------------------------------------------------------------

    def command(self, command: v.Command) -> str:
        prefix = ("O-" if command.optional else "") + ("W-" if command.wildcard else "")
        head = f"{prefix}{self.token(command.kind.value)}{self.equal}"
        if command.context_audit:
            context = head + self.token("Context")
            if command.terminations:
                return self.block(context, map(_safe, command.terminations))
            return self.block(context, self.descriptors(command.descriptors))
        names = [_safe(name) for name in command.terminations]
        if not names:
            raise _unwritable("command without termination")
        head += names[0] if len(names) == 1 else f"[{','.join(names)}]"
        return self.block(head, self.descriptors(command.descriptors))

    def descriptors(self, items: tuple[v.Descriptor, ...]) -> list[str]:
        return [text for text in (_RULES[type(item)](self, item) for item in items) if text]

    def on_off(self, value: bool) -> str:
        return "ON" if value else "OFF"

    def property(self, item: v.Property) -> str:
        return _item_name(item.name) + self.parm_value(item)

    def parameter(self, item: v.Property) -> str:
        return _safe(item.name) + self.parm_value(item)

    def parm_value(self, item: v.Property | v.IndAudProperty) -> str:
        values = [_value(text) for text in item.values]
        relation = item.relation
        wanted = 2 if relation is v.Relation.RANGE else 1
        if len(values) < wanted or (
            len(values) > wanted and relation not in {v.Relation.ALL_OF, v.Relation.ANY_OF}
        ):
            raise _unwritable("number of values")
        if relation is v.Relation.RANGE:
            return f"{self.equal}[{values[0]}:{values[1]}]"
        if relation is v.Relation.ALL_OF:
            return f"{self.equal}[{','.join(values)}]"
        if relation is v.Relation.ANY_OF:
            return f"{self.equal}{{{','.join(values)}}}"
        sign = self.equal if relation is v.Relation.EQUAL else self.equal.replace("=", relation.value)
        return sign + values[0]

    # -- descriptors -----------------------------------------------------------------------------------------------

    def error(self, item: v.ErrorDescriptor) -> str:
        # words for people: better a mark than no answer
        text = _quoted(_UNQUOTABLE.sub("?", item.text)) if item.text else ""
        return f"{self.assign('Error', item.code)}{{{text}}}"

    def media(self, item: v.MediaDescriptor) -> str:
        parts: list[str] = []
        if item.termination_state is not None:
            parts += self.braced(
                self.token("TerminationState"), self.termination_state(item.termination_state)
            )
        for stream in item.streams:
            body = self.stream_parms(stream)
            if stream.stream_id is None:
                parts += body
            else:
                parts += self.braced(self.assign("Stream", stream.stream_id), body)
        return self.block(self.token("Media"), parts) if parts else ""

    def braced(self, head: str, body: list[str]) -> list[str]:
        """The block, or nothing when it would be empty."""
        return [self.block(head, body)] if body else []

    def stream_parms(self, stream: v.Stream) -> list[str]:
        parts: list[str] = []
        if stream.local_control is not None:
            parts += self.braced(self.token("LocalControl"), self.local_control(stream.local_control))
        if stream.local is not None:
            parts.append(self.octet_block(self.token("Local"), stream.local))
        if stream.remote is not None:
            parts.append(self.octet_block(self.token("Remote"), stream.remote))
        if stream.statistics is not None:
            parts.append(self.statistics(stream.statistics))
        return parts

    def local_control(self, item: v.LocalControl) -> list[str]:
        parts: list[str] = []
        if item.mode is not None:
            parts.append(self.assign("Mode", self.token(item.mode.value)))
        if item.reserve_group is not None:
            parts.append(self.assign("ReservedGroup", self.on_off(item.reserve_group)))
        if item.reserve_value is not None:
            parts.append(self.assign("ReservedValue", self.on_off(item.reserve_value)))
        return [*parts, *map(self.property, item.properties)]

    def termination_state(self, item: v.TerminationState) -> list[str]:
        parts: list[str] = []
        if item.service_state is not None:
            parts.append(self.assign("ServiceStates", self.token(item.service_state.value)))
        if item.event_buffer_control is not None:
            parts.append(self.assign("Buffer", self.token(item.event_buffer_control.value)))
        return [*parts, *map(self.property, item.properties)]

    def statistics(self, item: v.StatisticsDescriptor) -> str:
        return self.block(self.token("Statistics"), map(self.statistic, item.items))

    def statistic(self, item: v.Statistic) -> str:
        name = _item_name(item.name)
        if not item.values:
            return name
        listed = ",".join(map(_value, item.values))
        return (
            f"{name}{self.equal}[{listed}]" if item.sublist else f"{name}{self.equal}{_value(item.values[0])}"
        )

    def request_id(self, number: int) -> str:
        return "*" if number == v.ALL_REQUESTS else str(number)

    def events(self, item: v.EventsDescriptor) -> str:
        if item.request_id is None or not item.events:
            return self.token("Events")
        head = self.assign("Events", self.request_id(item.request_id))
        return self.block(head, map(self.requested_event, item.events))

    def requested_event(self, item: v.RequestedEvent) -> str:
        parts: list[str] = []
        if item.stream is not None:
            parts.append(self.assign("Stream", item.stream))
        if item.keep_active:
            parts.append(self.token("KeepActive"))
        if item.embed is not None:
            parts += self.embed(item.embed)
        if item.digit_map is not None:
            parts.append(self.digit_map(item.digit_map))
        if item.notify is not None:
            embed = self.embed(item.notify.embed) if item.notify.embed is not None else []
            parts.append(self.block(self.token(item.notify.kind.value), embed))
        if item.reset_events:
            parts.append(self.token("ResetEventsDescriptor"))
        return self.block(_item_name(item.name), [*parts, *map(self.parameter, item.parameters)])

    def embed(self, item: v.Embed) -> list[str]:
        parts: list[str] = []
        if item.signals is not None:
            parts.append(self.signals(item.signals))
        if item.events is not None:
            parts.append(self.events(item.events))
        return self.braced(self.token("Embed"), parts)

    def observed_event(self, item: v.ObservedEvent) -> str:
        stamp = f"{_safe(item.timestamp)}:" if item.timestamp else ""
        parts = [self.assign("Stream", item.stream)] if item.stream is not None else []
        return self.block(stamp + _item_name(item.name), [*parts, *map(self.parameter, item.parameters)])

    def observed_events(self, item: v.ObservedEventsDescriptor) -> str:
        head = self.assign("ObservedEvents", self.request_id(item.request_id))
        return self.block(head, map(self.observed_event, item.events))

    def event_buffer(self, item: v.EventBufferDescriptor) -> str:
        return self.block(self.token("EventBuffer"), map(self.observed_event, item.events))

    def signals(self, item: v.SignalsDescriptor) -> str:
        return self.block(self.token("Signals"), map(self.signal_parm, item.signals))

    def signal_parm(self, item: v.Signal | v.SignalList) -> str:
        if isinstance(item, v.SignalList):
            return self.block(self.assign("SignalList", item.list_id), map(self.signal, item.signals))
        return self.signal(item)

    def signal(self, item: v.Signal) -> str:
        parts: list[str] = []
        if item.stream is not None:
            parts.append(self.assign("Stream", item.stream))
        if item.signal_type is not None:
            parts.append(self.assign("SignalType", self.token(item.signal_type.value)))
        if item.duration is not None:
            parts.append(self.assign("Duration", item.duration))
        if item.notify_completion:
            reasons = ",".join(self.token(reason.value) for reason in item.notify_completion)
            parts.append(self.assign("NotifyCompletion", f"{{{reasons}}}"))
        if item.keep_active:
            parts.append(self.token("KeepActive"))
        if item.direction is not None:
            parts.append(self.assign("SPADirection", self.token(item.direction.value)))
        if item.request_id is not None:
            parts.append(self.assign("SPARequestID", self.request_id(item.request_id)))
        if item.intersignal_delay is not None:
            parts.append(self.assign("Intersignal", item.intersignal_delay))
        return self.block(_item_name(item.name), [*parts, *map(self.parameter, item.parameters)])

    def digit_map(self, item: v.DigitMapDescriptor) -> str:
        head = self.token("DigitMap")
        if item.name is not None:
            head = self.assign("DigitMap", _safe(item.name))
        elif item.value is not None:
            head += self.equal
        if item.value is None:
            return head
        octets = _octets(item.value).replace("\n", _LINE_BREAK)
        return f"{head}{{{octets}}}"

    def packages(self, item: v.PackagesDescriptor) -> str:
        return self.block(self.token("Packages"), map(self.package, item.items))

    def package(self, item: v.PackageItem) -> str:
        return f"{_safe(item.name)}-{item.version}"

    def mux(self, item: v.MuxDescriptor) -> str:
        return self.block(self.assign("Mux", _safe(item.mux_type)), map(_safe, item.terminations))

    def modem(self, item: v.ModemDescriptor) -> str:
        head = f"{self.token('Modem')}[{','.join(map(_safe, item.types))}]"
        return self.block(head, map(self.property, item.properties))

    def service_change(self, item: v.ServiceChangeDescriptor) -> str:
        parts: list[str] = []
        if item.method is not None:
            parts.append(self.assign("Method", self.token(_safe(item.method))))
        if item.address is not None:
            address = item.address if isinstance(item.address, int) else format_mid(item.address)
            parts.append(self.assign("ServiceChangeAddress", address))
        if item.profile is not None:
            parts.append(self.assign("Profile", _safe(item.profile)))
        if item.version is not None:
            parts.append(self.assign("Version", item.version))
        if item.reason is not None:
            parts.append(self.assign("Reason", _quoted(item.reason)))
        if item.delay is not None:
            parts.append(self.assign("Delay", item.delay))
        if item.mgc_id is not None:
            parts.append(self.assign("MgcIdToTry", format_mid(item.mgc_id)))
        if item.timestamp is not None:
            parts.append(_safe(item.timestamp))
        if item.incomplete:
            parts.append(self.token("ServiceChangeInc"))
        parts += map(self.parameter, item.extensions)
        parts += map(self.audit_item, item.audit)
        return self.block(self.token("Services"), parts) if parts else ""

    # -- audits ----------------------------------------------------------------------------------------------------

    def audit(self, item: v.AuditDescriptor) -> str:
        if not item.items:
            return f"{self.token('Audit')}{{}}"
        return self.block(self.token("Audit"), map(self.audit_item, item.items))

    def audit_return_item(self, item: v.AuditReturnItem) -> str:
        return self.token(item.token.value)

    def audit_item(self, item: v.AuditItem) -> str:
        if isinstance(item, v.AuditToken):
            return self.token(item.value)
        return _AUDIT_RULES[type(item)](self, item)

    def ind_aud_media(self, item: v.IndAudMedia) -> str:
        parts: list[str] = []
        for stream in item.streams:
            body = self.ind_aud_stream(stream)
            if stream.stream_id is None:
                parts += body
            else:
                parts += self.braced(self.assign("Stream", stream.stream_id), body)
        if item.termination_state is not None:
            state = item.termination_state
            body = list(map(self.token, state.tokens))
            if state.service_state is not None:
                word = self.token(state.service_state.value)
                body.append(self.token("ServiceStates") + self.related(state.state_relation) + word)
            body += map(self.ind_aud_property, state.properties)
            parts += self.braced(self.token("TerminationState"), body)
        return self.block(self.token("Media"), parts)

    def related(self, relation: v.Relation) -> str:
        return self.equal if relation is v.Relation.EQUAL else self.equal.replace("=", "#")

    def ind_aud_stream(self, stream: v.IndAudStream) -> list[str]:
        parts: list[str] = []
        if stream.local is not None:
            parts.append(self.octet_block(self.token("Local"), stream.local))
        if stream.remote is not None:
            parts.append(self.octet_block(self.token("Remote"), stream.remote))
        if stream.local_control is not None:
            control = stream.local_control
            body = list(map(self.token, control.tokens))
            if control.mode is not None:
                word = self.token(control.mode.value)
                body.append(self.token("Mode") + self.related(control.mode_relation) + word)
            body += map(self.ind_aud_property, control.properties)
            parts += self.braced(self.token("LocalControl"), body)
        if stream.statistics is not None:
            parts.append(self.ind_aud_statistics(stream.statistics))
        return parts

    def ind_aud_property(self, item: v.IndAudProperty) -> str:
        return _item_name(item.name) + (self.parm_value(item) if item.values else "")

    def ind_aud_events(self, item: v.IndAudEvents) -> str:
        head = self.token("Events")
        if item.request_id is not None:
            head = self.assign("Events", self.request_id(item.request_id))
        return self.block(head, [_item_name(item.name)])

    def ind_aud_event_buffer(self, item: v.IndAudEventBuffer) -> str:
        inner: list[str] = []
        if item.stream is not None:
            inner.append(self.assign("Stream", item.stream))
        elif item.parameter is not None:
            inner.append(_safe(item.parameter))
        return self.block(self.token("EventBuffer"), [self.block(_item_name(item.name), inner)])

    def ind_aud_signals(self, item: v.IndAudSignals) -> str:
        signals = [self.signal(item.signal)] if item.signal is not None else []
        if item.list_id is not None:
            signals = [self.block(self.assign("SignalList", item.list_id), signals)]
        return self.block(self.token("Signals"), signals) if signals else self.token("Signals") + "{}"

    def ind_aud_digit_map(self, item: v.IndAudDigitMap) -> str:
        return self.assign("DigitMap", _safe(item.name))

    def ind_aud_statistics(self, item: v.IndAudStatistics) -> str:
        return self.block(self.token("Statistics"), [_item_name(item.name)])

    def ind_aud_packages(self, item: v.IndAudPackages) -> str:
        return self.block(self.token("Packages"), [self.package(item.item)])


_RULES: Final[dict[type, Callable[..., str]]] = {
    v.MediaDescriptor: _Writer.media,
    v.EventsDescriptor: _Writer.events,
    v.ObservedEventsDescriptor: _Writer.observed_events,
    v.EventBufferDescriptor: _Writer.event_buffer,
    v.SignalsDescriptor: _Writer.signals,
    v.DigitMapDescriptor: _Writer.digit_map,
    v.StatisticsDescriptor: _Writer.statistics,
    v.AuditDescriptor: _Writer.audit,
    v.AuditReturnItem: _Writer.audit_return_item,
    v.ServiceChangeDescriptor: _Writer.service_change,
    v.ErrorDescriptor: _Writer.error,
    v.PackagesDescriptor: _Writer.packages,
    v.MuxDescriptor: _Writer.mux,
    v.ModemDescriptor: _Writer.modem,
}
_AUDIT_RULES: Final[dict[type, Callable[..., str]]] = {
    v.IndAudMedia: _Writer.ind_aud_media,
    v.IndAudEvents: _Writer.ind_aud_events,
    v.IndAudEventBuffer: _Writer.ind_aud_event_buffer,
    v.IndAudSignals: _Writer.ind_aud_signals,
    v.IndAudDigitMap: _Writer.ind_aud_digit_map,
    v.IndAudStatistics: _Writer.ind_aud_statistics,
    v.IndAudPackages: _Writer.ind_aud_packages,
}
