"""A session description as values (RFC 8866 5). Every m-line and attribute is kept, in order, known or not.

Field order is fixed by RFC 8866 9, yet devices send t= before c= or b= before t=. `order` remembers the type
letters as they were received where they differ, so that `serialize` gives back what `parse` took.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

_SECRET_ATTRIBUTES = frozenset({"crypto", "key-mgmt"})


class Address(NamedTuple):
    """A transport address: IPv4 or IPv6 literal without brackets, and a port."""

    host: str
    port: int


def address_type(host: str) -> str:
    """The addrtype of a host: "IP6" for an IPv6 literal, else "IP4" (also for names)."""
    return "IP6" if ":" in host else "IP4"


def ip_literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address when `host` is an IP literal with no scope, else None."""
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """o= (RFC 8866 5.2): who made this description, and which version of it this is."""

    username: str
    session_id: int
    version: int
    address: str
    net_type: str = "IN"
    addr_type: str = "IP4"

    @classmethod
    def of(cls, host: str, session_id: int, username: str = "-", version: int = 0) -> Origin:
        """An origin with the addrtype that fits the host."""
        return cls(username, session_id, version, host, "IN", address_type(host))


@dataclasses.dataclass(frozen=True, slots=True)
class Connection:
    """c= (RFC 8866 5.7). `address` is the text of the line, with /ttl and /count of multicast if present."""

    address: str
    net_type: str = "IN"
    addr_type: str = "IP4"

    @classmethod
    def of(cls, host: str) -> Connection:
        """A connection field with the addrtype that fits the host."""
        return cls(host, "IN", address_type(host))


@dataclasses.dataclass(frozen=True, slots=True)
class Bandwidth:
    """b= (RFC 8866 5.8): kbit/s for AS and CT, bit/s for TIAS."""

    kind: str
    value: int


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """t= with its r= and z= lines (RFC 8866 5.9 to 5.11). Seconds since 1900, 0 means unbounded."""

    start: int = 0
    stop: int = 0
    repeats: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Attribute:
    """a= (RFC 8866 5.13). `value` is None for a property ("a=recvonly")."""

    name: str
    value: str | None = None

    def __repr__(self) -> str:
        shown = "..." if self.name in _SECRET_ATTRIBUTES else repr(self.value)
        return f"Attribute({self.name!r}, {shown})"


@dataclasses.dataclass(frozen=True, slots=True)
class MediaDescription:
    """m= and what belongs to it (RFC 8866 5.14). Port 0: refused or disabled."""

    media: str
    port: int
    proto: str
    formats: tuple[str, ...]
    port_count: int | None = None
    information: str | None = None
    connections: tuple[Connection, ...] = ()
    bandwidths: tuple[Bandwidth, ...] = ()
    key: str | None = dataclasses.field(default=None, repr=False)
    attributes: tuple[Attribute, ...] = ()
    order: str = dataclasses.field(default="", compare=False)

    def values_of(self, name: str) -> Iterator[str]:
        """The values of all attributes of that name, in order ("" for a property)."""
        return (a.value or "" for a in self.attributes if a.name == name)

    def value_of(self, name: str) -> str | None:
        """The value of the first attribute of that name, None without one."""
        return next(self.values_of(name), None)

    @property
    def label(self) -> str | None:
        """a=label (RFC 4574)."""
        return self.value_of("label")


@dataclasses.dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole session description, version 0."""

    origin: Origin
    name: str = "-"
    information: str | None = None
    uri: str | None = None
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    connection: Connection | None = None
    bandwidths: tuple[Bandwidth, ...] = ()
    timings: tuple[Timing, ...] = (Timing(),)
    key: str | None = dataclasses.field(default=None, repr=False)
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()
    order: str = dataclasses.field(default="", compare=False)

    def values_of(self, name: str) -> Iterator[str]:
        """The values of all session-level attributes of that name, in order ("" for a property)."""
        return (a.value or "" for a in self.attributes if a.name == name)

    def value_of(self, name: str) -> str | None:
        """The value of the first session-level attribute of that name, None without one."""
        return next(self.values_of(name), None)
