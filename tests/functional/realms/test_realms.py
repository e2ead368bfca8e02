"""Media realms on real interfaces: addresses and cables that go and come back, and other network namespaces."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mrfp_support import User, floor_request, until

from mrf_protocols.tls_psk import TlsRole
from mrfc.mp.controller import MrfpRefused, MrfpUnavailable

Cable = Any  # of conftest.py, which tests cannot import
Start = Any

REALM = '[media]\nrestore_after = 0.1\n[[media.realm]]\nname = "access"\nports = {ports}\n'


def access(cable: Cable, more: str = "") -> str:
    """A realm in the MRFP's namespace."""
    return (
        f'{REALM}ipv4 = "198.51.100.1"\nipv6 = "2001:db8::1"\ninterface = "media0"\n'
        f'namespace = "{cable.media}"\ndscp = 34\n{more}'
    )


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


async def granted(user: User, number: int = 1) -> None:
    user.send(floor_request(number))
    while (await user.receive()).name != "FloorRequestStatus Granted":
        pass


@pytest.mark.parametrize("remote", ["198.51.100.2", "2001:db8::2"], ids=["IPv4", "IPv6"])
async def test_users_are_served_in_another_namespace(cable: Cable, start_agent: Start, remote: str) -> None:
    agent = await start_agent(access(cable))
    configured = await agent.configure(remote)
    user = await cable.come(configured.local)
    await user.secure(TlsRole.CLIENT)
    await granted(user)
    sockets = ip("netns", "exec", cable.media, "ss", "-Htn")
    assert str(configured.local[1]) in sockets
    await user.close()


async def test_a_pulled_cable_is_seen_told_and_healed(cable: Cable, start_agent: Start) -> None:
    agent = await start_agent(access(cable))
    await until(lambda: agent.in_service)
    configured = await agent.configure("198.51.100.2")
    user = await cable.come(configured.local)
    await user.secure(TlsRole.CLIENT)

    cable.pull()
    realm = await agent.until_realm("access", in_service=False)
    assert realm["addresses"]["198.51.100.1"] == "interface media0 is down"
    await until(lambda: not agent.in_service)
    with pytest.raises(MrfpUnavailable):
        agent.controller.choose_mrfp()
    with pytest.raises(MrfpRefused) as refused:
        await agent.configure("198.51.100.2", user=2)
    assert refused.value.code == 530
    status, body = await agent.get("/ready")
    assert (status, json.loads(body)) == (503, {"registered": True, "media": False})
    assert 'mrfp_realm_in_service{realm="access"} 0.0' in (await agent.get("/metrics"))[1]

    cable.plug()
    await agent.until_realm("access", in_service=True)
    await until(lambda: agent.in_service)
    assert len(agent.controller.mrfps()) == 1
    await granted(user)  # the call that was up is still up
    assert (await agent.get("/ready"))[0] == 200
    log = agent.log()
    assert "198.51.100.1 is out of service: interface media0 is down" in log
    assert "no media realm is in service" in log
    assert "media is available again" in log
    await user.close()


async def test_one_realm_of_two_that_loses_its_address(cable: Cable, start_agent: Start) -> None:
    other = '[[media.realm]]\nname = "core"\nipv4 = "127.0.0.1"\nports = {ports}\npeers = ["127.0.0.0/8"]\n'
    agent = await start_agent(access(cable, 'peers = ["198.51.100.0/24", "2001:db8::/32"]\n') + other)
    await until(lambda: agent.in_service)
    assert (await agent.configure("198.51.100.2")).local[0] == "198.51.100.1"
    assert (await agent.configure("127.0.0.9")).local[0] == "127.0.0.1"
    with pytest.raises(MrfpRefused) as nobodys:
        await agent.configure("203.0.113.5")
    assert nobodys.value.code == 531

    ip("-n", cable.media, "addr", "del", "198.51.100.1/24", "dev", "media0")
    async with asyncio.timeout(60):
        while "no interface" not in (await agent.realms())["access"]["addresses"]["198.51.100.1"]:
            await asyncio.sleep(0.02)
    with pytest.raises(MrfpRefused) as refused:
        await agent.configure("198.51.100.2")
    assert refused.value.code == 530
    assert (await agent.configure("127.0.0.9")).local[0] == "127.0.0.1"
    assert (await agent.configure("2001:db8::2")).local[0] == "2001:db8::1"
    assert agent.in_service

    ip("-n", cable.media, "addr", "add", "198.51.100.1/24", "dev", "media0")
    async with asyncio.timeout(60):
        while (await agent.realms())["access"]["addresses"]["198.51.100.1"] != "in service":
            await asyncio.sleep(0.02)
    assert (await agent.configure("198.51.100.2")).local[0] == "198.51.100.1"


