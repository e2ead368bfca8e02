"""By what transport and address family a message goes, and where its receiver reaches us in turn (RFC 3261 8.1.1.8)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mrfc.config import Sip

_TRANSPORT = re.compile(r";transport=([a-z]+)", re.IGNORECASE)
_IPV6 = re.compile(r"sips?:(?:[^@>]*@)?\[", re.IGNORECASE)
_CONTACTS = frozenset({"udp6", "tcp", "tcp6", "tls", "tls6"})


@dataclass(frozen=True, slots=True)
class Path:
    """A transport ("udp", "tcp", "tls") and whether it runs on IPv6."""

    transport: str = "udp"
    ipv6: bool = False

    @property
    def name(self) -> str:
        """Its key in the table sip.contacts."""
        return self.transport + "6" * self.ipv6


def of_uri(uri: str) -> Path:
    """How a request to this URI goes, as far as the URI tells."""
    found = _TRANSPORT.search(uri)
    transport = found[1].lower() if found else "udp"
    if uri.lower().startswith("sips:"):
        transport = "tls"
    return Path(transport, _IPV6.match(uri) is not None)


def contact(sip: Sip, path: Path) -> str:
    """Host, port and transport parameter by which we are reached on a path."""
    own = getattr(sip.contacts, path.name) if path.name in _CONTACTS else ""
    return (own or sip.contact) + (f";transport={path.transport}" if path.transport != "udp" else "")


def readdressed(headers: tuple[tuple[str, str], ...], sip: Sip, path: Path) -> tuple[tuple[str, str], ...]:
    """The header fields of a message of ours, with the Contact for its path."""
    usual, ours = f"@{sip.contact}>", f"@{contact(sip, path)}>"
    if usual == ours:
        return headers
    return tuple(
        (name, value.replace(usual, ours, 1) if name == "Contact" else value) for name, value in headers
    )


def own_addresses(sip: Sip) -> frozenset[str]:
    """Host and port of every Contact of ours, in lower case."""
    return frozenset(
        each.lower() for each in (sip.contact, *(getattr(sip.contacts, name) for name in _CONTACTS)) if each
    )
