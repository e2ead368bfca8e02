"""Tests of conferences and their watchers run on a clock of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from leaping_loop import LeapingLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop for the tests of this folder."""
    return {"leaping": LeapingLoop}
