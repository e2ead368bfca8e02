"""The URI list in a creating INVITE (RFC 5366): body parts by MIME, lists by RFC 4826 with the attributes of RFC 5364.

A list that is read is flat: hierarchy, references to other lists and display names say nothing that a call needs.
Invitees learn nothing of each other, so copyControl and anonymize are satisfied without being looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from xml.parsers import expat

from mrfc.sip import bodies
from mrfc.sip.capabilities import MIXED, RECIPIENT_LIST, RESOURCE_LISTS, SDP
from mrfc.sip.refusal import Cause, Refusal

NAMESPACE = "urn:ietf:params:xml:ns:resource-lists"
DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Parts:
    """What an INVITE carries: its session description ("" without one) and the URIs of its lists, as they came."""

    sdp: str
    uris: tuple[str, ...]


def read_parts(content_type: str, body: str, limit: int) -> Parts:
    """Take the body of an INVITE with a list apart; a list may have `limit` entries. Raises Refusal."""
    message = bodies.read(content_type, body, Cause.BAD_LIST)
    if message.get_content_type() != MIXED or not message.is_multipart():
        raise Refusal(Cause.UNSUPPORTED_PART if message.get_content_type() != MIXED else Cause.BAD_LIST)
    parts = message.get_payload()
    descriptions: list[str] = []
    uris: list[str] = []
    for part in parts:
        if not isinstance(part, Message):
            raise Refusal(Cause.BAD_LIST, "a body part cannot be read")
        _read_part(part, descriptions, uris, limit)
    if len(descriptions) > 1:
        raise Refusal(Cause.BAD_LIST, "more than one session description")
    return Parts(descriptions[0] if descriptions else "", tuple(dict.fromkeys(uris)))


def _read_part(part: Message, descriptions: list[str], uris: list[str], limit: int) -> None:
    kind, disposition = part.get_content_type(), part.get_content_disposition()
    if kind == SDP and disposition in (None, "session"):
        descriptions.append(bodies.text_of(part, Cause.BAD_LIST))
    elif kind == RESOURCE_LISTS and disposition == RECIPIENT_LIST.removesuffix("-invite"):
        uris += read_list(bodies.text_of(part, Cause.BAD_LIST), limit)
        if len(uris) > limit:
            raise Refusal(Cause.BAD_LIST, f"more than {limit} entries")
    elif bodies.must_be_understood(part):
        raise Refusal(Cause.UNSUPPORTED_PART, f"{kind} as {disposition or 'render'}")


def read_list(document: str, limit: int) -> list[str]:
    """The URIs of a resource list, in order. Raises Refusal: no resource list, too many entries, a DTD."""
    reader = _ListReader(limit)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise Refusal(Cause.BAD_LIST, f"the URI list is not XML: {error}") from error
    return reader.uris


class _ListReader:
    """What the XML parser tells."""

    def __init__(self, limit: int) -> None:
        self.uris: list[str] = []
        self._limit = limit
        self._depth = 0

    def doctype(self, name: str, system: str | None, public: str | None, internal: int) -> None:
        """Entities and files have no place in a list from a stranger."""
        raise Refusal(Cause.BAD_LIST, "the URI list has a DTD")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self._depth += 1
        if self._depth == 1 and name != f"{NAMESPACE} resource-lists":
            raise Refusal(Cause.BAD_LIST, "the root element is not resource-lists")
        if self._depth > DEEPEST:
            raise Refusal(Cause.BAD_LIST, "the lists are too deep")
        if name == f"{NAMESPACE} entry":
            if len(self.uris) >= self._limit:
                raise Refusal(Cause.BAD_LIST, f"more than {self._limit} entries")
            if "uri" not in attributes:
                raise Refusal(Cause.BAD_LIST, "an entry has no uri")
            self.uris.append(attributes["uri"])

    def end(self, name: str) -> None:
        """An element ends."""
        self._depth -= 1


def unique(invitees: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The first URI of each identity, from pairs of identity and URI (RFC 5363 4.1)."""
    found: dict[str, str] = {}
    for identity, uri in invitees:
        found.setdefault(identity, uri)
    return tuple(found.values())