async def test_a_namespace_that_is_made_anew(cable: Cable, start_agent: Start) -> None:
    agent = await start_agent(access(cable))
    await until(lambda: agent.in_service)
    await agent.configure("198.51.100.2")
    ip("netns", "del", cable.media)
    ip("-n", cable.users, "link", "del", "user0")
    await until(lambda: not agent.in_service)
    cable.lay_media_end()
    await until(lambda: agent.in_service)
    user = await cable.come((await agent.configure("198.51.100.2", user=2)).local)
    await user.secure(TlsRole.CLIENT)
    await user.close()


async def test_addresses_that_the_agent_adds_and_removes(cable: Cable, start_agent: Start) -> None:
    agent = await start_agent(
        f'{REALM}ipv4 = "198.51.100.11/24"\nipv6 = "2001:db8::11/64"\ninterface = "media0"\n'
        f'namespace = "{cable.media}"\nadd_addresses = true\n'
    )
    await agent.until_realm("access", in_service=True)
    shown = ip("-n", cable.media, "addr", "show", "dev", "media0")
    assert "198.51.100.11/24" in shown
    user = await cable.come((await agent.configure("2001:db8::2")).local)
    await user.secure(TlsRole.CLIENT)
    await user.close()
    # an interface that goes down loses its IPv6 addresses; with the interface they come back
    ip("-n", cable.media, "link", "set", "media0", "down")
    await agent.until_realm("access", in_service=False)
    ip("-n", cable.media, "link", "set", "media0", "up")
    await agent.until_realm("access", in_service=True)
    async with asyncio.timeout(60):
        while "2001:db8::11/64" not in ip("-n", cable.media, "addr", "show", "dev", "media0"):
            await asyncio.sleep(0.02)
    assert await agent.terminate() == 0
    shown = ip("-n", cable.media, "addr", "show", "dev", "media0")
    assert "198.51.100.11" not in shown
    assert "2001:db8::11/64" not in shown
    assert "198.51.100.1/24" in shown  # somebody else's


async def test_an_address_that_comes_after_the_start(cable: Cable, start_agent: Start) -> None:
    ip("-n", cable.media, "addr", "del", "198.51.100.1/24", "dev", "media0")
    agent = await start_agent(
        '[media]\nrestore_after = 0.0\ncheck_addresses = false\n[[media.realm]]\nname = "access"\n'
        f'ports = {{ports}}\nipv4 = "198.51.100.1"\nnamespace = "{cable.media}"\n'
    )
    await until(lambda: not agent.in_service)  # it registers, and then says that it has no media
    ip("-n", cable.media, "addr", "add", "198.51.100.1/24", "dev", "media0")
    await until(lambda: agent.in_service)
    assert (await agent.configure("198.51.100.2")).local[0] == "198.51.100.1"


async def test_a_route_that_is_not_there_is_told_at_start(cable: Cable, start_agent: Start) -> None:
    agent = await start_agent(access(cable, 'reach = ["198.51.100.2", "203.0.113.9"]\n'))
    log = agent.log()
    assert "media realm access: no route from 198.51.100.1 to 203.0.113.9" in log
    assert "to 198.51.100.2" not in log


def check(tmp_path: Path, media: str) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "mrfp.toml"
    config.write_text('[mp]\nmrfcs = ["127.0.0.1:2944"]\n' + media.replace("{ports}", "[20000, 29999]"))
    command = [sys.executable, "-m", "mrfp_agent.cli", "check", "--config", str(config)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ('ipv4 = "198.51.100.1"\nnamespace = "no-such"', "network namespace no-such is not there"),
        ('ipv4 = "127.0.0.1"\ninterface = "no-such"', "interface no-such is not there"),
        ('ipv4 = "127.0.0.1"\nvrf = "no-such"', "interface no-such is not there"),
        ('ipv4 = "198.51.100.200"', "no interface of this host has 198.51.100.200"),
    ],
)
def test_a_realm_that_this_host_does_not_have(tmp_path: Path, realm: str, words: str) -> None:
    done = check(tmp_path, REALM + realm)
    assert done.returncode == 1
    assert done.stderr.strip() == f"mrfp-agent: media: {words}"


def test_check_changes_nothing(cable: Cable, tmp_path: Path) -> None:
    before = ip("-n", cable.media, "-4", "addr")
    realm = f'ipv4 = "198.51.100.11/24"\ninterface = "media0"\nnamespace = "{cable.media}"\n'
    assert check(tmp_path, REALM + realm + "add_addresses = true\n").returncode == 0
    assert ip("-n", cable.media, "-4", "addr") == before
