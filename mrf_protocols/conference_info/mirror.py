"""What a subscriber knows of a conference, document by document (RFC 4575 4.6)."""

from __future__ import annotations

import enum
from xml.etree.ElementTree import Element

from mrf_protocols.conference_info import reader
from mrf_protocols.conference_info.reader import name
from mrf_protocols.conference_info.values import ConferenceInfoError, ConferenceState, Description, User

_KEYED = {name("user"): "entity", name("endpoint"): "entity", name("media"): "id"}
"""Elements that may stand several times below one parent, and the attribute that tells them apart (4.5)."""
LARGEST_VERSION = 2**32


class Update(enum.Enum):
    """What a document did."""

    TAKEN = "taken"
    OLD = "old"  # its version is not above the last one: it changes nothing
    GAP = "gap"  # a version is missing: subscribe again for the full state
    GONE = "gone"  # the conference has ceased to exist


class Mirror:
    """The conference as far as it was told; `version` None: nothing yet."""

    def __init__(self) -> None:
        self.version: int | None = None
        self._root = Element(name("conference-info"))

    @property
    def entity(self) -> str:
        """The conference URI."""
        return self._root.get("entity", "")

    @property
    def description(self) -> Description:
        """The conference as a whole."""
        return reader.description_of(self._root)

    @property
    def state(self) -> ConferenceState:
        """Its state."""
        return reader.state_of(self._root)

    @property
    def users(self) -> dict[str, User]:
        """Users by entity."""
        return {user.entity: user for user in reader.users_of(self._root)}

    def apply(self, text: str) -> Update:
        """Take the body of a NOTIFY. Raises ConferenceInfoError, and then nothing has changed."""
        new = reader.read_tree(text)
        version = _version(new)
        state = new.get("state", "full")
        if self.version is not None and version <= self.version:
            return Update.OLD
        if state == "partial":
            if self.version is None or version > self.version + 1:
                return Update.GAP
            _merge(self._root, new)
        else:
            self._root = new
        self.version = version
        return Update.GONE if state == "deleted" else Update.TAKEN


def _version(root: Element) -> int:
    text = root.get("version", "")
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) >= LARGEST_VERSION:
        raise ConferenceInfoError("the document has no version")
    return int(text)


def _merge(mine: Element, theirs: Element) -> None:
    """Take what an element with state partial says into the element that is known."""
    children = list(mine)
    places: dict[tuple[str, str | None], int] = {}
    for place, child in enumerate(children):
        places.setdefault(_identity(child), place)
    gone: set[int] = set()
    for child in theirs:
        identity, state = _identity(child), child.get("state", "full")
        if state == "deleted":
            if identity in places:
                gone.add(places.pop(identity))
            continue
        if identity not in places:
            places[identity] = len(children)
            children.append(Element(child.tag))
        if state == "partial":
            known = children[places[identity]]
            known.attrib.update({key: value for key, value in child.attrib.items() if key != "state"})
            _merge(known, child)
        else:
            children[places[identity]] = child
    mine[:] = [child for place, child in enumerate(children) if place not in gone]


def _identity(element: Element) -> tuple[str, str | None]:
    """What is the same for two elements of one parent that speak of the same."""
    key = _KEYED.get(element.tag)
    return element.tag, None if key is None else element.get(key)
