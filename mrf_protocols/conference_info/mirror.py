"""What a subscriber knows of a conference, document by document (RFC 4575 4.6)."""

from __future__ import annotations

import enum
from xml.etree.ElementTree import Element, SubElement

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
    for child in theirs:
        known = _find(mine, child)
        state = child.get("state", "full")
        if state == "deleted":
            if known is not None:
                mine.remove(known)
        elif state == "partial":
            if known is None:
                known = SubElement(mine, child.tag)
            known.attrib.update({key: value for key, value in child.attrib.items() if key != "state"})
            _merge(known, child)
        elif known is not None:
            mine[list(mine).index(known)] = child
        else:
            mine.append(child)


def _find(parent: Element, child: Element) -> Element | None:
    key = _KEYED.get(child.tag)
    for known in parent.iterfind(child.tag):
        if key is None or known.get(key) == child.get(key):
            return known
    return None
