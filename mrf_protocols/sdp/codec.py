"""Text of a session description to values and back (RFC 8866 5, 9).

Taken although wrong: LF for CRLF, empty lines at the end, fields in another order than RFC 8866's, "s="
or "a=x:" with nothing behind, blanks at the end of a structured line. Not taken: an unknown type letter,
a line without one, a missing or repeated v=, o=, s=, a missing t=, NUL or a bare CR anywhere, more than
the limits below. Well-formed text with CRLF comes back octet for octet, save leading zeros of numbers; the
order of fields is kept where it is not the standard's, except that r= and z= move next to their t=.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from mrf_protocols.sdp import grammar
from mrf_protocols.sdp.errors import SdpError
from mrf_protocols.sdp.values import (
    Attribute,
    Bandwidth,
    Connection,
    MediaDescription,
    Origin,
    SessionDescription,
    Timing,
)

MAX_SIZE = 65_536
"""Octets (or characters) of a description."""
MAX_MEDIA = 64
"""m-lines of a description. Also bounds what an answer repeats."""
MAX_PORT = 0xFFFF

_RULES = {
    "v": grammar.number,
    "o": grammar.origin,
    "s": grammar.text,
    "i": grammar.text,
    "u": grammar.byte_string,
    "e": grammar.byte_string,
    "p": grammar.byte_string,
    "c": grammar.connection,
    "b": grammar.bandwidth,
    "t": grammar.timing,
    "r": grammar.byte_string,
    "z": grammar.byte_string,
    "k": grammar.byte_string,
    "a": grammar.attribute,
    "m": grammar.media,
}
_STRUCTURED = frozenset("vocbtm")
_SESSION_LETTERS = frozenset("vosiuepcbtrzka")
_MEDIA_LETTERS = frozenset("micbka")
_ONCE_IN_SESSION = frozenset("vosiuck")
_ONCE_IN_MEDIA = frozenset("ik")

_Value = TypeVar("_Value")


class _Line(NamedTuple):
    number: int
    letter: str
    match: re.Match[str]

    @property
    def value(self) -> str:
        return self.match.group()


def parse(data: str | bytes) -> SessionDescription:
    """The description in `data`. Raises SdpError and nothing else.

    Octets that are not UTF-8 are kept (as lone surrogates) and `encode` gives them back.
    """
    if len(data) > MAX_SIZE:
        raise SdpError("description too large")
    source = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    session: list[_Line] = []
    sections: list[list[_Line]] = []
    current = session
    for line in _lines(source):
        if line.letter == "m":
            if len(sections) == MAX_MEDIA:
                raise SdpError("too many m-lines", line.number)
            current = []
            sections.append(current)
        current.append(line)
    media = tuple(_media(section) for section in sections)
    return _session(session, media)


def serialize(session: SessionDescription) -> str:
    """The text of a description, with CRLF. Raises SdpError when a value does not fit its place, such as
    a line end inside a name: nothing that a caller puts into a value can become a line of its own."""
    blocks = _in_order(_session_blocks(session), session.order)
    for media in session.media:
        blocks += _in_order(_media_blocks(media), media.order)
    return "".join(_checked(line) for block in blocks for line in block)


def encode(session: SessionDescription) -> bytes:
    """The octets of a description as they go into a SIP body. Raises SdpError as `serialize` does."""
    try:
        return serialize(session).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise SdpError("text that has no UTF-8 form") from None


def _lines(source: str) -> Iterator[_Line]:
    texts = source.split("\n")
    while texts and texts[-1] in ("", "\r"):
        texts.pop()
    for number, raw in enumerate(texts, 1):
        content = raw[:-1] if raw.endswith("\r") else raw
        letter, value = content[:1], content[2:]
        rule = _RULES.get(letter)
        if rule is None or content[1:2] != "=":
            raise SdpError("not a line of a session description", number)
        match = rule.fullmatch(value.rstrip(" \t") if letter in _STRUCTURED else value)
        if match is None:
            raise SdpError(f"malformed {letter}= line", number)
        yield _Line(number, letter, match)


class _Fields:
    """The lines of one section by type letter."""

    def __init__(self, lines: list[_Line], allowed: frozenset[str], once: frozenset[str]) -> None:
        self._found: dict[str, list[_Line]] = {}
        for line in lines:
            if line.letter not in allowed:
                raise SdpError(f"{line.letter}= line out of place", line.number)
            same = self._found.setdefault(line.letter, [])
            if same and line.letter in once:
                raise SdpError(f"second {line.letter}= line", line.number)
            same.append(line)

    def all(self, letter: str, make: Callable[[_Line], _Value]) -> tuple[_Value, ...]:
        return tuple(make(line) for line in self._found.get(letter, ()))

    def one(self, letter: str, make: Callable[[_Line], _Value]) -> _Value | None:
        return next(iter(self.all(letter, make)), None)

    def text(self, letter: str) -> str | None:
        return self.one(letter, lambda line: line.value)

    def texts(self, letter: str) -> tuple[str, ...]:
        return self.all(letter, lambda line: line.value)


def _session(lines: list[_Line], media: tuple[MediaDescription, ...]) -> SessionDescription:
    if [line.letter for line in lines[:3]] != ["v", "o", "s"]:
        raise SdpError("does not begin with v=, o=, s=")
    fields = _Fields(lines, _SESSION_LETTERS, _ONCE_IN_SESSION)
    if int(lines[0].value) != 0:
        raise SdpError("protocol version is not 0", 1)
    timings = _timings(lines)
    if not timings:
        raise SdpError("no t= line")
    return SessionDescription(
        origin=_origin(lines[1]),
        name=lines[2].value,
        information=fields.text("i"),
        uri=fields.text("u"),
        emails=fields.texts("e"),
        phones=fields.texts("p"),
        connection=fields.one("c", _connection),
        bandwidths=fields.all("b", _bandwidth),
        timings=timings,
        key=fields.text("k"),
        attributes=fields.all("a", _attribute),
        media=media,
        order=_received_order(lines),
    )


def _media(lines: list[_Line]) -> MediaDescription:
    fields = _Fields(lines, _MEDIA_LETTERS, _ONCE_IN_MEDIA)
    match = lines[0].match
    port = int(match["port"])
    if port > MAX_PORT:
        raise SdpError("port out of range", lines[0].number)
    return MediaDescription(
        media=match["media"],
        port=port,
        proto=match["proto"],
        formats=tuple(match["formats"].split()),
        port_count=int(match["count"]) if match["count"] else None,
        information=fields.text("i"),
        connections=fields.all("c", _connection),
        bandwidths=fields.all("b", _bandwidth),
        key=fields.text("k"),
        attributes=fields.all("a", _attribute),
        order=_received_order(lines),
    )


def _origin(line: _Line) -> Origin:
    found = line.match
    return Origin(
        username=found["username"],
        session_id=int(found["session_id"]),
        version=int(found["version"]),
        address=found["address"],
        net_type=found["net_type"],
        addr_type=found["addr_type"],
    )


def _connection(line: _Line) -> Connection:
    return Connection(line.match["address"], line.match["net_type"], line.match["addr_type"])


def _bandwidth(line: _Line) -> Bandwidth:
    return Bandwidth(line.match["kind"], int(line.match["value"]))


def _attribute(line: _Line) -> Attribute:
    return Attribute(line.match["name"], line.match["value"])


def _timings(lines: list[_Line]) -> tuple[Timing, ...]:
    """t= lines, each with the r= and z= lines that follow it."""
    groups: list[tuple[_Line, list[str], list[str]]] = []
    for line in lines:
        if line.letter == "t":
            groups.append((line, [], []))
        elif line.letter in "rz":
            if not groups:
                raise SdpError(f"{line.letter}= line before any t= line", line.number)
            _, repeats, zones = groups[-1]
            (repeats if line.letter == "r" else zones).append(line.value)
    return tuple(
        Timing(int(line.match["start"]), int(line.match["stop"]), tuple(repeats), tuple(zones))
        for line, repeats, zones in groups
    )


# Writing. A block is what must stay together: one line, or a t= line with its r= and z= lines.

_Block = list[tuple[str, str]]


def _session_blocks(session: SessionDescription) -> list[_Block]:
    o = session.origin
    blocks: list[_Block] = [
        [("v", "0")],
        [("o", f"{o.username} {o.session_id} {o.version} {o.net_type} {o.addr_type} {o.address}")],
        [("s", session.name)],
        *_texts("i", session.information),
        *_texts("u", session.uri),
        *_texts("e", *session.emails),
        *_texts("p", *session.phones),
    ]
    if session.connection is not None:
        blocks += _connections(session.connection)
    blocks += _bandwidths(session.bandwidths)
    for timing in session.timings:
        block: _Block = [("t", f"{timing.start} {timing.stop}")]
        block += [("r", repeat) for repeat in timing.repeats]
        block += [("z", zone) for zone in timing.zones]
        blocks.append(block)
    blocks += _texts("k", session.key)
    blocks += _attributes(session.attributes)
    return blocks


def _media_blocks(media: MediaDescription) -> list[_Block]:
    count = "" if media.port_count is None else f"/{media.port_count}"
    head = f"{media.media} {media.port}{count} {media.proto} {' '.join(media.formats)}"
    return [
        [("m", head)],
        *_texts("i", media.information),
        *_connections(*media.connections),
        *_bandwidths(media.bandwidths),
        *_texts("k", media.key),
        *_attributes(media.attributes),
    ]


def _texts(letter: str, *values: str | None) -> list[_Block]:
    return [[(letter, value)] for value in values if value is not None]


def _connections(*values: Connection) -> list[_Block]:
    return _texts("c", *(f"{v.net_type} {v.addr_type} {v.address}" for v in values))


def _bandwidths(values: tuple[Bandwidth, ...]) -> list[_Block]:
    return _texts("b", *(f"{b.kind}:{b.value}" for b in values))


def _attributes(values: tuple[Attribute, ...]) -> list[_Block]:
    return _texts("a", *(a.name if a.value is None else f"{a.name}:{a.value}" for a in values))


def _received_order(lines: list[_Line]) -> str:
    """The type letters as received when RFC 8866's order is another, else ""."""
    standard = "vosiuepcbtka" if lines[0].letter == "v" else "micbka"
    letters = "".join(line.letter for line in lines if line.letter not in "rz")
    places = [standard.index(letter) for letter in letters]
    return "" if places == sorted(places) else letters


def _in_order(blocks: list[_Block], order: str) -> list[_Block]:
    """The blocks in the order received, provided that it still names exactly these blocks."""
    letters = "".join(block[0][0] for block in blocks)
    if not order or sorted(order) != sorted(letters):
        return blocks
    waiting: dict[str, Iterator[_Block]] = {
        letter: iter([block for block in blocks if block[0][0] == letter]) for letter in set(letters)
    }
    return [next(waiting[letter]) for letter in order]


def _checked(line: tuple[str, str]) -> str:
    letter, value = line
    match = _RULES[letter].fullmatch(value)
    if match is None or (letter == "m" and int(match["port"]) > MAX_PORT):
        raise SdpError(f"value does not fit a {letter}= line")
    return f"{letter}={value}\r\n"
