"""What a bench found: figures, each beside its peer of the same run and its aim, as a table of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `peer`: the same of the program it is measured against, in the same run.

    At most one aim: `most`, `least` (of the value), `least_share` (of the peer's).
    """

    name: str
    value: float
    unit: str
    peer: float | None = None
    most: float | None = None
    least: float | None = None
    least_share: float | None = None

    @property
    def ratio(self) -> float | None:
        """Value to peer."""
        return self.value / self.peer if self.peer else None

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        if self.most is not None:
            return self.value <= self.most
        if self.least is not None:
            return self.value >= self.least
        if self.least_share is not None:
            return self.ratio is not None and self.ratio >= self.least_share
        return None

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        return (
            self.name,
            f"{number(self.value)} {self.unit}",
            "" if self.peer is None else number(self.peer),
            "" if self.ratio is None else f"{self.ratio:.2f}",
            self._aim(),
            {True: "yes", False: "NO", None: ""}[self.reached],
        )

    def _aim(self) -> str:
        if self.most is not None:
            return f"<= {number(self.most)}"
        if self.least is not None:
            return f">= {number(self.least)}"
        return "" if self.least_share is None else f"ratio >= {self.least_share:.2f}"


@dataclass(frozen=True, slots=True)
class Table:
    """The figures of a bench; `notes` say what is in them."""

    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = field(default_factory=tuple)
    peer: str = ""

    def render(self) -> str:
        """Text with aligned columns."""
        head = ("", "figure", self.peer and "peer", self.peer and "ratio", "aim", "reached")
        rows = [head, *(figure.cells() for figure in self.figures)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = [self.title, "=" * len(self.title)]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        if self.peer:
            lines.append(f"peer: {self.peer}")
        lines += self.notes
        return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that count, thousands grouped."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
