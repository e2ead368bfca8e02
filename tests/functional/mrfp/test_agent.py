"""The agent as a process, over Mp: from Configure to a granted floor, and every bad user."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mrfp_support import CONFERENCE, IDENTITY, KEY, Callee, User, come, floor_release, floor_request

from mrf_protocols.bfcp import ErrorCode, ErrorCodeAttribute, encode
from mrf_protocols.h248 import mp
from mrf_protocols.tls_psk import TlsPskError, TlsRole

Agent = Any  # AgentProcess of conftest.py, which tests cannot import


def dial_in(
    remote: tuple[str, int] = ("127.0.0.1", 9), start_tcp: bool = False
) -> mp.ConfigureBfcpTermination:
    return mp.ConfigureBfcpTermination(
        remote,
        1,
        conference=CONFERENCE,
        psk=KEY,
        psk_identity=IDENTITY,
        start_tcp=start_tcp,
        correlation="call-1@example",
    )


async def granted(user: User) -> int:
    user.send(floor_request(1))
    while (message := await user.receive()).name != "FloorRequestStatus Granted":
        pass
    assert message.floor_request_id is not None
    return message.floor_request_id


def trace_of(agent: Agent) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (agent.folder / "trace.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("start_tcp", [True, False], ids=["MRFP opens", "user opens"])
async def test_from_configure_to_a_granted_floor_and_back(agent: Agent, start_tcp: bool) -> None:
    async with Callee() as callee:
        configured = await agent.configure(dial_in(callee.address, start_tcp))
        user = await (callee.arrival() if start_tcp else come(configured.local))
        await user.secure(TlsRole.CLIENT)
        request = await granted(user)
        assert (await agent.status())["established"] == 1
        user.send(floor_release(1, request))
        assert (await user.receive()).name == "FloorRequestStatus Released"
        await agent.release(configured)
        await user.closed()
        await user.close()
    await agent.assert_nothing_left()
    assert agent.indications == []
    names = [(event["protocol"], event["name"]) for event in trace_of(agent)]
    for expected in (
        ("Mp", "Add request: Configure BFCP Termination"),
        ("TCP", "TCP connect"),
        ("TLS", "ClientHello"),
        ("TLS", "TLS established"),
        ("BFCP", "FloorRequest"),
        ("BFCP", "FloorRequestStatus Granted"),
        ("Mp", "Subtract request: Release BFCP Termination"),
    ):
        assert expected in names


async def test_dial_out_by_reserve_and_configure_reserved(agent: Agent) -> None:
    reserved = await agent.request(mp.ReserveBfcpTermination(1, conference=CONFERENCE))
    user = await come(reserved.local)
    configure = mp.ConfigureReservedBfcpTermination(
        reserved.context,
        reserved.termination,
        ("127.0.0.1", 9),
        psk=KEY,
        psk_identity=IDENTITY,
        start_tls=True,
    )
    await agent.request(configure)
    await user.secure(TlsRole.SERVER)
    await granted(user)
    await user.close()
    await agent.indication(mp.BearerReleased)
    await agent.release(reserved)
    await agent.assert_nothing_left()


async def test_a_user_who_never_connects(hasty_agent: Agent) -> None:
    configured = await hasty_agent.configure(dial_in())
    failure = await hasty_agent.indication(mp.TcpEstablishmentFailed)
    assert isinstance(failure, mp.TcpEstablishmentFailed)
    assert (failure.context, failure.termination) == (configured.context, configured.termination)
    await hasty_agent.release(configured)
    await hasty_agent.assert_nothing_left()


async def test_a_user_who_connects_and_sends_nothing(hasty_agent: Agent) -> None:
    async with Callee() as callee:
        configured = await hasty_agent.configure(dial_in(callee.address, start_tcp=True))
        user = await callee.arrival()
        failure = await hasty_agent.indication(mp.TlsEstablishmentFailed)
        assert isinstance(failure, mp.TlsEstablishmentFailed)
        await user.closed()
        await user.close()
    assert "client-hello-timeout" in hasty_agent.log()
    await hasty_agent.release(configured)
    await hasty_agent.assert_nothing_left()


@pytest.mark.parametrize(
    ("key", "identity", "reason"),
    [(bytes(32), IDENTITY, "wrong-psk"), (KEY, "99.1", "unknown-psk-identity")],
    ids=["key", "identity"],
)
async def test_a_user_with_a_wrong_key_or_identity(
    agent: Agent, key: bytes, identity: str, reason: str
) -> None:
    async with Callee() as callee:
        configured = await agent.configure(dial_in(callee.address, start_tcp=True))
        user = await callee.arrival()
        with pytest.raises(TlsPskError):
            await user.secure(TlsRole.CLIENT, key=key, identity=identity)
        await agent.indication(mp.TlsEstablishmentFailed)
        await user.close()
    assert reason in agent.log()
    await agent.release(configured)
    await agent.assert_nothing_left()


async def test_half_a_message_and_silence(hasty_agent: Agent) -> None:
    configured = await hasty_agent.configure(dial_in())
    user = await come(configured.local)
    await user.secure(TlsRole.CLIENT)
    user.send_octets(encode(floor_request(1))[:10])
    await hasty_agent.indication(mp.BearerReleased)
    await user.closed()
    await user.close()
    assert "unfinished-message-timeout" in hasty_agent.log()
    await hasty_agent.release(configured)
    await hasty_agent.assert_nothing_left()


async def test_a_length_that_lies(agent: Agent) -> None:
    configured = await agent.configure(dial_in())
    user = await come(configured.local)
    await user.secure(TlsRole.CLIENT)
    octets = encode(floor_request(1))
    user.send_octets(octets[:2] + b"\xff\xff" + octets[4:])
    error = (await user.receive()).first(ErrorCodeAttribute)
    assert error is not None
    assert error.code == ErrorCode.INCORRECT_MESSAGE_LENGTH
    await user.closed()
    await user.close()
    await agent.indication(mp.BearerReleased)
    await agent.release(configured)
    await agent.assert_nothing_left()


async def test_another_users_id(agent: Agent) -> None:
    configured = await agent.configure(dial_in())
    user = await come(configured.local)
    await user.secure(TlsRole.CLIENT)
    user.send(replace(floor_request(1), user_id=2))
    error = (await user.receive()).first(ErrorCodeAttribute)
    assert error is not None
    assert error.code == ErrorCode.UNAUTHORIZED_OPERATION
    await user.close()
    await agent.indication(mp.BearerReleased)
    await agent.release(configured)
    await agent.assert_nothing_left()


async def test_a_stranger_who_is_first(agent: Agent) -> None:
    configured = await agent.configure(dial_in())
    stranger = await come(configured.local, "127.0.0.66")
    stranger.send_octets(b"GET / HTTP/1.1\r\n\r\n")
    silent = await come(configured.local, "127.0.0.67")
    user = await come(configured.local)
    await user.secure(TlsRole.CLIENT)
    await granted(user)
    await stranger.closed()
    await silent.closed()
    await agent.release(configured)
    for each in (user, stranger, silent):
        await each.close()
    await agent.assert_nothing_left()


async def test_two_terminations_in_one_context_by_mp(agent: Agent) -> None:
    first = await agent.configure(dial_in())
    second = await agent.configure(replace(dial_in(), user_id=2, context=first.context, conference=None))
    assert second.context == first.context
    assert (await agent.status())["contexts"] == 1
    await agent.request(mp.ReleaseBfcpTermination(first.context))
    await agent.assert_nothing_left()


async def test_the_end_of_the_association_releases_everything(agent: Agent) -> None:
    configured = await agent.configure(dial_in())
    user = await come(configured.local)
    await user.secure(TlsRole.CLIENT)
    await agent.controller.close()
    await user.closed()
    await user.close()
    counts = await agent.status()
    assert counts == {**agent.idle, "registered": False}
    assert "no MRFC for too long: 1 terminations released" in agent.log()


async def test_sigterm_says_good_bye_and_closes_everything(agent: Agent) -> None:
    configured = await agent.configure(dial_in())
    user = await come(configured.local)
    await user.secure(TlsRole.CLIENT)
    assert await agent.terminate() == 0
    assert agent.lost == [agent.name]
    assert any("ServiceChange" in event.name for event in agent.mp_trace)
    await user.closed()
    await user.close()


async def test_operators_see_metrics_and_health(agent: Agent) -> None:
    assert json.loads(await agent.get("/health")) == {"registered": True, "media": True}
    configured = await agent.configure(dial_in())
    page = (await agent.get("/metrics")).decode()
    assert "mrfp_terminations 1.0" in page
    assert "mrfp_ports_in_use 1.0" in page
    await agent.release(configured)
    assert "mrfp_terminations 0.0" in (await agent.get("/metrics")).decode()


async def test_no_key_is_written_anywhere(agent: Agent) -> None:
    configured = await agent.configure(dial_in())
    user = await come(configured.local)
    await user.secure(TlsRole.CLIENT)
    await granted(user)
    await user.close()
    await agent.release(configured)
    written = agent.log() + (agent.folder / "trace.jsonl").read_text()
    assert IDENTITY in written
    assert KEY.hex() not in written.lower()


async def test_two_hundred_mixed_calls_leave_nothing(agent: Agent) -> None:
    """Grants, strangers, silence, wrong keys and early releases, ten at a time."""

    async def call(number: int) -> None:
        configured = await agent.configure(replace(dial_in(), correlation=f"call-{number}"))
        kind = number % 5
        if kind:
            user = await come(configured.local)
            if kind == 1:
                await user.secure(TlsRole.CLIENT)
                await granted(user)
            elif kind == 2:
                with pytest.raises(TlsPskError):
                    await user.secure(TlsRole.CLIENT, key=bytes(32))
            elif kind == 3:
                user.send_octets(b"\x16\x03\x01")
            await agent.release(configured)
            await user.close()
        else:
            await agent.release(configured)

    for start in range(0, 200, 10):
        await asyncio.gather(*(call(number) for number in range(start, start + 10)))
    await agent.assert_nothing_left()


def run_check(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mrfp_agent.cli", "check", "--config", str(config)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_check_names_an_address_that_this_host_does_not_have(tmp_path: Path) -> None:
    config = tmp_path / "mrfp.toml"
    config.write_text(
        '[mp]\nmrfcs = ["127.0.0.1:2944"]\n'
        '[media]\nipv4 = ["127.0.0.1", "192.0.2.77"]\nports = [20000, 20009]\n'
        "[limits]\nterminations = 20\n"
    )
    done = run_check(config)
    assert done.returncode == 1
    assert done.stderr.strip() == "mrfp-agent: media: no interface of this host has 192.0.2.77"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ports = [20000, 20009]", "ports = [20009]", "first and the last port"),
        ('ipv4 = "127.0.0.1"', 'ipv4 = "mrfp.example"', "is no IP address"),
        ('ipv4 = "127.0.0.1"', 'ipv4 = "::1"', "ipv6 holds IPv6 addresses"),
        ('"127.0.0.1:2944"', '"127.0.0.1"', "is not host:port"),
        ("[media]", "[tls]\ntls13 = false\necdhe_psk = false\nplain_psk = false\n[media]", "nothing is left"),
        ("[media]", "[media]\nport = 1", "is not a known key"),
    ],
)
def test_check_tells_what_is_wrong_in_the_file(tmp_path: Path, old: str, new: str, words: str) -> None:
    config = tmp_path / "mrfp.toml"
    good = '[mp]\nmrfcs = ["127.0.0.1:2944"]\n[media]\nipv4 = "127.0.0.1"\nports = [20000, 20009]\n'
    config.write_text(good)
    assert run_check(config).returncode == 0
    config.write_text(good.replace(old, new))
    done = run_check(config)
    assert done.returncode == 78
    assert words in done.stderr


def test_the_shipped_configuration_is_right() -> None:
    shipped = Path(__file__).parents[3] / "configs" / "mrfp.toml"
    assert run_check(shipped).returncode == 0
