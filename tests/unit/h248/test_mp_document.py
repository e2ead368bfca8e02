"""docs/mp.md says what the code does: its messages and its table of package elements are taken from the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import msgspec
import pytest

from mrf_protocols.h248 import H248Error, encode, mp
from mrf_protocols.h248 import values as v
from mrf_protocols.h248.errors import ErrorCode
from mrf_protocols.h248.mp.elements import ELEMENTS, PACKAGES
from mrfc import config as mrfc_config
from mrfc.mp.link import BUSY_PAUSE, WATCH_PAUSE
from mrfp_agent import config as mrfp_config
from mrfp_agent.mp_settings import MpSettings

DOCUMENT = Path(__file__).parents[3] / "docs" / "mp.md"
BLOCK = re.compile(r"<!-- message: (.+?) -->\n```\n(.*?)\n```", re.DOTALL)
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
MGC = v.DomainAddress("192.0.2.1", 2944)
MG = v.DeviceName("mrfp1")
CONFERENCE = mp.Conference(4711, (mp.Floor(1, ("10",)), mp.Floor(2, ("11",), 2)))
KEY = bytes(range(16))
CONFIGURE = mp.ConfigureBfcpTermination(
    ("192.0.2.70", 40000),
    7,
    conference=CONFERENCE,
    psk=KEY,
    psk_identity="55667788.1",
    start_tcp=True,
    correlation="a84b4c76e66710@ue.example",
    names=mp.UserNames("Alice", "sip:alice@ue.example"),
)
RESERVE = mp.ReserveBfcpTermination(8, context=12, correlation="f81d4fae@mrfc.example")
CONFIGURE_RESERVED = mp.ConfigureReservedBfcpTermination(
    12,
    "bfcp/6",
    ("192.0.2.80", 41000),
    psk=KEY,
    psk_identity="99aabbcc.1",
    start_tcp=True,
    start_tls=True,
    correlation="f81d4fae@mrfc.example",
    names=mp.UserNames("", "sip:bob@ue.example"),
)
LOCAL = ("192.0.2.20", 5000)
POLICIES = mp.Conference(
    4711,
    (
        mp.Floor(1, ("10",), allowed_users=(7, 8)),
        mp.Floor(
            2,
            ("11",),
            2,
            mp.FloorControlAlgorithm.CHAIR,
            mp.WithoutChair.DENY,
            max_holding_time=300,
            honour_priority=False,
            confirm_media=True,
        ),
    ),
)


def request(*actions: v.Action, mid: v.MId = MGC, version: int = 3) -> v.Message:
    return v.Message(version, mid, (v.TransactionRequest(10, actions),))


def reply(*actions: v.Action, mid: v.MId = MG, version: int = 3) -> v.Message:
    return v.Message(version, mid, (v.TransactionReply(10, actions),))


def refusal() -> v.Message:
    (action,) = mp.request_actions(CONFIGURE)
    return reply(mp.error_action(action, action.commands[0], H248Error(510)))


def audits() -> dict[str, v.Message]:
    facts = mp.TerminationFacts(
        12,
        "bfcp/5",
        7,
        mp.Transport.TCP_TLS_BFCP,
        LOCAL,
        CONFIGURE.remote,
        CONFIGURE.psk_identity,
        start_tcp=True,
        correlation=CONFIGURE.correlation,
    )
    root = mp.RootFacts(v.ServiceState.IN_SERVICE, 10000, 10000, 1.0)
    inventory = mp.Inventory(root, {12: CONFERENCE}, (facts,))
    tokens = (v.AuditToken.MEDIA, v.AuditToken.EVENTS, v.AuditToken.SIGNALS)
    command = v.Command(v.CommandKind.AUDIT_VALUE, ("bfcp/5",), (v.AuditDescriptor(tokens),))
    one = v.Action(12, (command,))
    (everything,) = mp.inventory_actions()
    of_root = v.Command(
        v.CommandKind.AUDIT_VALUE,
        (v.ROOT,),
        (v.AuditDescriptor((v.AuditToken.MEDIA, v.AuditToken.PACKAGES)),),
    )
    root_action = v.Action(v.NULL_CONTEXT, (of_root,))
    return {
        "Audit of a termination": request(one),
        "Audit of a termination Ack": reply(*mp.audit(one, command, inventory)),
        "Audit of ROOT": request(root_action),
        "Audit of ROOT Ack": reply(*mp.audit(root_action, of_root, inventory)),
        "Inventory": request(everything),
        "Inventory Ack": reply(*mp.audit(everything, everything.commands[0], inventory)),
    }


def messages() -> dict[str, v.Message]:
    procedures: dict[str, tuple[mp.Procedure, mp.Acknowledgement]] = {
        "Configure BFCP Termination": (CONFIGURE, mp.TerminationConfigured(12, "bfcp/5", LOCAL)),
        "Reserve BFCP Termination": (RESERVE, mp.TerminationConfigured(12, "bfcp/6", LOCAL)),
        "Configure Reserved BFCP Termination": (CONFIGURE_RESERVED, mp.TerminationConfigured(12, "bfcp/6")),
        "Release BFCP Termination": (
            mp.ReleaseBfcpTermination(12, "bfcp/5"),
            mp.TerminationReleased(12, "bfcp/5"),
        ),
        "Release of everything": (
            mp.ReleaseBfcpTermination(v.ALL_CONTEXTS),
            mp.TerminationReleased(v.ALL_CONTEXTS),
        ),
        "MRFP Heartbeat": (mp.AuditHeartbeat(), mp.HeartbeatAnswered()),
        "Configure Conference For Floor Control": (
            mp.ConfigureConference(12, POLICIES),
            mp.ContextConfigured(12),
        ),
        "Designate Floor Chair": (
            mp.DesignateFloorChair(12, "bfcp/5", (2,)),
            mp.TerminationConfigured(12, "bfcp/5"),
        ),
        "Floor Request Decision": (
            mp.FloorRequestDecision(12, "bfcp/6", 31, mp.Decision.REVOKE, "time is over"),
            mp.TerminationConfigured(12, "bfcp/6"),
        ),
        "Confirm Media Update": (
            mp.ConfirmMediaUpdate(12, "bfcp/6", 31),
            mp.TerminationConfigured(12, "bfcp/6"),
        ),
    }
    found = {}
    for name, (procedure, answer) in procedures.items():
        found[name] = request(*mp.request_actions(procedure))
        found[f"{name} Ack"] = reply(mp.reply_action(procedure, answer))
    second = dataclasses.replace(
        CONFIGURE, context=12, conference=None, psk=bytes(reversed(KEY)), psk_identity="55667789.1"
    )
    found["Second termination of a user"] = request(*mp.request_actions(second))
    found["refusal"] = refusal()
    found["Watch MRFP"] = request(*mp.watch_actions(mp.WatchMrfp(inactivity=20)))
    found["Congestion"] = request(*mp.root_notify_actions(mp.MrfpCongestion(50)), mid=MG)
    found["MRFC inactivity"] = request(*mp.root_notify_actions(mp.MrfcInactivity()), mid=MG)
    found |= audits()
    for indication in (
        mp.TcpEstablishmentFailed(12, "bfcp/5", "connection refused"),
        mp.TlsEstablishmentFailed(12, "bfcp/5", "no ClientHello in time"),
        mp.BearerReleased(12, "bfcp/5", "closed by the user"),
        mp.TlsEstablished(12, "bfcp/5", "TLSv1.3 TLS_AES_128_GCM_SHA256"),
        mp.TerminationHeartbeat(12, "bfcp/5"),
    ):
        found[mp.indication_name(indication)] = request(*mp.notify_actions(indication), mid=MG)
    report = mp.FloorRequestReport(12, "bfcp/6", 31, (1, 2), mp.FloorRequestState.ACCEPTED, (3, 1))
    found[mp.indication_name(report)] = request(*mp.notify_actions(report), mid=MG)
    (chair,) = mp.request_actions(procedures["Designate Floor Chair"][0])
    found["second chair"] = reply(mp.error_action(chair, chair.commands[0], H248Error(479)))
    (action,) = mp.notify_actions(mp.BearerReleased(12, "bfcp/5"))
    found["Notify Ack"] = reply(mp.notify_reply_action(action, action.commands[0]), mid=MGC)
    change = mp.ServiceChange(mp.ServiceMethod.RESTART, 901)
    found["MRFP Registration"] = request(
        *mp.service_change_actions(change), mid=MG, version=mp.REGISTRATION_VERSION
    )
    accepted = mp.service_change_reply_action(mp.ServiceChangeAccepted())
    found["MRFP Registration Ack"] = reply(accepted, mid=MGC, version=mp.REGISTRATION_VERSION)
    return found


MESSAGES = messages()


@pytest.fixture(scope="module")
def document() -> str:
    return DOCUMENT.read_text()


def lines(message: v.Message) -> str:
    return encode(message, pretty=True).decode().replace("\r\n", "\n").replace("\t", "  ")


def test_every_message_of_the_document_is_the_codes(document: str) -> None:
    shown = dict(BLOCK.findall(document))
    assert shown == {name: lines(message) for name, message in MESSAGES.items()}


def test_every_element_is_in_the_table(document: str) -> None:
    rows = {row[0]: tuple(text.strip() for text in row[1:]) for row in ROW.findall(document)}
    assert rows == {item.identifier: (item.kind.value, item.type, item.meaning) for item in ELEMENTS}


def test_every_package_is_named(document: str) -> None:
    assert [package for package in PACKAGES if f"**{package}**" not in document] == []


SOURCES = ("mrf_protocols/h248", "mrfp_agent", "plugin/mrfc/mp")
"""Where errors of H.248 are given or told apart. The enumeration itself knows more of them than Mp uses."""


def test_every_error_in_use_is_in_the_table_and_no_other(document: str) -> None:
    used = set()
    for folder in SOURCES:
        for path in (DOCUMENT.parents[1] / folder).rglob("*.py"):
            text = path.read_text()
            if path.name not in {"errors.py", "error_texts.py"} and "h248" in str(path) + text:
                names = re.findall(r"ErrorCode\.([A-Z_]+)", text)
                used |= {int(ErrorCode[name]) for name in names if name in ErrorCode.__members__}
                used |= {int(code) for code in re.findall(r"H248Error\((\d{3})\b", text)}
    failures = document.split("## 6 Failures")[1]
    told = re.findall(r"^\| (\d{3}(?:, \d{3})*) \|", failures, re.MULTILINE)
    assert {int(code) for codes in told for code in codes.split(", ")} == used


TIMERS = [
    ("`timeout` of both", (mrfp_config.Mp, mrfc_config.Mp), "timeout", "3 s"),
    ("`silence` of the MRFP", (mrfp_config.Mp,), "silence", "60 s"),
    ("`stop_grace` of the MRFP", (mrfp_config.Mp,), "stop_grace", "0 s"),
    ("`tcp_connect` of the MRFP", (mrfp_config.Terminations,), "tcp_connect", "30 s"),
    ("`client_hello` of the MRFP", (mrfp_config.Terminations,), "client_hello", "30 s"),
    ("`handshake` of the MRFP", (mrfp_config.Terminations,), "handshake", "10 s"),
    ("`message` of the MRFP", (mrfp_config.Terminations,), "message", "10 s"),
    ("`confirm_timeout` of the MRFP", (mrfp_config.FloorControl,), "confirm_timeout", "10 s"),
]


@pytest.mark.parametrize(("where", "tables", "key", "default"), TIMERS, ids=lambda value: str(value)[:20])
def test_timers_are_the_configurations(
    document: str, where: str, tables: tuple[type[msgspec.Struct], ...], key: str, default: str
) -> None:
    assert re.search(rf"^\| [^|]+ \| {re.escape(where)} \| {default} \|$", document, re.MULTILINE)
    for table in tables:
        (field,) = (each for each in msgspec.structs.fields(table) if each.name == key)
        assert f"{field.default:g} s" == default


CONSTANTS = [
    ("connection to an MRFC, TLS included", MpSettings((), MG).connect_timeout),
    ("Watch MRFP once more, after 505", WATCH_PAUSE),
    ("an MRFP that refused for want of resources comes last", BUSY_PAUSE),
]


@pytest.mark.parametrize(("timer", "seconds"), CONSTANTS)
def test_timers_that_nobody_configures_are_the_codes(document: str, timer: str, seconds: float) -> None:
    assert re.search(rf"^\| {re.escape(timer)} \| [^|]+ \| {seconds:g} s \|$", document, re.MULTILINE)
