"""Conference and floors as context properties, and back (TS 23.333 8.45)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final, TypeVar

from mrf_protocols.h248.mp import elements as e
from mrf_protocols.h248.mp import fields
from mrf_protocols.h248.mp.floor_procedures import Conference, Floor, FloorControlAlgorithm, WithoutChair
from mrf_protocols.h248.values import ContextProperties, Property, Relation

_ELEMENTS: Final = (
    e.CONFERENCE,
    e.FLOORS,
    e.ASSOCIATIONS,
    e.MAX_HOLDERS,
    e.ALGORITHM,
    e.WITHOUT_CHAIR,
    e.MAX_TIME,
    e.NO_PRIORITY,
    e.ASKERS,
    e.CONFIRM,
    e.GRACE,
)
_NOBODY: Final = "0"
_Word = TypeVar("_Word", bound=StrEnum)


def conference_properties(conference: Conference) -> ContextProperties:
    """The properties of a context that describe its conference."""
    floors = conference.floors
    lists = (
        (e.FLOORS, [str(floor.floor_id) for floor in floors]),
        (e.ASSOCIATIONS, [f"{floor.floor_id}={label}" for floor in floors for label in floor.labels]),
        (e.MAX_HOLDERS, [f"{floor.floor_id}={floor.max_holders}" for floor in floors]),
        (e.ALGORITHM, [f"{floor.floor_id}={floor.algorithm.value}" for floor in floors]),
        (
            e.WITHOUT_CHAIR,
            [
                f"{floor.floor_id}={floor.without_chair.value}"
                for floor in floors
                if floor.without_chair is not WithoutChair.QUEUE
            ],
        ),
        (
            e.MAX_TIME,
            [f"{floor.floor_id}={floor.max_holding_time}" for floor in floors if floor.max_holding_time],
        ),
        (e.NO_PRIORITY, [str(floor.floor_id) for floor in floors if not floor.honour_priority]),
        (e.ASKERS, [text for floor in floors for text in _askers(floor)]),
        (e.CONFIRM, [str(floor.floor_id) for floor in floors if floor.confirm_media]),
    )
    found = [Property(e.CONFERENCE.identifier, (str(conference.conference_id),))]
    for element, texts in lists:
        if texts:
            found.append(Property(element.identifier, tuple(texts), Relation.ALL_OF))
    if conference.grace is not None:
        found.append(Property(e.GRACE.identifier, (str(conference.grace),)))
    return ContextProperties(attributes=tuple(found))


def _askers(floor: Floor) -> list[str]:
    if floor.allowed_users is None:
        return []
    return [f"{floor.floor_id}={user}" for user in floor.allowed_users] or [f"{floor.floor_id}={_NOBODY}"]


def parse_conference(properties: ContextProperties | None) -> Conference | None:
    """The conference that context properties describe; None when they do not. Raises H248Error."""
    found = fields.properties(() if properties is None else properties.attributes, _ELEMENTS)
    if not found:
        return None
    for element in (e.CONFERENCE, e.FLOORS, e.MAX_HOLDERS):
        if element.identifier not in found:
            raise fields.missing(element)
    text = fields.single(found[e.CONFERENCE.identifier], e.CONFERENCE)
    grace = found.get(e.GRACE.identifier)
    return Conference(
        fields.number(text, e.CONFERENCE, 0xFFFFFFFF),
        _Policies(found).floors(),
        None if grace is None else fields.number(fields.single(grace, e.GRACE), e.GRACE, 0xFFFF),
    )


class _Policies:
    """The properties of all floors, taken apart."""

    def __init__(self, found: dict[str, Property]) -> None:
        self._found = found
        self._ids = [
            fields.number(text, e.FLOORS, 0xFFFF)
            for text in fields.listed(found[e.FLOORS.identifier], e.FLOORS)
        ]
        if len(set(self._ids)) != len(self._ids):
            raise fields.invalid(e.FLOORS)

    def floors(self) -> tuple[Floor, ...]:
        """Each floor with its policy."""
        labels: dict[int, list[str]] = {floor_id: [] for floor_id in self._ids}
        for floor_id, label in self._pairs(e.ASSOCIATIONS):
            labels[floor_id].append(label)
        holders = self._numbers(e.MAX_HOLDERS, 0xFFFF)
        if len(holders) != len(self._ids):
            raise fields.missing(e.MAX_HOLDERS)
        algorithms = self._words(e.ALGORITHM, FloorControlAlgorithm)
        without_chair = self._words(e.WITHOUT_CHAIR, WithoutChair)
        times = self._numbers(e.MAX_TIME, 0xFFFFFFFF)
        no_priority, confirm = self._members(e.NO_PRIORITY), self._members(e.CONFIRM)
        askers = self._askers()
        return tuple(
            Floor(
                floor_id,
                tuple(labels[floor_id]),
                holders[floor_id],
                algorithms.get(floor_id, FloorControlAlgorithm.FIRST_COME_FIRST_SERVED),
                without_chair.get(floor_id, WithoutChair.QUEUE),
                times.get(floor_id, 0),
                floor_id not in no_priority,
                askers.get(floor_id),
                floor_id in confirm,
            )
            for floor_id in self._ids
        )

    def _texts(self, element: e.Element) -> Iterable[str]:
        item = self._found.get(element.identifier)
        return () if item is None else fields.listed(item, element)

    def _pairs(self, element: e.Element) -> Iterator[tuple[int, str]]:
        """Of each "floor=rest" both sides."""
        for text in self._texts(element):
            floor, _, rest = text.partition("=")
            floor_id = fields.number(floor, element, 0xFFFF)
            if floor_id not in self._ids or not rest:
                raise fields.invalid(element)
            yield floor_id, rest

    def _numbers(self, element: e.Element, limit: int) -> dict[int, int]:
        return {floor_id: fields.number(text, element, limit) for floor_id, text in self._pairs(element)}

    def _words(self, element: e.Element, kind: type[_Word]) -> dict[int, _Word]:
        return {floor_id: fields.word(text, element, kind) for floor_id, text in self._pairs(element)}

    def _members(self, element: e.Element) -> set[int]:
        members = {fields.number(text, element, 0xFFFF) for text in self._texts(element)}
        if not members <= set(self._ids):
            raise fields.invalid(element)
        return members

    def _askers(self) -> dict[int, tuple[int, ...]]:
        found: dict[int, tuple[int, ...]] = {}
        for floor_id, text in self._pairs(e.ASKERS):
            user = () if text == _NOBODY else (fields.number(text, e.ASKERS, 0xFFFF),)
            found[floor_id] = found.get(floor_id, ()) + user
        return found
