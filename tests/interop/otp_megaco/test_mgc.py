"""Erlang/OTP's megaco as media gateway controller drives the real mrfp-agent."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from mrfp_support import IDENTITY, KEY, Callee, come, floor_request
from otp_support import INSTALLED, OtpPeer, otp

from loopback_ports import free_ports, port_range
from mrf_protocols.h248.mp import ServiceMethod
from mrf_protocols.h248.values import (
    Action,
    ErrorDescriptor,
    EventsDescriptor,
    MediaDescriptor,
    Message,
    ObservedEventsDescriptor,
    PackagesDescriptor,
    ServiceChangeDescriptor,
    TransactionReply,
    TransactionRequest,
)
from mrf_protocols.tls_psk import TlsRole

pytestmark = pytest.mark.skipif(not INSTALLED, reason="Erlang/OTP is not installed")
AGENT = Path(__file__).parents[3] / ".venv" / "bin" / "mrfp-agent"
WAYS = list(itertools.product(("tcp", "udp"), ("pretty", "compact")))
CONTEXT = 'ContextAttr {bfcpc/conf = 4321, bfcpc/floors = [1,2], bfcpc/maxh = ["1=1","2=1"]},'
EVENTS = "Events = 7 {tcpbcc/BNCChange {Type = Rel}, tlsbsc/BNCChange {Type = Est}}"


def session(host: str, port: str) -> str:
    return f"{{\nv=0\nc=IN IP4 {host}\nm=application {port} TCP/TLS/BFCP *\n}}"


KEYS = f'bfcpt/psk = {KEY.hex()}, bfcpt/pskid = "{IDENTITY}"'
LOCAL = "Local " + session("$", "$")


def remote(port: int) -> str:
    return "Remote " + session("127.0.0.1", str(port))


def request(context: str, commands: str) -> str:
    return f"MEGACO/3 mgc Transaction = 1 {{Context = {context} {{{commands}}}}}"


def configure(port: int = 9, user: int = 1, more: str = "") -> str:
    """Configure BFCP Termination."""
    return (
        f"{CONTEXT} Add = $ {{Media {{TerminationState {{bfcpt/user = {user}}}, Stream = 1 {{"
        f"LocalControl {{Mode = SendReceive, {KEYS}}}, {LOCAL}, {remote(port)}}}}}, {EVENTS}{more}}}"
    )


RESERVE = (
    f"{CONTEXT} Add = $ {{Media {{TerminationState {{bfcpt/user = 1}}, Stream = 1 {{"
    f"LocalControl {{Mode = SendReceive}}, {LOCAL}}}}}, {EVENTS}}}"
)


@dataclass
class Driven:
    """An agent that megaco commands."""

    mgc: OtpPeer
    registration: Message
    log: Path

    async def add(self, commands: str) -> tuple[int, str, tuple[str, int]]:
        """Add in a new context: context, termination, local address."""
        action = only(await self.mgc.ask(request("$", commands)))
        command = action.commands[0]
        media = command.find(MediaDescriptor)
        assert media is not None, action
        local = media.streams[0].local or ""
        assert local.splitlines()[1] == "c=IN IP4 127.0.0.1"
        return action.context_id, command.termination, ("127.0.0.1", int(local.splitlines()[2].split()[1]))

    async def error(self, context: str, commands: str) -> int:
        """The error code of the only answer."""
        reply = await self.mgc.ask(request(context, commands))
        return code(reply)


def only(reply: TransactionReply) -> Action:
    (action,) = reply.actions
    return action


def code(reply: TransactionReply) -> int:
    errors = [reply.error]
    for action in reply.actions:
        errors += [action.error, *(command.find(ErrorDescriptor) for command in action.commands)]
    return next(error.code for error in errors if error is not None)


@asynccontextmanager
async def driven(
    folder: Path, transport: str, style: str, port: int = 0, times: str = ""
) -> AsyncIterator[Driven]:
    """Start megaco and an agent that finds it."""
    port = port or free_ports(1)[0]
    first, last = port_range(8)
    (folder / "mrfp.toml").write_text(
        f'[mp]\nmrfcs = ["{transport}:127.0.0.1:{port}"]\nretry = 0.1\ntimeout = 30.0\n'
        f'[media]\nipv4 = "127.0.0.1"\nports = [{first}, {last}]\nquarantine = 0\n'
        f"[termination]\nclient_hello = 30.0\n[limits]\nterminations = 5\n[http]\nport = {free_ports(1)[0]}\n{times}"
    )
    async with otp("mgc") as mgc:
        mgc.say("listen", transport, str(port), style)
        await mgc.hear("ready")
        with (folder / "mrfp.log").open("ab") as log:
            agent = await asyncio.create_subprocess_exec(
                str(AGENT), "run", "--config", str(folder / "mrfp.toml"), stderr=log
            )
        try:
            version, registration = await mgc.request()
            assert version == 1
            await mgc.hear("version", "3")
            yield Driven(mgc, registration, folder / "mrfp.log")
            assert mgc.faults() == []
        finally:
            if agent.returncode is None:
                agent.terminate()
            await asyncio.wait_for(agent.wait(), 60)


@pytest.fixture(params=WAYS, ids="-".join)
async def mrfp(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Driven]:
    async with driven(tmp_path, *request.param) as started:
        yield started


def service_change(message: Message) -> ServiceChangeDescriptor:
    (transaction,) = message.transactions
    assert isinstance(transaction, TransactionRequest)
    found = transaction.actions[0].commands[0].find(ServiceChangeDescriptor)
    assert found is not None
    return found


async def test_registration_and_good_bye(tmp_path: Path) -> None:
    async with driven(tmp_path, "tcp", "compact") as mrfp:
        change = service_change(mrfp.registration)
        assert (change.method, change.version, change.profile) == (ServiceMethod.RESTART, 3, "bfcp_mrfp/1")
        mgc = mrfp.mgc
    _, message = await mgc.request()
    assert service_change(message).method == ServiceMethod.FORCED


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_an_older_controller_is_taken_as_it_is(tmp_path: Path, transport: str, version: int) -> None:
    port = free_ports(1)[0]
    first, last = port_range(4)
    (tmp_path / "mrfp.toml").write_text(
        f'[mp]\nmrfcs = ["{transport}:127.0.0.1:{port}"]\nretry = 0.1\n[media]\nipv4 = "127.0.0.1"\n'
        f"ports = [{first}, {last}]\n[http]\nport = {free_ports(1)[0]}\n[limits]\nterminations = 4\n"
    )
    async with otp("mgc") as mgc:
        mgc.say("agree", str(version))
        mgc.say("listen", transport, str(port), "pretty")
        await mgc.hear("ready")
        agent = await asyncio.create_subprocess_exec(
            str(AGENT), "run", "--config", str(tmp_path / "mrfp.toml"), stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await mgc.request()
            await mgc.hear("version", str(version))
            audit = f"MEGACO/{version} mgc Transaction = 1 {{Context = - {{AuditValue = ROOT {{Audit {{Packages}}}}}}}}"
            command = only(await mgc.ask(audit)).commands[0]
            assert command.find(PackagesDescriptor) is not None
            assert mgc.faults() == []
        finally:
            agent.terminate()
            await agent.wait()


async def test_configure_connect_notify_subtract(mrfp: Driven) -> None:
    context, termination, local = await mrfp.add(configure())
    user = await come(local)
    await user.secure(TlsRole.CLIENT)
    user.send(floor_request(1))
    while (await user.receive()).name != "FloorRequestStatus Granted":
        pass
    _, established = await mrfp.mgc.request()
    assert observed(established) == (context, termination, "tlsbsc/bncchange")
    await user.close()
    _, released = await mrfp.mgc.request()
    assert observed(released) == (context, termination, "tcpbcc/bncchange")
    answer = only(await mrfp.mgc.ask(request(str(context), f"Subtract = {termination}")))
    assert answer.commands[0].termination == termination
    assert await mrfp.error(str(context), f"Subtract = {termination}") == 411


def observed(message: Message) -> tuple[int, str, str]:
    (transaction,) = message.transactions
    assert isinstance(transaction, TransactionRequest)
    action = transaction.actions[0]
    events = action.commands[0].find(ObservedEventsDescriptor)
    assert events is not None
    assert events.request_id == 7
    return action.context_id, action.commands[0].termination, events.events[0].name.lower()


async def test_reserve_and_configure_reserved(mrfp: Driven) -> None:
    context, termination, _ = await mrfp.add(RESERVE)
    async with Callee() as callee:
        modify = (
            f"Modify = {termination} {{Media {{Stream = 1 {{LocalControl {{Mode = SendReceive, {KEYS}}}, "
            f"{remote(callee.address[1])}}}}}, Signals {{tcpbcc/EstBNC, tlsbsc/EstBNC}}}}"
        )
        answer = only(await mrfp.mgc.ask(request(str(context), modify)))
        assert answer.commands[0].termination == termination
        user = await callee.arrival()
        await user.secure(TlsRole.SERVER)
        _, established = await mrfp.mgc.request()
        assert observed(established) == (context, termination, "tlsbsc/bncchange")
        await mrfp.mgc.ask(request(str(context), "W-Subtract = *"))
        await user.closed()
        await user.close()


async def test_modify_events_and_audit(mrfp: Driven) -> None:
    context, termination, local = await mrfp.add(configure())
    await mrfp.mgc.ask(
        request(str(context), f"Modify = {termination} {{Events = 9 {{hangterm/thb {{timerx = 60}}}}}}")
    )
    audit = "Audit {Media, Events, Packages}"
    command = only(
        await mrfp.mgc.ask(request(str(context), f"AuditValue = {termination} {{{audit}}}"))
    ).commands[0]
    events, media = command.find(EventsDescriptor), command.find(MediaDescriptor)
    assert events is not None
    assert media is not None
    assert (events.request_id, [event.name for event in events.events]) == (9, ["hangterm/thb"])
    assert f"m=application {local[1]} TCP/TLS/BFCP *" in (media.streams[0].local or "")
    assert "m=application 9 " in (media.streams[0].remote or "")
    assert KEY.hex() not in repr(command).lower()
    root = only(await mrfp.mgc.ask(request("-", "AuditValue = ROOT {Audit {Media, Packages}}"))).commands[0]
    packages = root.find(PackagesDescriptor)
    assert packages is not None
    assert {"bfcpt", "tcpbcc", "chp"} <= {item.name for item in packages.items}
    listed = only(await mrfp.mgc.ask(request("*", "AuditValue = * {Audit {}}")))
    assert (listed.context_id, listed.commands[0].terminations) == (context, (termination,))
    capability = only(
        await mrfp.mgc.ask(request(str(context), f"AuditCapability = {termination} {{Audit {{Signals}}}}"))
    )
    assert "tcpbcc/estbnc" in repr(capability.commands[0].descriptors).lower()


async def test_several_commands_and_the_first_that_fails(mrfp: Driven) -> None:
    """Two in one new context, an optional one that fails, one that fails, and one that is not reached."""
    both = configure(user=1) + "," + configure(user=2).removeprefix(CONTEXT)
    text = (
        f"MEGACO/3 mgc Transaction = 1 {{Context = $ {{{both}}}, "
        "Context = - {O-AuditValue = bfcp/99 {Audit {}}, AuditValue = ROOT {Audit {}}, "
        "Subtract = ROOT, AuditValue = ROOT {Audit {}}}}"
    )
    reply = await mrfp.mgc.ask(text)
    assert len(reply.actions) == 2, reply
    first, root = reply.actions
    assert [command.kind.value for command in first.commands] == ["Add", "Add"]
    refused = root.commands[0].find(ErrorDescriptor)
    assert refused is not None
    assert refused.code == 430
    assert [command.termination.lower() for command in root.commands] == ["bfcp/99", "root"]
    assert root.error is not None
    assert root.error.code == 421
    await mrfp.mgc.ask(request(str(first.context_id), "Subtract = *"))


ERRORS = (
    ("99", "Subtract = bfcp/1", 411),
    ("99", f"Modify = bfcp/1 {{{EVENTS}}}", 411),
    ("$", configure().replace("bfcpt/user", "nosuch/user"), 440),
    ("$", configure().replace("bfcpt/user", "bfcpt/nosuch"), 445),
    ("$", configure(more=", Signals {tcpbcc/Nosuch}"), 452),
    ("$", configure(more=", Signals {cg/rt}"), 440),
    ("$", configure().replace("tcpbcc/BNCChange {Type = Rel}", "tcpbcc/Nosuch"), 451),
    ("$", configure().replace(KEYS, "bfcpt/pskid = x"), 472),
    ("$", configure().replace("TCP/TLS/BFCP", "UDP/BFCP"), 515),
    ("$", configure().replace("Add = $", "Add = bfcp/7"), 410),
    ("-", configure().removeprefix(CONTEXT), 421),
    ("-", "AuditValue = bfcp/77 {Audit {}}", 430),
    ("*", "AuditValue = bfcp/77 {Audit {}}", 430),
    ("*", "AuditValue = x* {Audit {}}", 431),
    ("-", "Move = ROOT", 421),
)


async def test_errors(mrfp: Driven) -> None:
    """Each by a transaction of its own; nothing is left of any."""
    found = [(context, commands, await mrfp.error(context, commands)) for context, commands, _ in ERRORS]
    assert found == list(ERRORS)
    assert await mrfp.error("*", "Subtract = *") == 431
