"""The ladder as a self-contained SVG picture on a light ground."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mrf_ops.ladder.procedures import Ladder, NumberedRow
from mrf_ops.ladder.rows import Row
from mrf_ops.ladder.text import wrap_fields

_EDGE: Final = 32
_TITLES: Final = 268  # width of the step titles, left
_FIELDS: Final = 410  # width of the fields, right
_GAP: Final = 236  # between lifelines
_TOP: Final = 150  # first row begins below
_LINE: Final = 15  # one line of small text
_FIELD_LETTERS: Final = 60
_TITLE_LETTERS: Final = 36

_INK: Final = "#1f2a37"
_SOFT: Final = "#66717f"
_OTHER: Final = "#5b6570"
_COLOURS: Final[Mapping[str, str]] = {
    "SIP": "#2c5f8f",
    "KMS": "#94651a",
    "MIKEY": "#94651a",
    "Mp": "#6d4a90",
    "TCP": "#2f7d86",
    "TLS": "#3b7a47",
    "BFCP": "#a5453a",
}
_KEEP: Final = ' xml:space="preserve"'
_LEGEND: Final = ("SIP", "KMS", "Mp", "TCP", "TLS", "BFCP")

_STYLE: Final = f"""
text {{ font-family: "Inter", "Helvetica Neue", "Liberation Sans", Arial, sans-serif; fill: {_INK}; }}
.title {{ font-size: 22px; font-weight: 600; }}
.sub {{ font-size: 13px; fill: {_SOFT}; }}
.element {{ font-size: 15px; font-weight: 600; text-anchor: middle; }}
.head {{ font-size: 11px; fill: {_SOFT}; letter-spacing: 0.06em; }}
.step {{ font-size: 13px; }}
.number {{ font-size: 12px; font-weight: 700; text-anchor: middle; fill: #ffffff; }}
.again {{ font-size: 11px; font-weight: 600; text-anchor: middle; fill: {_SOFT}; }}
.time {{ font-size: 11.5px; fill: {_SOFT}; text-anchor: end; font-variant-numeric: tabular-nums; }}
.name {{ font-size: 13px; font-weight: 600; text-anchor: middle; paint-order: stroke; stroke: #ffffff;
  stroke-width: 5px; stroke-linejoin: round; }}
.field {{ font-family: "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace; font-size: 11px;
  fill: #3d4855; }}
.fault {{ font-size: 13px; font-weight: 600; fill: #a5453a; }}
"""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the vertical lines are, in pixels."""

    axis: Mapping[str, float]
    time: float
    fields: float
    width: float

    @classmethod
    def of(cls, columns: tuple[str, ...]) -> _Frame:
        first = _EDGE + _TITLES + 160
        axis = {name: first + index * _GAP for index, name in enumerate(columns)}
        last = first + (len(columns) - 1) * _GAP
        return cls(axis, first - 88, last + 100, last + 100 + _FIELDS + _EDGE)


def render(ladder: Ladder, title: str = "") -> str:
    """The picture as SVG text. title: heading; by default the name of the procedure."""
    frame = _Frame.of(ladder.columns)
    rows, bottom = [], float(_TOP)
    last = max((at for at, entry in enumerate(ladder.rows) if entry.step), default=-1)
    for at, entry in enumerate(ladder.rows):
        if at and (entry.first or at == last + 1):
            rows.append(_rule(frame, bottom + 5))
        drawn, bottom = _row(ladder, frame, entry, bottom)
        rows += drawn
    foot, height = _foot(ladder, frame, bottom + 18)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{frame.width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {frame.width:.0f} {height:.0f}" role="img">',
        f"<title>{_safe(title or ladder.procedure.name)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{frame.width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        *_head(ladder, frame, title),
        *_lifelines(frame, bottom + 18),
        *rows,
        *foot,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _safe(text: str) -> str:
    """Text for XML: escaped, and without characters that XML does not have."""
    return html.escape("".join(letter if letter.isprintable() else "·" for letter in text))


def _text(x: float, y: float, css: str, text: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}"{extra}>{_safe(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def _rule(frame: _Frame, y: float) -> str:
    return _line(_EDGE, y, frame.width - _EDGE, y, 'stroke="#e6e9ed" stroke-width="1"')


def _head(ladder: Ladder, frame: _Frame, title: str) -> Iterator[str]:
    messages = sum(entry.row.seen != "local" for entry in ladder.rows)
    last = max((entry.row.time for entry in ladder.rows), default=ladder.start)
    when = datetime.fromtimestamp(ladder.start, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    yield _text(_EDGE, 46, "title", title or ladder.procedure.name)
    yield _text(_EDGE, 68, "sub", f"{messages} messages in {last - ladder.start:.3f} s, {when}")
    yield _text(_EDGE, 126, "head", "STEP")
    yield _text(frame.time, 126, "head", "MS", ' text-anchor="end"')
    yield _text(frame.fields, 126, "head", "WHAT IT CARRIES")


def _lifelines(frame: _Frame, bottom: float) -> Iterator[str]:
    for name, x in frame.axis.items():
        yield _line(x, 134, x, bottom, 'stroke="#c3cad2" stroke-width="1.5"')
        yield (
            f'<rect x="{x - 52:.1f}" y="100" width="104" height="34" rx="6" '
            'fill="#f3f5f8" stroke="#9aa5b1" stroke-width="1.2"/>'
        )
        yield _text(x, 122, "element", name)


def _row(ladder: Ladder, frame: _Frame, entry: NumberedRow, top: float) -> tuple[list[str], float]:
    """One row below `top`, and where it ends."""
    row = entry.row
    fields = wrap_fields(row.fields, _FIELD_LETTERS)
    title = textwrap.wrap(entry.step.title, _TITLE_LETTERS) if entry.step and entry.first else []
    y = top + 32
    parts = ["<g>", f"<title>{_safe(f'{row.protocol} {row.name} {row.key}')}</title>"]
    parts.append(_text(frame.time, y + 4, "time", f"{(row.time - ladder.start) * 1000:,.1f}"))
    if entry.step:
        parts += _badge(entry.step.number, entry.first, y)
    parts += [_text(_EDGE + 36, y + 4 + index * 17, "step", line) for index, line in enumerate(title)]
    above = y + 4 - (len(fields) - 1) * _LINE / 2 if len(fields) <= 2 else y - 4.0
    parts += [_text(frame.fields, above + at * _LINE, "field", line, _KEEP) for at, line in enumerate(fields)]
    parts += (_note if row.source == row.target else _arrow)(frame, row, y)
    parts.append("</g>")
    return parts, max(y + 10, y + 12 + (len(title) - 1) * 17, above + len(fields) * _LINE - 4)


def _badge(number: int, first: bool, y: float) -> list[str]:
    x = _EDGE + 13
    if first:
        return [
            f'<circle cx="{x}" cy="{y:.1f}" r="13" fill="{_INK}"/>',
            _text(x, y + 4.3, "number", str(number)),
        ]
    ring = f'<circle cx="{x}" cy="{y:.1f}" r="9.5" fill="#ffffff" stroke="#9aa5b1"/>'
    return [ring, _text(x, y + 4, "again", str(number))]


def _arrow(frame: _Frame, row: Row, y: float) -> list[str]:
    source, target = frame.axis[row.source], frame.axis[row.target]
    colour = _COLOURS.get(row.protocol, _OTHER)
    toward = 1 if target > source else -1
    dash = "" if row.seen == "both" else ' stroke-dasharray="5 4"'
    tip = target - toward * 2
    return [
        _line(source, y, tip - toward * 8, y, f'stroke="{colour}" stroke-width="1.8"{dash}'),
        f'<path d="M{tip:.1f} {y:.1f} l{-toward * 11} -5 v10 z" fill="{colour}"/>',
        _text((source + target) / 2, y - 7, "name", row.name, f' style="fill:{colour}"'),
    ]


def _note(frame: _Frame, row: Row, y: float) -> list[str]:
    x = frame.axis[row.source]
    colour = _COLOURS.get(row.protocol, _OTHER)
    width = max(96.0, 26 + 8.2 * len(row.name))
    x = min(max(x, frame.time + 12 + width / 2), max(frame.fields - 12 - width / 2, x - width / 2))
    return [
        f'<rect x="{x - width / 2:.1f}" y="{y - 14:.1f}" width="{width:.1f}" height="26" rx="5" '
        f'fill="#ffffff" stroke="{colour}" stroke-width="1.4"/>',
        _text(x, y + 3.5, "name", row.name, f' style="fill:{colour}"'),
    ]


def _foot(ladder: Ladder, frame: _Frame, y: float) -> tuple[list[str], float]:
    parts = [_rule(frame, y)]
    x, middle = float(_EDGE), y + 30
    for protocol in _LEGEND:
        parts.append(_line(x, middle, x + 30, middle, f'stroke="{_COLOURS[protocol]}" stroke-width="3"'))
        parts.append(_text(x + 38, middle + 4, "sub", protocol))
        x += 62 + 9 * len(protocol)
    line = f'stroke="{_OTHER}" stroke-width="1.8"'
    for style, meaning in (
        (line, "told by both ends"),
        (f'{line} stroke-dasharray="5 4"', "told by one end"),
    ):
        parts.append(_line(x, middle, x + 30, middle, style))
        parts.append(_text(x + 38, middle + 4, "sub", meaning))
        x += 176
    box = f'x="{x:.1f}" y="{middle - 8:.1f}" width="30" height="16" rx="4"'
    parts.append(f'<rect {box} fill="#ffffff" stroke="{_OTHER}"/>')
    parts.append(_text(x + 38, middle + 4, "sub", "inside one element"))
    for step in ladder.missing:
        middle += 24
        parts.append(_text(_EDGE, middle + 4, "fault", f"Missing: step {step.number}, {step.title}"))
    return parts, middle + 30
