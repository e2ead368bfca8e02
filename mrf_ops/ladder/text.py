"""The ladder in a terminal: step, time, lifelines with arrows, and the telling fields to the right."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mrf_ops.ladder.procedures import Ladder, NumberedRow
from mrf_ops.ladder.rows import Row

_LEAD: Final = 15  # step number and time
_MARGIN: Final = 5  # left and right of the outer lifelines
_GAP: Final = 24  # between lifelines; fits the longest names in use
_RESET: Final = "\x1b[0m"
_COLOURS: Final[Mapping[str, str]] = {
    "SIP": "\x1b[34m",
    "KMS": "\x1b[33m",
    "Mp": "\x1b[35m",
    "TCP": "\x1b[36m",
    "TLS": "\x1b[32m",
    "BFCP": "\x1b[31m",
}


@dataclass(frozen=True, slots=True)
class _Page:
    """Where things stand, in characters: lifelines, the canvas that holds them, the room for fields."""

    axis: Mapping[str, int]
    canvas: int
    room: int

    @classmethod
    def of(cls, columns: tuple[str, ...], width: int) -> _Page:
        axis = {name: _MARGIN + index * _GAP for index, name in enumerate(columns)}
        canvas = max(axis.values()) + _MARGIN + 1
        return cls(axis, canvas, max(28, width - _LEAD - canvas - 2))

    def lifelines(self) -> list[str]:
        line = [" "] * self.canvas
        for place in self.axis.values():
            line[place] = "│"
        return line


def render(ladder: Ladder, width: int = 140, color: bool = False) -> str:
    """The ladder as lines of at most `width` characters (more when five or more elements need them).

    color: ANSI colours by protocol, for a terminal.
    """
    page = _Page.of(ladder.columns, width)
    lines = _head(page)
    for entry in ladder.rows:
        lines += _row_lines(page, entry, (entry.row.time - ladder.start) * 1000, color)
    lines += ["", *_foot(ladder)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _head(page: _Page) -> list[str]:
    names = [" "] * page.canvas
    for name, place in page.axis.items():
        _put(names, place - len(name) // 2, _printable(name))
    return [f"step   time/ms {''.join(names)}  what it carries", " " * _LEAD + "".join(page.lifelines())]


def _foot(ladder: Ladder) -> list[str]:
    messages = sum(entry.row.seen != "local" for entry in ladder.rows)
    legend = "───► told by both ends   ╌╌╌► told by one end   [ ] inside one element"
    total = f"{ladder.procedure.name}: {messages} messages"
    if not ladder.procedure.steps:
        return [legend, total]
    total += f", {len(ladder.procedure.steps)} steps"
    if not ladder.missing:
        return [legend, f"{total}, all there"]
    missing = [f"  missing: step {step.number}, {step.title}" for step in ladder.missing]
    return [legend, f"{total}, {len(missing)} missing", *missing]


def _put(line: list[str], start: int, text: str) -> None:
    start = max(0, min(start, len(line) - len(text)))
    line[start : start + len(text)] = text


def _short(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _row_lines(page: _Page, entry: NumberedRow, offset: float, color: bool) -> list[str]:
    """The lines of one row, `offset` milliseconds after the first."""
    drawn = page.lifelines()
    shortened = (_note if entry.row.source == entry.row.target else _arrow)(drawn, page, entry.row)
    told = _told(entry, shortened, page.room) or [""]
    step = f"({entry.step.number})" if entry.step else ""
    bare = " " * _LEAD + "".join(page.lifelines())
    picture = "".join(drawn)
    if color and entry.row.protocol in _COLOURS:
        picture = _COLOURS[entry.row.protocol] + picture + _RESET
    return [f"{step:<5}{offset:>9.1f} {picture}  {told[0]}", *(f"{bare}  {more}" for more in told[1:])]


def _note(drawn: list[str], page: _Page, row: Row) -> bool:
    """Write a local event on its lifeline; True when the name had to be cut."""
    name = _short(_printable(row.name), 2 * _GAP - 6)
    _put(drawn, page.axis[row.source] - (len(name) + 4) // 2, f"[ {name} ]")
    return len(name) < len(row.name)


def _arrow(drawn: list[str], page: _Page, row: Row) -> bool:
    """Draw the arrow with the name on it; True when the name had to be cut."""
    source, target = page.axis[row.source], page.axis[row.target]
    left, right = sorted((source, target))
    drawn[left + 1 : right] = ("─" if row.seen == "both" else "╌") * (right - left - 1)
    drawn[target + (-1 if target == right else 1)] = "►" if target == right else "◄"
    name = _short(_printable(row.name), right - left - 5)
    _put(drawn, (left + right - len(name)) // 2, f" {name} ")
    return len(name) < len(row.name)


def _told(entry: NumberedRow, shortened: bool, room: int) -> list[str]:
    """What stands to the right: the step's title, the whole name when it was cut, the fields."""
    lines = []
    if entry.step and entry.first:
        lines += textwrap.wrap(entry.step.title, room, break_on_hyphens=False)
    if shortened:
        lines += textwrap.wrap(f"{entry.row.protocol} {_printable(entry.row.name)}", room)
    return lines + wrap_fields(entry.row.fields, room)


def wrap_fields(fields: Mapping[str, str], room: int) -> list[str]:
    """name=value pairs on lines of at most `room` characters; only what is longer than a line is cut."""
    lines: list[str] = []
    for name, value in fields.items():
        field = _printable(f"{name}={value}")
        if lines and len(lines[-1]) + 2 + len(field) <= room:
            lines[-1] += f"  {field}"
        else:
            lines += textwrap.wrap(field, room, break_on_hyphens=False, subsequent_indent="  ")
    return lines


def _printable(text: str) -> str:
    """A peer's text must not steer the terminal."""
    return "".join(letter if letter.isprintable() else "·" for letter in text)
