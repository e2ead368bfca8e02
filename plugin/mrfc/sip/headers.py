"""Header fields that workers hand to the engine as they came, and how to read them."""

from __future__ import annotations

from mrfc.jobs import Headers

IDENTITY = ("P-Asserted-Identity", "Privacy")
REQUEST = ("Supported", "Allow", "Session-Expires", "Min-SE", "RAck", *IDENTITY, "P-Charging-Vector")
"""Of requests; names as RFC 3261 20 spells them, their compact forms are found, too."""

SUBSCRIBE = ("Event", "Expires", "Accept")
"""Of SUBSCRIBE besides."""

RESPONSE = (
    "Supported",
    "Allow",
    "Require",
    "Session-Expires",
    "Min-SE",
    "RSeq",
    "Retry-After",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    *IDENTITY,
)
"""Of responses."""


def values(headers: Headers, name: str) -> list[str]:
    """All values of a field, one per header field of the message."""
    wanted = name.lower()
    return [value for found, value in headers if found == wanted]


def value(headers: Headers, name: str) -> str:
    """The first value of a field, "" without one."""
    return next(iter(values(headers, name)), "")


def tokens(headers: Headers, name: str) -> frozenset[str]:
    """The members of a list of tokens, as Supported and Allow are; as they came."""
    members = (token.strip() for line in values(headers, name) for token in line.split(","))
    return frozenset(filter(None, members))


def delta_seconds(text: str) -> int | None:
    """The number at the head of Retry-After, Session-Expires or Min-SE; None when there is none below 2^31."""
    digits = text.partition(";")[0].partition("(")[0].strip()
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > len(str(2**31)):
        return None
    number = int(digits)
    return number if number < 2**31 else None


def parameter(text: str, name: str) -> str:
    """The value of a parameter of a header field, "" without one."""
    for part in text.split(";")[1:]:
        found, _, given = part.partition("=")
        if found.strip().lower() == name.lower():
            return given.strip()
    return ""
