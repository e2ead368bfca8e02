"""Media realms: groups of local addresses that users of one network reach, and whether they can be used now.

Values and a machine; `media_watch` looks at the host and tells the machine what it sees.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mrfp_agent.ports import PortRange

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class LocalAddress(NamedTuple):
    """An address of a realm in its shortest spelling, and the length of its network's prefix."""

    host: str
    prefix: int


@dataclass(frozen=True, slots=True)
class Realm:
    """One group of local addresses.

    `ports`: first and last on each address. `interface`: where the addresses are ("" for wherever they are).
    `vrf`: device that sockets are bound to. `namespace`: network namespace of the sockets, by its name in
    /run/netns ("" for the process's own). `dscp`: None for the common one. `peers`: networks of the users that it
    serves (none: any). `add_addresses`: put the addresses on the interface while the MRFP runs. `reach`: addresses
    that there must be a route to.
    """

    name: str
    addresses: tuple[LocalAddress, ...]
    ports: tuple[int, int]
    interface: str = ""
    vrf: str = ""
    namespace: str = ""
    dscp: int | None = None
    peers: tuple[Network, ...] = ()
    add_addresses: bool = False
    reach: tuple[str, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses without their prefix lengths."""
        return tuple(address.host for address in self.addresses)

    def ranges(self) -> list[PortRange]:
        """The ports of each address."""
        return [PortRange(host, *self.ports, realm=self.name, peers=self.peers) for host in self.hosts]


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """An address that an interface has; `usable` is False while, or since, a duplicate is looked for."""

    interface: str
    usable: bool = True


@dataclass(frozen=True, slots=True)
class NetworkSeen:
    """What one network namespace has: addresses, and links with True for those that carry packets."""

    addresses: Mapping[str, AddressSeen]
    links: Mapping[str, bool]


def trouble(realm: Realm, host: str, seen: NetworkSeen | None) -> str:
    """Why an address of a realm cannot be used, "" when it can. `seen` is None without the namespace."""
    if seen is None:
        return f"network namespace {realm.namespace} is not there"
    loopback = ipaddress.ip_address(host).is_loopback
    address = seen.addresses.get(host)
    if address is None and loopback and not realm.interface:
        address = AddressSeen("lo")  # the whole block is there with its first address
    for link in filter(None, (realm.interface or (address.interface if address else ""), realm.vrf)):
        if link not in seen.links:
            return f"interface {link} is not there"
        if not seen.links[link]:
            return f"interface {link} is down"
    if address is None:
        return f"no interface of this host has {host}"
    if realm.interface and address.interface != realm.interface:
        return f"{host} is on interface {address.interface}, not on {realm.interface}"
    if not address.usable:
        return f"{host} is not known to be free of duplicates"
    return ""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """An address went out of service (`reason` says why), or came back (no reason)."""

    realm: str
    host: str
    reason: str

    @property
    def in_service(self) -> bool:
        """Whether the address can be used."""
        return not self.reason


class RealmStates:
    """Which addresses are in service. Out at once; back when nothing was wrong for `restore_after` seconds.

    The caller passes the time (monotonic seconds) and calls `tick` at `deadline`.
    """

    def __init__(self, realms: Sequence[Realm], restore_after: float) -> None:
        self._realms = tuple(realms)
        self._restore_after = restore_after
        self._reasons: dict[str, str] | None = None
        self._returning: dict[str, float] = {}

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to say at the earliest."""
        return min(self._returning.values(), default=None)

    def reason(self, host: str) -> str:
        """Why an address is out of service, "" when it is in service."""
        return "not looked at yet" if self._reasons is None else self._reasons[host]

    def in_service(self, realm: Realm) -> bool:
        """Whether any address of the realm is in service."""
        return any(not self.reason(host) for host in realm.hosts)

    def any_in_service(self) -> bool:
        """Whether anything at all is in service."""
        return any(self.in_service(realm) for realm in self._realms)

    def observe(self, troubles: Mapping[str, str], now: float) -> list[ServiceState]:
        """What is wrong with each address now ("" for nothing); gives the changes of state."""
        first = self._reasons is None
        reasons = self._reasons if self._reasons is not None else {}
        self._reasons = reasons
        changes: list[ServiceState] = []
        for realm in self._realms:
            for host in realm.hosts:
                wrong, before = troubles[host], reasons.get(host, "")
                if wrong:
                    self._returning.pop(host, None)
                elif before and not first:
                    self._returning.setdefault(host, now + self._restore_after)
                    continue
                if bool(wrong) != bool(before) or first:
                    changes.append(ServiceState(realm.name, host, wrong))
                reasons[host] = wrong
        return changes + self.tick(now)

    def tick(self, now: float) -> list[ServiceState]:
        """The addresses that have been well for long enough."""
        if self._reasons is None:
            return []
        changes: list[ServiceState] = []
        for realm in self._realms:
            for host in realm.hosts:
                if self._returning.get(host, now + 1) <= now:
                    del self._returning[host]
                    self._reasons[host] = ""
                    changes.append(ServiceState(realm.name, host, ""))
        return changes
