"""TCP ports of the media addresses. The kernel could pick one, but takes longer the more it has given."""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple

IpVersion = Literal[4, 6]


class Address(NamedTuple):
    """An IP address literal without brackets, in the shortest spelling, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=4096)  # each address is looked at several times, and some come over and over
def literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IP address literal. Raises ValueError."""
    return ipaddress.ip_address(host)


def make_address(host: str, port: int) -> Address:
    """Address in the one spelling that can be compared. Raises ValueError when `host` is no IP literal or
    the port is out of range."""
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is no port number")
    found = literal(host)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return Address(found.compressed, port)


class NoPortLeftError(Exception):
    """Every port of the wanted IP version is in use or in quarantine."""


class NoAddressError(NoPortLeftError):
    """No address is of the wanted IP version and for this peer, whatever its state."""


class OutOfServiceError(NoPortLeftError):
    """No address for this peer is in service."""


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports `first`..`last`, both included, of one local address.

    `realm`: name of the group that the address belongs to. `peers`: networks whose peers get it; none for any peer.
    """

    host: str
    first: int
    last: int
    realm: str = "default"
    peers: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last <= 65535:
            raise ValueError(f"ports {self.first} to {self.last} are no range")


class PortAllocator:
    """Gives and takes back the ports of one range, each in constant time.

    A port that comes back rests for `quarantine` seconds, so that a late peer of the old connection does not
    meet the new one; after that the port that has rested longest is given first. The caller passes the time
    (monotonic seconds).
    """

    __slots__ = ("_fresh", "_in_use", "_quarantine", "_range", "_resting", "in_service")

    def __init__(self, ports: PortRange, quarantine: float) -> None:
        self._range = ports
        self._quarantine = quarantine
        self._fresh = ports.first
        self._in_use: set[int] = set()
        self._resting: deque[tuple[float, int]] = deque()
        self.in_service = True

    @property
    def host(self) -> str:
        """Address that the ports belong to."""
        return self._range.host

    @property
    def realm(self) -> str:
        """Name of the group that the address belongs to."""
        return self._range.realm

    def fits(self, peer: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
        """How closely the range is meant for a peer: length of the prefix that matches, -1 for none."""
        if not self._range.peers:
            return 0
        return max((network.prefixlen for network in self._range.peers if peer in network), default=-1)

    @property
    def in_use(self) -> int:
        """Number of ports given out now."""
        return len(self._in_use)

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
        self._choosy = False  # whether any range is for some peers only
        for ports in ranges:
            host = make_address(ports.host, 0).host
            if host in self._by_host:
                raise ValueError(f"media address {host} is given twice")
            allocator = PortAllocator(replace(ports, host=host), quarantine)
            self._by_host[host] = allocator
            self._turns[ipaddress.ip_address(host).version].append(allocator)
            self._choosy = self._choosy or bool(ports.peers)

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

    def set_in_service(self, host: str, in_service: bool) -> None:
        """Give out ports of an address from now on, or no longer; those in use stay so."""
        self._by_host[host].in_service = in_service

    def left(self, realm: str) -> int:
        """Number of ports of a realm that are not given out, on all its addresses."""
        return sum(each.size - each.in_use for each in self._by_host.values() if each.realm == realm)

    def allocate(self, version: IpVersion, now: float, peer: str | None = None) -> Address:
        """Take a port of some address of this IP version, addresses in turn.

        With a `peer`, of the addresses whose networks fit it best. Raises NoPortLeftError, and when no port that comes
        back would help NoAddressError or OutOfServiceError.
        """
        turns = self._turns[version]
        fitting = self._fitting(turns, peer) if self._choosy and peer is not None else None
        if not (turns if fitting is None else fitting):
            raise NoAddressError(f"no IPv{version} media address for this peer")
        served = False
        for _ in range(len(turns)):
            allocator = turns[0]
            turns.rotate(-1)
            if not allocator.in_service or (fitting is not None and allocator not in fitting):
                continue
            served = True
            if allocator.available(now):
                return Address(allocator.host, allocator.allocate(now))
        if not served:
            raise OutOfServiceError(f"no IPv{version} media address for this peer is in service")
        raise NoPortLeftError(f"no port left on any IPv{version} media address")

    @staticmethod
    def _fitting(turns: Iterable[PortAllocator], peer: str) -> list[PortAllocator]:
        address = literal(peer)
        ranked = [(allocator.fits(address), allocator) for allocator in turns]
        best = max((rank for rank, _ in ranked), default=-1)
        return [allocator for rank, allocator in ranked if rank == best >= 0]

    def release(self, address: Address, now: float) -> None:
        """Give a port back. Raises ValueError when it was not given out."""
        allocator = self._by_host.get(address.host)
        if allocator is None:
            raise ValueError(f"{address.host} is no media address")
        allocator.release(address.port, now)
