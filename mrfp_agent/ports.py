"""TCP ports of the media addresses. The kernel could pick one, but takes longer the more it has given."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

IpVersion = Literal[4, 6]


class Address(NamedTuple):
    """An IP address literal without brackets, in the shortest spelling, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def make_address(host: str, port: int) -> Address:
    """Address in the one spelling that can be compared. Raises ValueError when `host` is no IP literal or
    the port is out of range."""
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is no port number")
    literal = ipaddress.ip_address(host)
    if isinstance(literal, ipaddress.IPv6Address) and literal.ipv4_mapped is not None:
        literal = literal.ipv4_mapped
    return Address(literal.compressed, port)


class NoPortLeftError(Exception):
    """Every port of the wanted IP version is in use or in quarantine."""


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports `first`..`last`, both included, of one local address."""

    host: str
    first: int
    last: int

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last <= 65535:
            raise ValueError(f"ports {self.first} to {self.last} are no range")


class PortAllocator:
    """Gives and takes back the ports of one range, each in constant time.

    A port that comes back rests for `quarantine` seconds, so that a late peer of the old connection does not
    meet the new one; after that the port that has rested longest is given first. The caller passes the time
    (monotonic seconds).
    """

    __slots__ = ("_fresh", "_in_use", "_quarantine", "_range", "_resting")

    def __init__(self, ports: PortRange, quarantine: float) -> None:
        self._range = ports
        self._quarantine = quarantine
        self._fresh = ports.first
        self._in_use: set[int] = set()
        self._resting: deque[tuple[float, int]] = deque()

    @property
    def host(self) -> str:
        """Address that the ports belong to."""
        return self._range.host

    @property
    def in_use(self) -> int:
        """Number of ports given out now."""
        return len(self._in_use)

    @property
    def resting(self) -> int:
        """Number of ports given back, in quarantine or past it."""
        return len(self._resting)

    @property
    def size(self) -> int:
        """Number of ports of the range."""
        return self._range.last - self._range.first + 1

    def available(self, now: float) -> bool:
        """True when `allocate` would find a port."""
        return self._fresh <= self._range.last or bool(self._resting and self._resting[0][0] <= now)

    def allocate(self, now: float) -> int:
        """Take a port. Raises NoPortLeftError."""
        if self._fresh <= self._range.last:
            port = self._fresh
            self._fresh += 1
        elif self._resting and self._resting[0][0] <= now:
            _, port = self._resting.popleft()
        else:
            raise NoPortLeftError(f"all {self.size} ports of {self.host} are in use or resting")
        self._in_use.add(port)
        return port

    def release(self, port: int, now: float) -> None:
        """Give a port back. Raises ValueError when it was not given out: a double release would let two
        terminations share a port."""
        if port not in self._in_use:
            raise ValueError(f"port {port} of {self.host} is not in use")
        self._in_use.remove(port)
        self._resting.append((now + self._quarantine, port))


class MediaPorts:
    """The ports of all local media addresses; spreads the terminations over the addresses of a version."""

    def __init__(self, ranges: Iterable[PortRange], quarantine: float) -> None:
        self._by_host: dict[str, PortAllocator] = {}
        self._turns: dict[int, deque[PortAllocator]] = {4: deque(), 6: deque()}
        for ports in ranges:
            host = make_address(ports.host, 0).host
            if host in self._by_host:
                raise ValueError(f"media address {host} is given twice")
            allocator = PortAllocator(PortRange(host, ports.first, ports.last), quarantine)
            self._by_host[host] = allocator
            self._turns[ipaddress.ip_address(host).version].append(allocator)

    @property
    def hosts(self) -> Sequence[str]:
        """The local addresses."""
        return tuple(self._by_host)

    @property
    def in_use(self) -> int:
        """Number of ports given out now, all addresses together."""
        return sum(allocator.in_use for allocator in self._by_host.values())

    @property
    def size(self) -> int:
        """Number of ports altogether."""
        return sum(allocator.size for allocator in self._by_host.values())

    def versions(self) -> tuple[IpVersion, ...]:
        """IP versions that have an address, IPv4 first."""
        found: list[IpVersion] = []
        if self._turns[4]:
            found.append(4)
        if self._turns[6]:
            found.append(6)
        return tuple(found)

    def allocate(self, version: IpVersion, now: float) -> Address:
        """Take a port of some address of this IP version, addresses in turn. Raises NoPortLeftError."""
        turns = self._turns[version]
        for _ in range(len(turns)):
            allocator = turns[0]
            turns.rotate(-1)
            if allocator.available(now):
                return Address(allocator.host, allocator.allocate(now))
        raise NoPortLeftError(f"no port left on any IPv{version} media address")

    def release(self, address: Address, now: float) -> None:
        """Give a port back. Raises ValueError when it was not given out."""
        allocator = self._by_host.get(address.host)
        if allocator is None:
            raise ValueError(f"{address.host} is no media address")
        allocator.release(address.port, now)
