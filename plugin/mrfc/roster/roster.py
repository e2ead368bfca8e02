"""Who is in a conference, with what has changed since when: sans-IO, one for all subscribers.

Every change has a number. A subscriber is told what is above the number he knows, as far as it fits a document; so the
first document of a large conference may hold a part of its users, and the rest follows in partial ones. That is the
same for a subscriber who is slow: whatever happened meanwhile, each user is told once, as he is now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge

from mrf_protocols.conference_info import (
    ConferenceState,
    Description,
    EndpointStatus,
    Part,
    User,
    contents,
    deleted_user,
    write_user,
)

NOTHING = 0
"""What a subscriber knows who was told nothing yet."""
MOST_DELETED = 1_000
"""Users who have gone and are remembered; who knows less than that is told everything anew."""

MOST_READY = 64
"""Texts kept for subscribers who know the same."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What to tell: the inside of a document, how much it is, and the number up to which it tells.

    `latest` is the number of the last change when it was written.
    """

    part: Part
    inside: str
    known: int
    latest: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """A user, the number of his last change, and his element."""

    number: int
    user: User
    text: str

    @property
    def present(self) -> bool:
        """Whether he takes part with some endpoint."""
        return any(endpoint.status is not EndpointStatus.DISCONNECTED for endpoint in self.user.endpoints)


class Roster:
    """The users of one conference. `number` is that of the last change."""

    def __init__(self, entity: str, description: Description) -> None:
        self.entity = entity
        self.number = NOTHING + 1
        self._description = description
        self._described = self.number
        self._users: dict[str, _Entry] = {}  # the one that changed last stands last
        self._deleted: dict[str, int] = {}  # likewise
        self._forgotten = NOTHING
        self._present = 0
        self._ready: dict[tuple[int, int], Changes] = {}

    def describe(self, description: Description) -> None:
        """The conference as a whole is described so from now on."""
        if description != self._description:
            self._description, self._described = description, self._next()

    def user(self, entity: str) -> User | None:
        """A user as he was put in."""
        entry = self._users.get(entity)
        return None if entry is None else entry.user

    def put(self, user: User) -> None:
        """A user who has come, or is different now."""
        before = self._users.get(user.entity)
        if before is not None and before.user == user:
            return
        self._take_out(user.entity)
        entry = self._users[user.entity] = _Entry(self._next(), user, write_user(user))
        self._present += entry.present
        self._deleted.pop(user.entity, None)

    def remove(self, entity: str) -> None:
        """A user who is not there any more."""
        if not self._take_out(entity):
            return
        self._deleted[entity] = self._next()
        if len(self._deleted) > MOST_DELETED:
            self._forgotten = self._deleted.pop(next(iter(self._deleted)))

    def _take_out(self, entity: str) -> bool:
        entry = self._users.pop(entity, None)
        self._present -= entry is not None and entry.present
        return entry is not None

    def _next(self) -> int:
        self.number += 1
        self._ready.clear()
        return self.number

    def changes(self, known: int, begun: int, size: int) -> Changes:
        """What somebody is to be told who knows the conference as it was after change `known`.

        `begun` is `Changes.latest` of the full state that he was told: who had gone before that does not matter to him.
        `size` bounds the characters for users; one is told in any case.
        """
        if max(known, begun) < self._forgotten:
            known = NOTHING
        found = self._ready.get((known, size))
        if found is None:
            if len(self._ready) >= MOST_READY:
                self._ready.clear()
            found = self._ready[known, size] = self._changes(known, size)
        return found

    def _changes(self, known: int, size: int) -> Changes:
        part = Part.FULL if known == NOTHING else Part.PARTIAL
        texts: list[str] = []
        upto, room = self.number, size
        for number, text in self._after(known):
            if texts and len(text) > room:
                break
            room -= len(text)
            texts.append(text)
            upto = number
        else:
            upto = self.number
        inside = contents(
            part,
            self._description if known < self._described else None,
            ConferenceState(user_count=self._present, active=True),
            texts,
        )
        return Changes(part, inside, upto, self.number)

    def _after(self, known: int) -> Iterator[tuple[int, str]]:
        """Changes above a number, in order; who begins with nothing need not hear of those who have gone."""
        users: list[tuple[int, str]] = []
        for entry in reversed(self._users.values()):
            if entry.number <= known:
                break
            users.append((entry.number, entry.text))
        deleted: list[tuple[int, str]] = []
        for entity, number in reversed(self._deleted.items()):
            if known == NOTHING or number <= known:
                break
            deleted.append((number, deleted_user(entity)))
        return merge(reversed(users), reversed(deleted))
