"""Time that a test moves: what an event loop would do later, it does now."""

from __future__ import annotations

import asyncio

import pytest


class LoopClock:
    """The clock of the running loop, which runs and can be put forward besides."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._real = loop.time
        self._ahead = 0.0
        monkeypatch.setattr(loop, "time", self.time)

    def time(self) -> float:
        """What the loop reads."""
        return self._real() + self._ahead

    async def forward(self, seconds: float) -> None:
        """Let so much time pass at once, and everything run that is due then."""
        self._ahead += seconds
        for _ in range(30):
            await asyncio.sleep(0)
