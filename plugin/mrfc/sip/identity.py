"""Who a participant is: as the network asserts it, or as he says himself, and whether others may know.

RFC 3325 (P-Asserted-Identity, from trusted sources only), RFC 3323 (Privacy), RFC 4575 5.6 (anonymous participants).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from mrfc.jobs import Headers, RequestJob, ResponseJob
from mrfc.sip import headers, uri

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ANONYMOUS = frozenset({"id", "user", "header"})
"""Values of Privacy after which nobody else in the conference learns who somebody is."""
LONGEST_DISPLAY = 128
_INVALID = ".invalid"
_PAIR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Identity:
    """A participant's public identity, a SIP URI, and his display name; `asserted` by a trusted neighbour.

    `anonymous`: he does not want others to know who he is; `operators_know`: operators may all the same.
    """

    uri: str = ""
    display: str = ""
    anonymous: bool = False
    asserted: bool = False
    operators_know: bool = False

    def shown_uri(self, number: int) -> str:
        """What others may see; `number` tells anonymous participants of a conference apart."""
        return f"sip:anonymous-{number}@anonymous.invalid" if self.anonymous else self.uri

    def operators_uri(self, number: int) -> str:
        """What operators may see: in lists, on the page, and what goes to their hooks."""
        return self.uri if self.operators_know else self.shown_uri(number)

    def shown_display(self, number: int) -> str:
        """Likewise of the display name."""
        return f"Anonymous {number}" if self.anonymous else self.display


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and prefixes as networks. Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def is_trusted(source: str, trusted: Iterable[Network]) -> bool:
    """Whether a source address is in one of these networks."""
    try:
        address = ipaddress.ip_address(source.strip("[]"))
    except ValueError:
        return False
    return any(address in network for network in trusted)


@dataclass(frozen=True, slots=True)
class Identities:
    """Tells who sends messages. `trusted`: sources whose assertions count; `operators_know` as in `Identity`."""

    trusted: tuple[Network, ...] = ()
    operators_know: bool = False

    def of(self, job: RequestJob) -> Identity:
        """Who sent a request: the first SIP URI that a trusted source asserts, else From."""
        asserted = _asserted(job.headers) if is_trusted(job.source, self.trusted) else None
        who, display = asserted or (job.from_uri, _plain(job.from_display))
        anonymous = _wants_privacy(job.headers) or _says_nothing(job.from_uri)
        return Identity(who, display, anonymous, asserted is not None, self.operators_know)

    def of_callee(self, job: ResponseJob, called: str) -> Identity:
        """Who answered a call of ours to the URI `called`: that one, even if the call was forwarded on its way."""
        return Identity(called, anonymous=_wants_privacy(job.headers), operators_know=self.operators_know)


def _wants_privacy(fields: Headers) -> bool:
    """Whether a message asks that others do not learn who sends it."""
    values = ";".join(headers.values(fields, "Privacy")).replace(",", ";").split(";")
    return not ANONYMOUS.isdisjoint(value.strip().lower() for value in values)


def _says_nothing(from_uri: str) -> bool:
    """An anonymous From (RFC 3323 4.1.1.3): who sends it does not want to be shown by his asserted identity either."""
    try:
        return uri.host_of(from_uri).endswith(_INVALID)
    except uri.UriError:
        return False


def _asserted(fields: Headers) -> tuple[str, str] | None:
    for value in uri.split_routes(tuple(headers.values(fields, "P-Asserted-Identity"))):
        address = uri.address_of(value)
        try:
            uri.user_of(address)
        except uri.UriError:
            continue  # a tel URI
        return address, _plain(value[: value.find("<")] if "<" in value else "")
    return None


def _plain(display: str) -> str:
    """A display name without quotes (RFC 3261 25.1), fit for a line of a log."""
    text = display.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = _PAIR.sub(r"\1", text[1:-1])
    return "".join(c if c.isprintable() else " " for c in text)[:LONGEST_DISPLAY].strip()
