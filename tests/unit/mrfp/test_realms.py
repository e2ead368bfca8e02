"""Media realms: what is wrong with an address, and when it is in service."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrfp_agent.network import SocketOptions, media_socket
from mrfp_agent.ports import (
    Address,
    MediaPorts,
    NoAddressError,
    NoPortLeftError,
    OutOfServiceError,
    PortRange,
)
from mrfp_agent.realms import (
    AddressSeen,
    LocalAddress,
    NetworkSeen,
    Realm,
    RealmStates,
    ServiceState,
    trouble,
)

HOST, OTHER = "192.0.2.1", "2001:db8::1"
REALM = Realm("access", (LocalAddress(HOST, 24), LocalAddress(OTHER, 64)), (10000, 10009))
WELL = {HOST: "", OTHER: ""}


def seen(interface: str = "eth0", *, up: bool = True, usable: bool = True, vrf: bool = True) -> NetworkSeen:
    return NetworkSeen(
        {HOST: AddressSeen(interface, usable)}, {"lo": True, "eth0": up, "eth1": True, "vrf0": vrf}
    )


@pytest.mark.parametrize(
    ("realm", "network", "words"),
    [
        ({}, seen(), ""),
        ({"interface": "eth0", "vrf": "vrf0"}, seen(), ""),
        ({"namespace": "media"}, None, "network namespace media is not there"),
        ({"interface": "eth7"}, seen(), "interface eth7 is not there"),
        ({"interface": "eth1"}, seen(), f"{HOST} is on interface eth0, not on eth1"),
        ({}, seen(up=False), "interface eth0 is down"),
        ({"vrf": "vrf0"}, seen(vrf=False), "interface vrf0 is down"),
        ({}, seen(usable=False), f"{HOST} is not known to be free of duplicates"),
        ({}, NetworkSeen({}, {"lo": True}), f"no interface of this host has {HOST}"),
    ],
)
def test_what_is_wrong(realm: dict[str, str], network: NetworkSeen | None, words: str) -> None:
    made = Realm("access", (LocalAddress(HOST, 24),), (1, 2), **realm)  # type: ignore[arg-type]  # texts only
    assert trouble(made, HOST, network) == words


def test_every_address_of_the_loopback_block_is_there() -> None:
    loopback = Realm("local", (LocalAddress("127.0.0.77", 8),), (1, 2))
    assert trouble(loopback, "127.0.0.77", NetworkSeen({}, {"lo": True})) == ""
    assert trouble(loopback, "127.0.0.77", NetworkSeen({}, {"lo": False})) == "interface lo is down"


def test_out_at_once_and_back_after_a_while() -> None:
    states = RealmStates([REALM], restore_after=5)
    assert states.reason(HOST) == "not looked at yet"
    first = states.observe(WELL, 0)
    assert first == [ServiceState("access", HOST, ""), ServiceState("access", OTHER, "")]
    assert states.observe(WELL | {HOST: "gone"}, 10) == [ServiceState("access", HOST, "gone")]
    assert states.in_service(REALM)  # by the other address
    assert states.observe(WELL | {HOST: "gone", OTHER: "gone"}, 11) == [ServiceState("access", OTHER, "gone")]
    assert not states.any_in_service()
    assert states.observe(WELL, 20) == []
    assert states.deadline == 25
    assert states.observe(WELL | {OTHER: "gone again"}, 22) == []
    assert states.tick(24.9) == []
    assert states.tick(25) == [ServiceState("access", HOST, "")]
    assert states.reason(HOST) == ""
    assert states.deadline is None
    assert states.observe(WELL, 30) == []
    assert states.tick(35) == [ServiceState("access", OTHER, "")]


QUARTERS = st.integers(0, 16).map(lambda count: count / 4)
"""Seconds whose sums and differences are exact."""


@given(st.lists(st.tuples(st.booleans(), QUARTERS), max_size=40))
def test_flapping_is_one_outage(flaps: list[tuple[bool, float]]) -> None:
    """However often it comes and goes: never in service before it was well for the whole time."""
    states = RealmStates([Realm("access", (LocalAddress(HOST, 24),), (1, 2))], restore_after=3)
    states.observe({HOST: ""}, 0)
    now, well_since, state = 0.0, 0.0, True
    for well, pause in flaps:
        now += pause
        for change in states.tick(now):
            assert change.in_service
            assert now - well_since >= 3
            state = True
        for change in states.observe({HOST: "" if well else "down"}, now):
            state = change.in_service
            assert state is False or now - well_since >= 3
        if not well:
            well_since = float("inf")
            assert state is False
        elif well_since == float("inf"):
            well_since = now
        assert (states.reason(HOST) == "") is state


def test_ports_of_an_address_that_is_out_of_service() -> None:
    ports = MediaPorts([PortRange(HOST, 1, 2), PortRange("192.0.2.2", 1, 2)], quarantine=0)
    ports.set_in_service(HOST, False)
    assert {ports.allocate(4, 0).host for _ in range(2)} == {"192.0.2.2"}
    with pytest.raises(NoPortLeftError):
        ports.allocate(4, 0)
    ports.set_in_service("192.0.2.2", False)
    with pytest.raises(OutOfServiceError):
        ports.allocate(4, 0)
    ports.set_in_service(HOST, True)
    assert ports.allocate(4, 0).host == HOST
    assert ports.left("default") == 1


def test_the_realm_that_fits_the_peer_best() -> None:
    def networks(*texts: str) -> tuple[ipaddress.IPv4Network, ...]:
        return tuple(ipaddress.IPv4Network(text) for text in texts)

    ports = MediaPorts(
        [
            PortRange("192.0.2.1", 1, 9, "any"),
            PortRange("192.0.2.2", 1, 9, "ten", networks("10.0.0.0/8")),
            PortRange("192.0.2.3", 1, 1, "branch", networks("10.1.0.0/16", "10.9.0.0/16")),
        ],
        quarantine=0,
    )
    assert ports.allocate(4, 0, "203.0.113.1").host == "192.0.2.1"
    assert ports.allocate(4, 0, "10.2.0.1").host == "192.0.2.2"
    assert ports.allocate(4, 0, "10.9.0.1").host == "192.0.2.3"
    with pytest.raises(NoPortLeftError, match="no port left"):
        ports.allocate(4, 0, "10.1.0.1")  # not by way of another network
    assert {ports.allocate(4, 0).host for _ in range(4)} == {"192.0.2.1", "192.0.2.2"}


def test_no_address_is_told_from_no_port() -> None:
    """Also when what there is for others is out of service or used up."""
    ports = MediaPorts(
        [PortRange("192.0.2.1", 1, 1, peers=(ipaddress.ip_network("10.0.0.0/8"),))], quarantine=0
    )
    for in_service in (True, False):
        ports.set_in_service("192.0.2.1", in_service)
        with pytest.raises(NoAddressError):
            ports.allocate(6, 0)
        with pytest.raises(NoAddressError):
            ports.allocate(4, 0, "198.51.100.1")
    ports.set_in_service("192.0.2.1", True)
    ports.allocate(4, 0, "10.0.0.1")
    with pytest.raises(NoPortLeftError, match="no port left"):
        ports.allocate(4, 0, "10.0.0.1")


def test_sockets_have_their_device_and_their_code_point() -> None:
    made = media_socket(Address("127.0.0.1", 0), SocketOptions(dscp=46), device="lo")
    with made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
        assert made.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
