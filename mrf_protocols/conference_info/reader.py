"""Conference information documents read: XML from a stranger, bounded, without entities and files of a DTD."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from mrf_protocols.conference_info.values import (
    FLOORS_NAMESPACE,
    NAMESPACE,
    ConferenceInfoError,
    ConferenceState,
    Description,
    DisconnectionMethod,
    Endpoint,
    EndpointStatus,
    Execution,
    FloorControl,
    JoiningMethod,
    Media,
    User,
)

LONGEST = 4_000_000
"""Characters of one document."""
DEEPEST = 32

_Choice = TypeVar("_Choice", bound=enum.Enum)


def name(local: str) -> str:
    """The qualified name of an element of RFC 4575."""
    return f"{{{NAMESPACE}}}{local}"


def read_tree(text: str) -> Element:
    """The root element of a document. Raises ConferenceInfoError."""
    if len(text) > LONGEST:
        raise ConferenceInfoError("the document is too long")
    builder, depth = TreeBuilder(), 0

    def start(qualified: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise ConferenceInfoError("elements too deep")
        builder.start(_bracketed(qualified), attributes)

    def end(qualified: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_bracketed(qualified))

    def doctype(*_: object) -> None:
        raise ConferenceInfoError("a DTD has no place here")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text.encode(), True)
        root = builder.close()
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise ConferenceInfoError(f"not XML: {error}") from error
    if root.tag != name("conference-info"):
        raise ConferenceInfoError("the root element is not conference-info")
    return root


def _bracketed(qualified: str) -> str:
    namespace, found, local = qualified.rpartition(" ")
    return f"{{{namespace}}}{local}" if found else local


def description_of(root: Element) -> Description:
    """What the document says of the conference as a whole."""
    element = root.find(name("conference-description"))
    if element is None:
        return Description()
    uris = element.iterfind(f"{name('conf-uris')}/{name('entry')}/{name('uri')}")
    return Description(
        display_text=_text(element, "display-text"),
        subject=_text(element, "subject"),
        uris=tuple((uri.text or "").strip() for uri in uris),
        maximum_user_count=_number(_text(element, "maximum-user-count")),
    )


def state_of(root: Element) -> ConferenceState:
    """What the document says of the state of the conference."""
    element = root.find(name("conference-state"))
    if element is None:
        return ConferenceState()
    return ConferenceState(
        _number(_text(element, "user-count")),
        _boolean(_text(element, "active")),
        _boolean(_text(element, "locked")),
    )


def users_of(root: Element) -> Iterator[User]:
    """The users in a tree."""
    for element in root.iterfind(f"{name('users')}/{name('user')}"):
        roles = element.iterfind(f"{name('roles')}/{name('entry')}")
        yield User(
            entity=element.get("entity", ""),
            display_text=_text(element, "display-text"),
            roles=tuple((role.text or "").strip() for role in roles),
            endpoints=tuple(_endpoint(each) for each in element.iterfind(name("endpoint"))),
        )


def _endpoint(element: Element) -> Endpoint:
    return Endpoint(
        entity=element.get("entity", ""),
        status=_choice(EndpointStatus, element, "status"),
        display_text=_text(element, "display-text"),
        referred=_execution(element, "referred"),
        joining_method=_choice(JoiningMethod, element, "joining-method"),
        joining_info=_execution(element, "joining-info"),
        disconnection_method=_choice(DisconnectionMethod, element, "disconnection-method"),
        disconnection_info=_execution(element, "disconnection-info"),
        media=tuple(_media(each) for each in element.iterfind(name("media"))),
    )


def _media(element: Element) -> Media:
    found = element.find(f"{{{FLOORS_NAMESPACE}}}floor-control")
    control = None
    if found is not None and (user := _number(found.get("user-id", ""))) is not None:
        control = FloorControl(user, _numbers(found.get("holds", "")), _numbers(found.get("chairs", "")))
    return Media(element.get("id", ""), _text(element, "type"), _text(element, "status"), control)


def _execution(parent: Element, local: str) -> Execution | None:
    element = parent.find(name(local))
    if element is None:
        return None
    return Execution(_moment(_text(element, "when")), _text(element, "reason"), _text(element, "by"))


def _text(parent: Element, local: str) -> str:
    return (parent.findtext(name(local)) or "").strip()


def _choice(choices: Callable[[str], _Choice], parent: Element, local: str) -> _Choice | None:
    try:
        return choices(_text(parent, local))
    except ValueError:
        return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(number for number in map(_number, text.split()) if number is not None)


def _boolean(text: str) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(text)


def _moment(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
