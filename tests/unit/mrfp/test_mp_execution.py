"""Transactions at the MRFP: order, the first error, optional commands, wildcards, audits, and bad input."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mrf_ops.trace import Tracer
from mrf_protocols.h248 import ErrorCode, H248Error, ServiceChangeReason, decode, mp
from mrf_protocols.h248.values import (
    ErrorDescriptor,
    ServiceState,
    TransactionReply,
    TransactionRequest,
)
from mrfp_agent.congestion import Congestion
from mrfp_agent.mp_execution import Execution

CONFERENCE = mp.Conference(4711, (mp.Floor(1),))
CONTEXT = 'ContextAttr {bfcpc/conf = 4711, bfcpc/floors = 1, bfcpc/maxh = "1=1"}, '
LOCAL = "Local {\nv=0\nc=IN IP4 $\nm=application $ TCP/TLS/BFCP *\n}"
RESERVE = f"Add = $ {{Media {{TerminationState {{bfcpt/user = 7}}, Stream = 1 {{{LOCAL}}}}}}}"


@dataclass
class Media:
    """Terminations by context."""

    there: dict[str, int] = field(default_factory=dict)
    done: list[mp.Procedure] = field(default_factory=list)
    contexts: int = 0
    fault: type[Exception] | None = None

    def handle(self, procedure: mp.Procedure) -> mp.Acknowledgement:
        if self.fault is not None:
            raise self.fault
        if isinstance(procedure, mp.ReserveBfcpTermination | mp.ConfigureBfcpTermination):
            if procedure.context == 0xFFFFFFFE:
                self.contexts += 1
                context = self.contexts
            elif procedure.context not in self.there.values():
                raise H248Error(ErrorCode.UNKNOWN_CONTEXT)
            else:
                context = procedure.context
            name = f"bfcp/{len(self.done) + 1}"
            self.there[name] = context
            self.done.append(procedure)
            return mp.TerminationConfigured(context, name, ("127.0.0.1", 5000))
        if isinstance(procedure, mp.ReleaseBfcpTermination):
            if procedure.termination != "*":
                if procedure.context not in self.there.values():
                    raise H248Error(ErrorCode.UNKNOWN_CONTEXT)
                if self.there.get(procedure.termination) != procedure.context:
                    raise H248Error(ErrorCode.UNKNOWN_TERMINATION)
                del self.there[procedure.termination]
            else:
                self.there.clear()
            self.done.append(procedure)
            return mp.TerminationReleased(procedure.context, procedure.termination)
        self.done.append(procedure)
        if isinstance(procedure, mp.ChangeEvents):
            return mp.TerminationConfigured(procedure.context, procedure.termination)
        return mp.HeartbeatAnswered()

    def inventory(self, in_service: ServiceState) -> mp.Inventory:
        facts = tuple(
            mp.TerminationFacts(context, name, 7, mp.Transport.TCP_TLS_BFCP, ("127.0.0.1", 5000))
            for name, context in self.there.items()
        )
        conferences = dict.fromkeys(self.there.values(), CONFERENCE)
        return mp.Inventory(mp.RootFacts(in_service, 10, 20, 1.0), conferences, facts)


@dataclass
class Root:
    """What was asked of ROOT."""

    watched: list[mp.WatchMrfp] = field(default_factory=list)
    changed: list[mp.ServiceChange] = field(default_factory=list)

    def watch(self, watch: mp.WatchMrfp) -> None:
        self.watched.append(watch)

    def service_change(self, change: mp.ServiceChange) -> mp.ServiceChangeAccepted:
        self.changed.append(change)
        return mp.ServiceChangeAccepted()


class Gateway:
    """An execution and its two sides."""

    def __init__(self) -> None:
        self.media, self.root = Media(), Root()
        self.execution = Execution(self.media, self.root, Tracer("MRFP"))

    def ask(self, actions: str) -> TransactionReply:
        """The reply to the actions of a text."""
        message = decode(f"MEGACO/3 mgc Transaction = 1 {{{actions}}}".encode())
        (request,) = message.transactions
        assert isinstance(request, TransactionRequest)
        return self.execution.carry_out(request)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def shape(reply: TransactionReply) -> list[tuple[int, list[str], int]]:
    """Context, commands and error code of each action; commands that failed have their code."""
    found = []
    for action in reply.actions:
        commands = []
        for command in action.commands:
            error = command.find(ErrorDescriptor)
            commands.append(
                f"{command.kind} {','.join(command.terminations)}" + (f" {error.code}" if error else "")
            )
        found.append((action.context_id, commands, action.error.code if action.error else 0))
    return found


def test_commands_with_choose_share_one_new_context(gateway: Gateway) -> None:
    reply = gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}, {RESERVE}}}")
    assert shape(reply) == [(1, ["Add bfcp/1", "Add bfcp/2"], 0)]


def test_lines_about_a_refusal_say_whose_it_is(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """The termination tells, and after its end nobody can; its context goes with its last one."""
    gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}, {RESERVE}}}")
    known = gateway.execution.ids(1, "bfcp/1")
    assert known.keys() == {"call", "user", "bfcp_conference"}
    gateway.ask("Context = 1 { Move = bfcp/1 }")
    record = caplog.records[-1]
    assert "refused" in record.message
    assert {name: getattr(record, name, None) for name in known} == known
    gateway.ask("Context = 1 { Subtract = bfcp/1 }")
    assert gateway.execution.ids(1, "bfcp/1") == {}
    assert gateway.execution.ids(1, "bfcp/2")["bfcp_conference"] == known["bfcp_conference"] != ""
    gateway.ask("Context = 1 { Subtract = bfcp/2 }")
    assert not gateway.execution._known
    assert not gateway.execution._conferences


def test_several_actions(gateway: Gateway) -> None:
    reply = gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}}}, Context = $ {{{CONTEXT}{RESERVE}}}")
    assert shape(reply) == [(1, ["Add bfcp/1"], 0), (2, ["Add bfcp/2"], 0)]
    reply = gateway.ask("Context = 1 {Subtract = bfcp/1}, Context = 2 {Subtract = bfcp/2}")
    assert shape(reply) == [(1, ["Subtract bfcp/1"], 0), (2, ["Subtract bfcp/2"], 0)]
    assert gateway.media.there == {}


def test_the_first_error_ends_the_transaction(gateway: Gateway) -> None:
    gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}, {RESERVE}}}")
    reply = gateway.ask(
        "Context = 1 {Subtract = bfcp/1, Subtract = bfcp/9, Subtract = bfcp/2}, "
        "Context = - {AuditValue = ROOT {Audit {}}}"
    )
    assert shape(reply) == [(1, ["Subtract bfcp/1", "Subtract bfcp/9 430"], 0)]
    assert list(gateway.media.there) == ["bfcp/2"]


def test_an_optional_command_may_fail(gateway: Gateway) -> None:
    gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}, {RESERVE}}}")
    reply = gateway.ask("Context = 1 {O-Subtract = bfcp/9, Subtract = bfcp/2}")
    assert shape(reply) == [(1, ["Subtract bfcp/9 430", "Subtract bfcp/2"], 0)]


def test_wildcards(gateway: Gateway) -> None:
    gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}, {RESERVE}}}, Context = $ {{{CONTEXT}{RESERVE}}}")
    assert shape(gateway.ask("Context = 1 {AuditValue = bfcp/* {Audit {Media}}}")) == [
        (1, ["AuditValue bfcp/1", "AuditValue bfcp/2"], 0)
    ]
    assert shape(gateway.ask("Context = 1 {W-AuditValue = * {Audit {Packages}}}")) == [
        (1, ["AuditValue *"], 0)
    ]
    assert shape(gateway.ask("Context = * {AuditValue = * {Audit {}}}")) == [
        (1, ["AuditValue bfcp/1,bfcp/2"], 0),
        (2, ["AuditValue bfcp/3"], 0),
    ]
    assert shape(gateway.ask("Context = 1 {Subtract = bfcp/*}")) == [
        (1, ["Subtract bfcp/1", "Subtract bfcp/2"], 0)
    ]
    assert shape(gateway.ask("Context = * {W-Subtract = *}")) == [(0xFFFFFFFF, ["Subtract *"], 0)]
    assert gateway.media.there == {}


ERRORS = [
    ("Context = 9 {Subtract = bfcp/1}", 411),
    ("Context = 9 {Subtract = *}", 411),
    ("Context = 1 {Subtract = x*}", 431),
    ("Context = 2 {Subtract = bfcp/1}", 435),
    ("Context = 1 {Subtract = bfcp/7}", 430),
    ("Context = - {Subtract = *}", 421),
    ("Context = 1 {Move = bfcp/1}", 443),
    ("Context = - {Move = ROOT}", 421),
    ("Context = - {Notify = ROOT {ObservedEvents = 1 {a/b}}}", 443),
    ("Context = - {Modify = ROOT {Signals {a/b}}}", 444),
    ("Context = - {Modify = ROOT {Events = 1 {a/b}}}", 440),
    ("Context = - {Modify = ROOT {Events = 1 {chp/other}}}", 451),
    ("Context = - {Modify = ROOT {Events = 1 {it/ito}}}", 457),
    ("Context = - {AuditValue = bfcp/1 {Audit {}}}", 430),
    ("Context = 1 {AuditValue = bfcp/9 {Audit {}}}", 430),
    ("Context = 2 {AuditValue = bfcp/1 {Audit {}}}", 435),
    ("Context = 9 {AuditValue = * {Audit {}}}", 411),
    ("Context = 1 {AuditValue = bfcp/1 {Audit {Media {TerminationState {no/such}}}}}", 532),
    ("Context = 1 {AuditValue = bfcp/1 {Audit {Media {Stream = 1 {Local {m=audio}}}}}}", 532),
    ("Context = 1 {ContextAudit {no/such}}", 532),
    ("Context = 9 {ContextAudit {bfcpc/conf}}", 411),
    (f"Context = $ {{{CONTEXT}{RESERVE.replace('bfcpt/user', 'bfcpt/what')}}}", 445),
    (f"Context = $ {{{CONTEXT}{RESERVE.replace('bfcpt/user', 'who/user')}}}", 440),
    (f"Context = $ {{{RESERVE}}}", 472),
    (f"Context = * {{{RESERVE}}}", 421),
    ("Context = 1 {Modify = bfcp/1 {Events = 1 {tcpbcc/BNCChange {Type = Sideways}}}}", 454),
    ("Context = 1 {Modify = [bfcp/1,bfcp/2] {Events = 1 {hangterm/thb {timerx = 1}}}}", 501),
]


@pytest.mark.parametrize(("actions", "expected"), ERRORS, ids=lambda value: str(value)[:60])
def test_errors(gateway: Gateway, actions: str, expected: int) -> None:
    gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}}}, Context = $ {{{CONTEXT}{RESERVE}}}")
    before = dict(gateway.media.there)
    reply = gateway.ask(actions)
    codes = [action.error.code for action in reply.actions if action.error is not None]
    for action in reply.actions:
        codes += [error.code for command in action.commands if (error := command.find(ErrorDescriptor))]
    assert codes == [expected]
    assert gateway.media.there == before


LISTS = [
    "Context = 1 {{Subtract = {}}}",
    "Context = 1 {{Modify = {} {{Events}}}}",
    "Context = 1 {{AuditValue = {}}}",
    "Context = - {{AuditValue = {}}}",
    "Context = - {{AuditValue = {} {{Audit{{Media}}}}}}",
    "Context = - {{Modify = {} {{Events = 1 {{chp/mgcon}}}}}}",
    'Context = - {{ServiceChange = {} {{Services {{Method = Forced, Reason = "905"}}}}}}',
]


@pytest.mark.parametrize("several", ["[ROOT,bfcp/1]", "[bfcp/1,ROOT]", "[*,bfcp/1]", "[bfcp/*,bfcp/2]"])
@pytest.mark.parametrize("actions", LISTS)
def test_one_termination_at_a_time(gateway: Gateway, actions: str, several: str) -> None:
    """None of a list is silently left out, and none is touched."""
    gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}}}")
    there = dict(gateway.media.there)
    (action,) = gateway.ask(actions.format(several)).actions
    error = action.commands[0].find(ErrorDescriptor)
    assert error is not None
    assert error.code == ErrorCode.NOT_IMPLEMENTED
    assert gateway.media.there == there
    assert gateway.root == Root()


def test_context_audit(gateway: Gateway) -> None:
    gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}}}")
    for context in ("1", "*"):
        (action,) = gateway.ask(f"Context = {context} {{ContextAudit {{bfcpc/conf, bfcpc/floors}}}}").actions
        assert action.properties is not None
        assert [item.name for item in action.properties.attributes] == ["bfcpc/conf", "bfcpc/floors"]


def test_root(gateway: Gateway) -> None:
    gateway.ask("Context = - {Modify = ROOT {Events = 4 {chp/mgcon, it/ito {mit = 250}}}}")
    assert gateway.root.watched == [mp.WatchMrfp(True, 2.5, 4)]
    gateway.ask('Context = - {ServiceChange = ROOT {Services {Method = Forced, Reason = "905"}}}')
    assert [change.reason for change in gateway.root.changed] == [
        ServiceChangeReason.TERMINATION_OUT_OF_SERVICE
    ]


def test_no_new_terminations_out_of_service(gateway: Gateway) -> None:
    gateway.execution.accepts_new = False
    assert shape(gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}}}"))[0][1] == ["Add $ 503"]


def test_a_fault_is_500_and_the_next_transaction_is_served(gateway: Gateway) -> None:
    gateway.media.fault = ZeroDivisionError
    assert shape(gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}}}"))[0][1] == ["Add $ 500"]
    gateway.media.fault = None
    assert shape(gateway.ask(f"Context = $ {{{CONTEXT}{RESERVE}}}")) == [(1, ["Add bfcp/1"], 0)]


def test_a_thousand_commands(gateway: Gateway) -> None:
    adds = ", ".join([RESERVE] * 1000)
    (action,) = gateway.ask(f"Context = $ {{{CONTEXT}{adds}}}").actions
    assert len(action.commands) == 1000
    assert len(gateway.media.there) == 1000


def test_nothing_asked_is_not_implemented(gateway: Gateway) -> None:
    reply = gateway.execution.carry_out(TransactionRequest(1, ()))
    assert reply.error is not None
    assert reply.error.code == ErrorCode.NOT_IMPLEMENTED


def test_congestion_rises_at_once_and_falls_by_whole_steps() -> None:
    congestion = Congestion()
    assert [congestion.measure(load) for load in (0.5, 0.8, 0.86, 0.84, 0.99, 1.0)] == [
        None,
        None,
        25,
        None,
        75,
        100,
    ]
    assert [congestion.measure(load) for load in (0.98, 0.9, 0.2)] == [None, 50, 0]
    assert congestion.measure(0.0, 0.1, late=2.0) is None  # once: it may have been stopped
    assert congestion.measure(0.0, 0.1, late=2.0) == 100
