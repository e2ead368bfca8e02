"""Floor cycles (FloorRequest, Granted, FloorRelease, Released) of codec and floor control server, in memory."""

from __future__ import annotations

from statistics import median

from bfcp_cycle import measure
from figures import Figure, Table

ROUNDS = 3


def run(quick: bool) -> Table:
    """Cycles per CPU second with nobody, one and ten others who are told of the floor."""
    cycles = 200 if quick else 10_000
    figures = []
    for subscribers in (0, 1, 10):
        count = max(1, cycles // (1 + subscribers))
        spent = median(measure(count, subscribers) for _ in range(ROUNDS))
        figures.append(Figure(f"cycles with {subscribers} subscribers", count / spent, "/s"))
    return Table("BFCP codec and floor control server, cycles per CPU second", figures)
