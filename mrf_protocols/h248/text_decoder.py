"""Decoder of the text encoding, versions 1 to 3, long and short tokens (annex B): octets to `Message`.

Linear in the size of the message, of fixed depth, bounded by MAX_MESSAGE. Strict where a second reading would be
dangerous (numbers, doubled parameters), liberal about white space and spelling.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.grammar import DOMAIN_NAME, EXTENSION, KEYWORDS, MAX_MESSAGE, PROFILE, UINT16
from mrf_protocols.h248.text_audits import AUDIT_TOKENS, AuditParser
from mrf_protocols.h248.text_cursor import NOT_SAFE
from mrf_protocols.h248.values import (
    ALL_CONTEXTS,
    CHOOSE_CONTEXT,
    NULL_CONTEXT,
    Action,
    AuditReturnItem,
    AuthenticationHeader,
    Command,
    CommandKind,
    ContextAudit,
    ContextProperties,
    Descriptor,
    DeviceName,
    DomainAddress,
    DomainName,
    ErrorDescriptor,
    Message,
    MId,
    MtpAddress,
    ObservedEventsDescriptor,
    Property,
    SegmentReply,
    SelectLogic,
    ServiceChangeDescriptor,
    Topology,
    TopologyDirection,
    Transaction,
    TransactionPending,
    TransactionReply,
    TransactionRequest,
    TransactionResponseAck,
)

_COMMANDS: Final = {kind.value: kind for kind in CommandKind}
_AMM: Final = frozenset({CommandKind.ADD, CommandKind.MOVE, CommandKind.MODIFY})
_NOTIFIED: Final = [ObservedEventsDescriptor, ErrorDescriptor]
_AUDITS: Final = frozenset({CommandKind.AUDIT_VALUE, CommandKind.AUDIT_CAPABILITY})
_DIRECTIONS: Final = {direction.value: direction for direction in TopologyDirection}
_EXTENSIONS: Final = frozenset({"OnewayExternal", "OnewayBoth"})
_LOGIC: Final = {"ANDLgc": SelectLogic.AND, "ORLgc": SelectLogic.OR}
_METHODS: Final = frozenset(["Failover", "Forced", "Graceful", "Restart", "Disconnected", "HandOff"])
_VERSION: Final = re.compile(r"(?:MEGACO|!)/([0-9]{1,2})", re.IGNORECASE)
_HEX: Final = re.compile(r"0[xX]([0-9A-Fa-f]{8,64})")
_MTP: Final = re.compile(r"[0-9A-Fa-f]{4,8}")
_REQUEST_DESCRIPTORS: Final = {
    **dict.fromkeys(
        _AMM,
        frozenset(
            ["Media", "Modem", "Mux", "Events", "EventBuffer", "Signals", "DigitMap", "Audit", "Statistics"],
        ),
    ),
    CommandKind.SUBTRACT: frozenset({"Audit"}),
    CommandKind.AUDIT_VALUE: frozenset({"Audit"}),
    CommandKind.AUDIT_CAPABILITY: frozenset({"Audit"}),
    CommandKind.NOTIFY: frozenset({"ObservedEvents", "Error"}),
    CommandKind.SERVICE_CHANGE: frozenset({"Services"}),
}
_RETURN_DESCRIPTORS: Final = frozenset(
    [
        "Media",
        "Modem",
        "Mux",
        "Events",
        "Signals",
        "DigitMap",
        "ObservedEvents",
        "EventBuffer",
        "Statistics",
        "Packages",
        "Error",
    ]
)
_REPLY_DESCRIPTORS: Final = {
    **dict.fromkeys(CommandKind, _RETURN_DESCRIPTORS),
    CommandKind.NOTIFY: frozenset({"Error"}),
    CommandKind.SERVICE_CHANGE: frozenset({"Error", "Services"}),
}
_CONTEXT_WORDS: Final = frozenset(
    ["Topology", "Priority", "Emergency", "EmergencyOff", "IEPSCall", "ContextAttr"]
)


def decode(data: bytes) -> Message:
    """Decode one message. Raises H248Error (400, 403, 406) and nothing else."""
    if len(data) > MAX_MESSAGE:
        raise H248Error(ErrorCode.SYNTAX_ERROR_IN_MESSAGE, "Message too long")
    return MessageParser(data.decode("utf-8", "surrogateescape")).message()


def parse_mid(text: str) -> MId:
    """A message identifier in its text form, such as `[192.0.2.1]:2944`, `<mgc.example>` or `mrfp1`."""
    parser = MessageParser(text)
    mid = parser.mid()
    if parser.tokens[parser.i]:
        parser.fail("end of message identifier")
    return mid


class ContextParser(AuditParser):
    """Context identifiers, properties and audits."""

    __slots__ = ()

    def context_id(self) -> int:
        """ContextID = (UINT32 / "*" / "-" / "$")."""
        token = self.tokens[self.i]
        special = {"-": NULL_CONTEXT, "$": CHOOSE_CONTEXT, "*": ALL_CONTEXTS}.get(token)
        if special is not None:
            self.i += 1
            return special
        number = self.uint()
        if number in {NULL_CONTEXT, CHOOSE_CONTEXT, ALL_CONTEXTS}:
            self.i -= 1
            self.fail("context identifier")
        return number

    def context_property(self, found: dict[str, Any], word: str) -> None:
        """contextProperty, at most once each."""
        self.i += 1
        value: Any
        if word == "Topology":
            field, value = "topology", self.topology()
        elif word == "Priority":
            field, value = "priority", self.equals_uint16()
        elif word in {"Emergency", "EmergencyOff"}:
            field, value = "emergency", word == "Emergency"
        elif word == "IEPSCall":
            field, value = "ieps", self.on_off()
        else:
            field, value = self.context_attr()
        if field in found:
            self.fail("each context property once")
        found[field] = value

    def context_attr(self) -> tuple[str, Any]:
        """contextAttrDescriptor = ContextAttrToken LBRKT (contextIdList / propertyParm *( ... )) RBRKT."""
        self.expect("{")
        value: Any
        if self.keyword() == "ContextList":
            self.i += 1
            self.expect("=")
            field, value = "context_list", self.items(self.context_id)
        else:
            properties: list[Property] = [self.property_parm()]
            while self.accept(","):
                properties.append(self.property_parm())
            field, value = "attributes", tuple(properties)
        self.expect("}")
        return field, value

    def topology(self) -> tuple[Topology, ...]:
        """topologyDescriptor: triples, each with an optional stream (v2) and second direction (v3)."""
        triples: list[Topology] = []
        self.expect("{")
        while True:
            source = self.termination_id()
            self.expect(",")
            sink = self.termination_id()
            self.expect(",")
            direction = self.choice(_DIRECTIONS)
            stream: int | None = None
            extension: TopologyDirection | None = None
            more = self.accept(",")
            if more and self.keyword() == "Stream" and self.tokens[self.i + 1] == "=":
                self.i += 1
                stream = self.equals_uint16()
                more = self.accept(",")
            if more and self.keyword() in _EXTENSIONS:
                extension = self.choice(_DIRECTIONS)
                more = self.accept(",")
            triples.append(Topology(source, sink, direction, stream, extension))
            if not more:
                break
        self.expect("}")
        return tuple(triples)

    def context_audit(self) -> ContextAudit:
        """contextAudit = ContextAuditToken LBRKT ( contextAuditProperties / indAudcontextAttrDescriptor ) RBRKT."""
        self.i += 1
        found: dict[str, Any] = {}
        select: dict[str, Any] = {}
        names: list[str] = []
        self.expect("{")
        wrapped = self.keyword() == "ContextAttr" and self.tokens[self.i + 1] == "{"
        if wrapped:
            wrapped = "/" in self.tokens[self.i + 2] and self.tokens[self.i + 3] in {",", "}"}
        if wrapped:
            self.i += 2
        self.context_audit_property(found, select, names)
        while self.accept(","):
            self.context_audit_property(found, select, names)
        if wrapped:
            self.expect("}")
        self.expect("}")
        return ContextAudit(
            properties=tuple(names), select=ContextProperties(**select) if select else None, **found
        )

    def context_audit_property(self, found: dict[str, Any], select: dict[str, Any], names: list[str]) -> None:
        """contextAuditProperty, or contextAuditSelector with a value: each at most once, but for names."""
        before = len(found) + len(select) + len(names)
        self.one_context_audit_property(found, select, names)
        if len(found) + len(select) + len(names) == before:
            self.fail("each context audit property once")

    def one_context_audit_property(
        self, found: dict[str, Any], select: dict[str, Any], names: list[str]
    ) -> None:
        """The next of them; one that was there already is replaced."""
        word = self.keyword()
        following = self.tokens[self.i + 1]
        if (word in {"Priority", "IEPSCall"} and following == "=") or (
            word == "ContextAttr" and following == "{"
        ):
            self.context_property(select, word)
        elif word == "EmergencyValue":
            self.i += 1
            self.expect("=")
            select["emergency"] = self.choice({"Emergency": 2, "EmergencyOff": 1}) == 2
        elif word in _LOGIC:
            self.i += 1
            found["logic"] = _LOGIC[word]
        elif word in {"Topology", "Emergency", "Priority", "IEPSCall"}:
            self.i += 1
            found["ieps" if word == "IEPSCall" else word.lower()] = True
        else:
            names.append(self.pkgd_name())


class CommandParser(ContextParser):
    """Commands, their replies and ServiceChange."""

    __slots__ = ()

    def descriptor(self, allowed: frozenset[str], *, reply: bool) -> Descriptor:
        """One descriptor of a command."""
        word = "DigitMap" if self.octets_next() else self.keyword()
        if word is None or word not in allowed:
            self.fail("descriptor")
        if reply and word in {"Media", "Modem", "Mux", "DigitMap", "ObservedEvents", "Packages"}:
            following = self.tokens[self.i + 1]
            if following in {",", "}"} and not self.octets_next():
                self.i += 1
                return AuditReturnItem(AUDIT_TOKENS[word])
        if word == "Services":
            return self.service_change_reply() if reply else self.service_change_request()
        return _DESCRIPTOR_RULES[word](self)

    def service_change_request(self) -> ServiceChangeDescriptor:
        """serviceChangeDescriptor: the method is REQUIRED; the reason too, but an example has none."""
        found = self.service_change()
        if found.method is None:
            self.fail("Method before it")
        return found

    def service_change_reply(self) -> ServiceChangeDescriptor:
        """serviceChangeReplyDescriptor: none but servChgReplyParm."""
        found = self.service_change()
        if found != ServiceChangeDescriptor(
            address=found.address,
            mgc_id=found.mgc_id,
            profile=found.profile,
            version=found.version,
            timestamp=found.timestamp,
        ):
            self.fail("parameters of a reply before it")
        return found

    def service_change(self) -> ServiceChangeDescriptor:
        """serviceChangeDescriptor and serviceChangeReplyDescriptor = ServicesToken LBRKT ... RBRKT."""
        self.i += 1
        found: dict[str, Any] = {}
        extensions: list[Property] = []
        audit: list[Any] = []

        def parameter() -> None:
            word = self.keyword()
            if word is None and self.tokens[self.i + 1] in {",", "}"}:
                field, value = "timestamp", self.time_stamp()
            elif word is None:
                extensions.append(self.extension())
                return
            elif word in AUDIT_TOKENS:
                audit.append(self.audit_item())
                return
            else:
                field, value = self.service_change_parameter(word)
            if field in found:
                self.fail("each ServiceChange parameter once")
            found[field] = value

        self.each(parameter)
        if "address" in found and "mgc_id" in found:
            self.fail("ServiceChangeAddress or MgcIdToTry, not both")
        return ServiceChangeDescriptor(extensions=tuple(extensions), audit=tuple(audit), **found)

    def service_change_parameter(self, word: str) -> tuple[str, Any]:
        """serviceChangeParm with a token: field and value."""
        self.i += 1
        if word == "ServiceChangeInc":
            return "incomplete", True
        self.expect("=")
        if word == "Method":
            return word.lower(), self.service_change_method()
        if word == "Reason":
            return word.lower(), self.value()
        if word == "Delay":
            return word.lower(), self.uint()
        if word == "Version":
            return word.lower(), self.uint(99)
        if word == "Profile":
            return word.lower(), self.matching(PROFILE, "profile/version")
        if word == "ServiceChangeAddress":
            token = self.tokens[self.i]
            return "address", self.uint16() if token[:1].isdigit() else self.mid()
        if word == "MgcIdToTry":
            return "mgc_id", self.mid()
        self.i -= 2
        return self.fail("ServiceChange parameter")

    def service_change_method(self) -> str:
        """serviceChangeMethod, the long token of one of its six, or extensionParameter."""
        word = self.keyword()
        if word in _METHODS:
            self.i += 1
            return word
        return self.matching(EXTENSION, "method")

    def command_kind(self) -> tuple[CommandKind, bool, bool]:
        """["O-"] ["W-"] command token: the command, optional, wildcard response."""
        kind = _COMMANDS.get(self.keyword() or "")
        optional = wildcard = False
        if kind is None:
            token = self.tokens[self.i].lower()
            if token.startswith("o-"):
                optional, token = True, token[2:]
            if token.startswith("w-"):
                wildcard, token = True, token[2:]
            kind = _COMMANDS.get(_keyword(token) or "")
        if kind is None:
            self.fail("command")
        self.i += 1
        return kind, optional, wildcard

    def command(self) -> Command:
        """commandRequest."""
        kind, optional, wildcard = self.command_kind()
        self.expect("=")
        terminations = self.termination_list()
        if self.tokens[self.i] != "{":
            if kind in {CommandKind.NOTIFY, CommandKind.SERVICE_CHANGE}:
                self.fail("{")
            return Command(kind, terminations, (), optional, wildcard)
        allowed = _REQUEST_DESCRIPTORS[kind]
        self.i += 1
        found = [self.descriptor(allowed, reply=False)]
        while self.tokens[self.i] == ",":
            self.i += 1
            found.append(self.descriptor(allowed, reply=False))
        self.expect("}")
        kinds = [type(item) for item in found]
        if len(kinds) > 1 and (len(set(kinds)) < len(kinds) or not (kind in _AMM or kinds == _NOTIFIED)):
            self.fail("each descriptor once")
        return Command(kind, terminations, tuple(found), optional, wildcard)

    def command_reply(self) -> Command:
        """commandReply."""
        kind, optional, wildcard = self.command_kind()
        self.expect("=")
        if kind in _AUDITS and self.keyword() == "Context" and self.tokens[self.i + 1] == "{":
            self.i += 1
            return self.context_termination_audit(kind)
        terminations = self.termination_list()
        if self.tokens[self.i] != "{":
            return Command(kind, terminations, (), optional, wildcard)
        allowed = _REPLY_DESCRIPTORS[kind]
        self.i += 1
        found = [self.descriptor(allowed, reply=True)]
        while self.tokens[self.i] == ",":
            self.i += 1
            found.append(self.descriptor(allowed, reply=True))
        self.expect("}")
        return Command(kind, terminations, tuple(found), optional, wildcard)

    def context_termination_audit(self, kind: CommandKind) -> Command:
        """contextTerminationAudit = terminationIDList / LBRKT errorDescriptor RBRKT."""
        if self.keyword_at(self.i + 1) == "Error" and self.tokens[self.i + 2] == "=":
            self.i += 1
            error = self.error()
            self.expect("}")
            return Command(kind, (), (error,), context_audit=True)
        return Command(kind, self.items(self.termination_id), (), context_audit=True)

    def keyword_at(self, index: int) -> str | None:
        """The long form of the keyword at a place."""
        return _keyword(self.tokens[index])

    def mid(self) -> MId:
        """mId = ((domainAddress / domainName) [COLON portNumber]) / mtpAddress / deviceName."""
        token = self.tokens[self.i]
        self.i += 1
        if token == "<":
            name = self.matching(DOMAIN_NAME, "domain name")
            self.expect(">")
            return DomainName(name, self.port())
        if token == "[":
            address = self.address()
            self.expect("]")
            return DomainAddress(address, self.port())
        if token.upper() == "MTP" and self.accept("{"):
            digits = self.matching(_MTP, "MTP address")
            self.expect("}")
            return MtpAddress(digits)
        self.i -= 1
        return DeviceName(self.safe())

    def address(self) -> str:
        """IPv4address / IPv6address, all without white space."""
        parts: list[str] = []
        token = self.tokens[self.i]
        while token == ":" or (token[-1:] not in NOT_SAFE and parts[-1:] in ([], [":"])):
            parts.append(token)
            self.i += 1
            token = self.tokens[self.i]
            if len(parts) > 20:
                self.fail("IP address")
        address = "".join(parts)
        if not _is_address(address):
            self.fail("IP address")
        return address

    def port(self) -> int | None:
        """[COLON portNumber]."""
        return self.uint(UINT16) if self.accept(":") else None


_DESCRIPTOR_RULES: Final[dict[str, Callable[[CommandParser], Descriptor]]] = {
    "Media": CommandParser.media,
    "Modem": CommandParser.modem,
    "Mux": CommandParser.mux,
    "Events": CommandParser.events,
    "EventBuffer": CommandParser.event_buffer,
    "Signals": CommandParser.signals,
    "DigitMap": CommandParser.digit_map,
    "Audit": CommandParser.audit,
    "Statistics": CommandParser.statistics,
    "ObservedEvents": CommandParser.observed_events,
    "Packages": CommandParser.packages,
    "Error": CommandParser.error,
}


class MessageParser(CommandParser):
    """Messages, transactions and actions."""

    __slots__ = ()

    def message(self) -> Message:
        """megacoMessage = LWSP [authenticationHeader SEP] message."""
        auth = self.authentication_header() if self.keyword() == "Authentication" else None
        found = _VERSION.fullmatch(self.tokens[self.i])
        if found is None:
            self.fail("MEGACO/version")
        self.i += 1
        version = int(found[1])
        mid = self.mid()
        if version not in {1, 2, 3}:
            self.answerable = self.keyword() != "Error"
            raise H248Error(ErrorCode.VERSION_NOT_SUPPORTED, answerable=self.answerable)
        if self.keyword() == "Error":
            self.answerable = False
            error = self.error()
            self.end()
            return Message(version, mid, (), error, auth)
        transactions = [self.transaction()]
        while self.tokens[self.i]:
            transactions.append(self.transaction())
        self.end()
        return Message(version, mid, tuple(transactions), None, auth)

    def end(self) -> None:
        """Nothing may follow the message."""
        if self.tokens[self.i]:
            self.fail("end of message")

    def authentication_header(self) -> AuthenticationHeader:
        """authenticationHeader = AuthToken EQUAL SecurityParmIndex COLON SequenceNum COLON AuthData."""
        self.i += 1
        self.expect("=")
        parts: list[str] = []
        for shortest, longest in ((8, 8), (8, 8), (24, 64)):
            if parts:
                self.expect(":")
            found = _HEX.fullmatch(self.tokens[self.i])
            if found is None or not shortest <= len(found[1]) <= longest:
                self.fail("hexadecimal digits")
            self.i += 1
            parts.append(found[1])
        return AuthenticationHeader(*parts)

    def transaction(self) -> Transaction:
        """transactionItem."""
        word = self.keyword()
        self.i += 1
        self.transaction_id = None
        self.answerable = word == "Transaction"
        if word == "Transaction":
            return self.transaction_request()
        if word == "Reply":
            return self.transaction_reply()
        if word == "Pending":
            self.expect("=")
            number = self.uint()
            self.expect("{")
            self.expect("}")
            return TransactionPending(number)
        if word == "TransactionResponseAck":
            return TransactionResponseAck(self.items(self.transaction_ack))
        if word == "Segment":
            self.expect("=")
            number, segment, last = self.segment_info()
            if segment is None:
                self.fail("segment number")
            return SegmentReply(number, segment, last)
        self.i -= 1
        self.answerable = True
        return self.fail("transaction")

    def transaction_request(self) -> TransactionRequest:
        """transactionRequest = TransToken EQUAL TransactionID LBRKT actionRequest *( ... ) RBRKT."""
        self.expect("=")
        number = self.uint()
        self.transaction_id = number
        actions = self.items(self.action_request)
        self.transaction_id = None
        return TransactionRequest(number, actions)

    def segment_info(self) -> tuple[int, int | None, bool]:
        """TransactionID [SLASH segmentNumber [SLASH SegmentationCompleteToken]]."""
        parts = self.safe().split("/")
        number, *rest = parts
        digits = [part for part in parts[:2] if part.isascii() and part.isdigit() and len(part) <= 10]
        if len(digits) != min(len(parts), 2) or len(parts) > 3 or int(number) > 0xFFFFFFFF:
            self.fail("transaction identifier")
        last = len(parts) == 3
        if last and rest[1].upper() not in {"END", "&"}:
            self.fail("END")
        if rest and int(rest[0]) > UINT16:
            self.fail("segment number")
        return int(number), int(rest[0]) if rest else None, last

    def transaction_reply(self) -> TransactionReply:
        """transactionReply = ReplyToken EQUAL TransactionID [segment] LBRKT [ImmAckRequired COMMA] ... RBRKT."""
        self.expect("=")
        number, segment, last = self.segment_info()
        self.expect("{")
        immediate = False
        if self.keyword() == "ImmAckRequired":
            self.i += 1
            self.expect(",")
            immediate = True
        if self.keyword() == "Error":
            error = self.error()
            self.expect("}")
            return TransactionReply(number, (), error, immediate, segment, last)
        actions = [self.action_reply()]
        while self.accept(","):
            actions.append(self.action_reply())
        self.expect("}")
        return TransactionReply(number, tuple(actions), None, immediate, segment, last)

    def transaction_ack(self) -> tuple[int, int]:
        """transactionAck = TransactionID / (TransactionID "-" TransactionID)."""
        first, dash, last = self.safe().partition("-")
        numbers = [first, last] if dash else [first, first]
        if not all(n.isascii() and n.isdigit() and len(n) <= 10 and int(n) <= 0xFFFFFFFF for n in numbers):
            self.fail("transaction identifiers")
        return int(numbers[0]), int(numbers[1])

    def action_head(self) -> int:
        """CtxToken EQUAL ContextID."""
        if self.keyword() != "Context":
            self.fail("Context")
        self.i += 1
        self.expect("=")
        return self.context_id()

    def action_request(self) -> Action:
        """actionRequest = CtxToken EQUAL ContextID LBRKT ((contextRequest [COMMA commands]) / commands) RBRKT."""
        context_id = self.action_head()
        found: dict[str, Any] = {}
        commands: list[Command] = []
        audit: ContextAudit | None = None
        self.expect("{")
        while True:
            word = self.keyword()
            if word in _CONTEXT_WORDS:
                self.context_property(found, word)
            elif word == "ContextAudit" and audit is None:
                audit = self.context_audit()
            else:
                commands.append(self.command())
            if self.tokens[self.i] != ",":
                break
            self.i += 1
        self.expect("}")
        return Action(context_id, tuple(commands), ContextProperties(**found) if found else None, audit)

    def action_reply(self) -> Action:
        """actionReply = CtxToken EQUAL ContextID [LBRKT ( errorDescriptor / commandReply ... ) RBRKT]."""
        context_id = self.action_head()
        if self.tokens[self.i] != "{":
            return Action(context_id)
        found: dict[str, Any] = {}
        commands: list[Command] = []
        error: ErrorDescriptor | None = None
        self.i += 1
        while True:
            word = self.keyword()
            if word in _CONTEXT_WORDS:
                self.context_property(found, word)
            elif word == "Error":
                error = self.error()
                break  # nothing may follow it
            else:
                commands.append(self.command_reply())
            if self.tokens[self.i] != ",":
                break
            self.i += 1
        self.expect("}")
        properties = ContextProperties(**found) if found else None
        return Action(context_id, tuple(commands), properties, None, error)


def _keyword(token: str) -> str | None:
    return KEYWORDS.get(token) or KEYWORDS.get(token.lower())


@lru_cache(maxsize=256)  # peers name themselves in every message
def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
