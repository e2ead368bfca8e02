"""The port allocator: no port twice, none before its rest is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrfp_agent.ports import Address, MediaPorts, NoPortLeftError, PortAllocator, PortRange, make_address


def test_ports_come_from_the_range_and_run_out() -> None:
    ports = PortAllocator(PortRange("192.0.2.1", 40000, 40002), quarantine=60)
    assert sorted(ports.allocate(0) for _ in range(3)) == [40000, 40001, 40002]
    assert ports.in_use == 3
    with pytest.raises(NoPortLeftError):
        ports.allocate(0)


def test_a_port_rests_before_it_is_given_again() -> None:
    ports = PortAllocator(PortRange("192.0.2.1", 40000, 40000), quarantine=60)
    ports.release(ports.allocate(0), now=10)
    assert not ports.available(69.9)
    with pytest.raises(NoPortLeftError):
        ports.allocate(69.9)
    assert ports.allocate(70) == 40000


def test_a_port_is_taken_back_only_once() -> None:
    ports = PortAllocator(PortRange("192.0.2.1", 40000, 40001), quarantine=0)
    port = ports.allocate(0)
    ports.release(port, 0)
    with pytest.raises(ValueError, match="not in use"):
        ports.release(port, 0)


@pytest.mark.parametrize(("first", "last"), [(0, 10), (10, 9), (1, 65536)])
def test_impossible_ranges_are_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="range"):
        PortRange("192.0.2.1", first, last)


Step = tuple[str, float]
STEPS = st.lists(
    st.tuples(st.sampled_from(["allocate", "release"]), st.floats(min_value=0, max_value=40)), max_size=200
)


@given(steps=STEPS, size=st.integers(1, 8), quarantine=st.sampled_from([0.0, 1.0, 60.0]))
def test_whatever_happens_no_port_is_given_twice_or_too_early(
    steps: list[Step], size: int, quarantine: float
) -> None:
    ports = PortAllocator(PortRange("192.0.2.1", 50000, 50000 + size - 1), quarantine)
    now, held, returned = 0.0, [], dict[int, float]()
    for action, pause in steps:
        now += pause
        if action == "allocate":
            usable = [
                port
                for port in range(50000, 50000 + size)
                if port not in held and returned.get(port, -quarantine) + quarantine <= now
            ]
            assert ports.available(now) == bool(usable)
            if usable:
                port = ports.allocate(now)
                assert port in usable
                held.append(port)
        elif held:
            port = held.pop(0)
            ports.release(port, now)
            returned[port] = now
        assert ports.in_use == len(held)


def test_addresses_of_a_version_take_turns() -> None:
    ports = MediaPorts(
        [
            PortRange("192.0.2.1", 40000, 40001),
            PortRange("192.0.2.2", 40000, 40000),
            PortRange("2001:DB8:0::1", 40000, 40000),
        ],
        quarantine=60,
    )
    assert ports.versions() == (4, 6)
    assert [ports.allocate(4, 0).host for _ in range(3)] == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
    with pytest.raises(NoPortLeftError):
        ports.allocate(4, 0)
    address = ports.allocate(6, 0)
    assert address == Address("2001:db8::1", 40000)
    assert str(address) == "[2001:db8::1]:40000"
    assert ports.in_use == ports.size == 4
    ports.release(address, 0)
    assert ports.in_use == 3


def test_a_foreign_address_cannot_be_given_back() -> None:
    ports = MediaPorts([PortRange("192.0.2.1", 40000, 40001)], quarantine=60)
    with pytest.raises(ValueError, match="no media address"):
        ports.release(Address("192.0.2.9", 40000), 0)
    with pytest.raises(ValueError, match="twice"):
        MediaPorts([PortRange("::1", 1, 2), PortRange("0::1", 3, 4)], quarantine=60)


def test_addresses_are_compared_in_one_spelling() -> None:
    assert make_address("2001:0DB8::0:1", 9) == make_address("2001:db8:0:0::1", 9)
    assert make_address("::ffff:192.0.2.1", 9) == make_address("192.0.2.1", 9)
    for host, port in (("localhost", 9), ("192.0.2.1", 65536), ("192.0.2.256", 9)):
        with pytest.raises(ValueError, match=r".+"):
            make_address(host, port)
