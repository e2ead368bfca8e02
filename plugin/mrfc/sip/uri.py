"""The few things the focus reads from SIP URIs and name-addr lists (RFC 3261 25.1)."""

from __future__ import annotations

import re

_URI = re.compile(
    r"(sips?):(?:([^@:]+)(?::[^@]*)?@)?(\[[0-9A-Fa-f:.]+\]|[^:;?>\[\]@]+)(?::(\d{1,5}))?([;?][^>]*)?",
    re.IGNORECASE,
)

# Characters of RFC 3986 that a SIP URI may have; headers ("?") have no place on a request line (RFC 3261 19.1.1)
_REQUEST_URI = re.compile(r"sips?:[A-Za-z0-9\-_.!~*'()&=+$,;/%:@\[\]]{1,512}", re.IGNORECASE)


_TRANSPORT = re.compile(r";transport=([^;?]*)", re.IGNORECASE)
TRANSPORTS = frozenset({"udp", "tcp", "tls"})  # what kamailio.cfg listens on
MAX_PORT = 65_535


class UriError(ValueError):
    """Not a SIP URI."""


def user_of(uri: str) -> str:
    """The user part of a SIP URI, "" when it has none. Raises UriError."""
    return _match(uri)[2] or ""


def user_or_nothing(uri: str) -> str:
    """The user part, for people: "" also of what is no SIP URI."""
    found = _URI.fullmatch(uri.strip())
    return "" if found is None else found[2] or ""


def host_of(uri: str) -> str:
    """The host of a SIP URI, lower case, IPv6 in brackets. Raises UriError."""
    return _match(uri)[3].lower()


def request_uri(uri: str) -> str:
    """A SIP URI that can stand on a request line and in a header as it is, and that we can reach. Raises UriError."""
    text = uri.strip()
    found = _match(text)
    if _REQUEST_URI.fullmatch(text) is None:
        raise UriError(f"not a SIP URI to send a request to: {text[:80]!r}")
    transport = _TRANSPORT.search(found[5] or "")
    if found[1].lower() != "sip" or (transport is not None and transport[1].lower() not in TRANSPORTS):
        raise UriError(f"not a URI to be reached by UDP, TCP or TLS: {text[:80]!r}")
    if found[4] is not None and not 0 < int(found[4]) <= MAX_PORT:
        raise UriError(f"not a port: {text[:80]!r}")
    return text


def _match(uri: str) -> re.Match[str]:
    found = _URI.fullmatch(uri.strip())
    if found is None:
        raise UriError(f"not a SIP URI: {uri[:80]!r}")
    return found


def split_routes(values: tuple[str, ...]) -> tuple[str, ...]:
    """Route or Record-Route values as one name-addr each, in order; commas inside <> and quotes separate nothing."""
    routes: list[str] = []
    for value in values:
        start, quoted, angle = 0, False, False
        for index, char in enumerate(value):
            if char == '"' and (index == 0 or value[index - 1] != "\\"):
                quoted = not quoted
            elif not quoted and char in "<>":
                angle = char == "<"
            elif char == "," and not quoted and not angle:
                routes.append(value[start:index].strip())
                start = index + 1
        routes.append(value[start:].strip())
    return tuple(route for route in routes if route)


def address_of(name_addr: str) -> str:
    """The URI inside a name-addr or addr-spec."""
    start = name_addr.find("<")
    return (
        name_addr[start + 1 : name_addr.find(">", start)]
        if start >= 0
        else name_addr.split(";", maxsplit=1)[0].strip()
    )


def is_strict_router(route: str) -> bool:
    """True when a route has no lr parameter (RFC 3261 16.4: a strict router of RFC 2543)."""
    return not re.search(r";lr(?:[;=?>]|$)", address_of(route), re.IGNORECASE)
