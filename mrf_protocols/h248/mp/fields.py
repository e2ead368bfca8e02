"""Reading and writing the fields of Mp commands: numbers, keys, words, addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote, unquote

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.mp.elements import MAX_PSK, MAX_USER_TEXT, NAME, PACKAGES, URI, Element
from mrf_protocols.h248.mp.procedures import Address, AddressFamily, Transport, UserNames
from mrf_protocols.h248.values import CHOOSE, Property, Relation

_Word = TypeVar("_Word", bound=StrEnum)
_QUOTABLE = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) not in '"%')
_HEX = re.compile(rf"(?:[0-9A-Fa-f]{{2}}){{1,{MAX_PSK}}}")


def invalid(element: Element) -> H248Error:
    """A value that the element does not take. The value itself is not repeated: it may be a key."""
    return H248Error(ErrorCode.UNKNOWN_VALUE, f"Unsupported or unknown value of {element.identifier}")


def missing(element: Element) -> H248Error:
    """Required information that is not there."""
    return H248Error(
        ErrorCode.REQUIRED_INFORMATION_MISSING, f"Required information missing: {element.identifier}"
    )


def properties(items: Iterable[Property], allowed: Iterable[Element]) -> dict[str, Property]:
    """Properties by identifier. Raises 440, 445 or 456 for what does not belong."""
    identifiers = {element.identifier.lower(): element.identifier for element in allowed}
    found: dict[str, Property] = {}
    for item in items:
        identifier = identifiers.get(item.name.lower())
        if identifier is None:
            raise unknown(item.name, ErrorCode.UNKNOWN_PROPERTY)
        if identifier in found:
            raise H248Error(ErrorCode.PROPERTY_TWICE)
        found[identifier] = item
    return found


def unknown(name: str, code: ErrorCode) -> H248Error:
    """The package is unknown (440), or it is known but not this item of it (`code`)."""
    package = name.partition("/")[0].lower()
    return H248Error(code if package in PACKAGES else ErrorCode.UNKNOWN_PACKAGE)


def single(item: Property, element: Element) -> str:
    """The only value of a property."""
    if item.relation is not Relation.EQUAL:
        raise invalid(element)
    return item.value


def listed(item: Property, element: Element) -> tuple[str, ...]:
    """The values of a sub-list; one alone may stand without brackets."""
    if item.relation not in {Relation.EQUAL, Relation.ALL_OF}:
        raise invalid(element)
    return item.values


def number(text: str, element: Element, limit: int) -> int:
    """A number from 1 to `limit`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= limit):
        raise invalid(element)
    return int(text)


def word(text: str, element: Element, kind: type[_Word]) -> _Word:
    """A word of an enumeration, whatever its case."""
    for known in kind:
        if known.value.lower() == text.lower():
            return known
    raise invalid(element)


def octets(text: str, element: Element) -> bytes:
    """Octets in hexadecimal."""
    if _HEX.fullmatch(text) is None:
        raise invalid(element)
    return bytes.fromhex(text)


def quoted_text(text: str) -> str:
    """Any text as one that a quoted string can hold: the rest becomes %xx."""
    return quote(text, safe=_QUOTABLE)


def plain_text(text: str) -> str:
    """The opposite of `quoted_text`."""
    return unquote(text)


def user_properties(names: UserNames) -> list[Property]:
    """What there is of a user's names."""
    values = ((NAME, names.display_name), (URI, names.uri))
    return [Property(element.identifier, (quoted_text(text),)) for element, text in values if text]


def user_names(found: Mapping[str, Property]) -> UserNames:
    """The opposite of `user_properties`, among other properties by identifier. Raises 449 for what no BFCP
    attribute holds."""
    return UserNames(_user_text(found, NAME), _user_text(found, URI))


def _user_text(found: Mapping[str, Property], element: Element) -> str:
    item = found.get(element.identifier)
    text = "" if item is None else plain_text(single(item, element))
    if len(text.encode()) > MAX_USER_TEXT:
        raise invalid(element)
    return text


def session_text(transport: Transport, family: AddressFamily, address: Address | None) -> str:
    """Content of a Local or Remote descriptor; None asks the MRFP to choose."""
    host, port = (CHOOSE, CHOOSE) if address is None else (address[0], str(address[1]))
    return f"v=0\r\nc=IN {family} {host}\r\nm=application {port} {transport} *"


@lru_cache(maxsize=4096)  # the same few addresses come over and over
def family_of(host: str) -> AddressFamily:
    """The address family of a literal. Raises ValueError for anything else."""
    return AddressFamily.IP6 if ipaddress.ip_address(host).version == 6 else AddressFamily.IP4


def parse_session(text: str) -> tuple[Transport, AddressFamily, Address | None]:
    """Transport, family and address (None: CHOOSE) of a Local or Remote descriptor. Raises 449 or 515."""
    lines = {line[:2]: line[2:].split() for line in text.splitlines() if line[:2] in {"c=", "m="}}
    connection, media = lines.get("c=", []), lines.get("m=", [])
    if len(connection) != 3 or connection[0] != "IN" or len(media) < 3:
        raise H248Error(ErrorCode.UNKNOWN_VALUE, "Session description without c= or m= line")
    try:
        transport = Transport(media[2])
        if media[0] != "application":
            raise ValueError(media[0])
    except ValueError as error:
        raise H248Error(ErrorCode.UNSUPPORTED_MEDIA_TYPE) from error
    host, port = connection[2], media[1]
    try:
        family = AddressFamily(connection[1])
        if CHOOSE in {host, port}:
            return transport, family, None
        if family_of(host) is not family or "%" in host or not 0 < int(port) < 65536:
            raise ValueError(host)
    except ValueError as error:
        raise H248Error(ErrorCode.UNKNOWN_VALUE, "Address that cannot be used") from error
    return transport, family, (host, int(port))
