"""A laboratory for all tests that leave it as it was, and one for each test that breaks an element."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from system_support import Scene, System
from system_support import scene as play


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """KMS, MRFC and MRFP with relays between them."""
    with System.running(tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture
async def scene(system: System) -> AsyncIterator[Scene]:
    """A bystander's call stands from before the test until after it."""
    async with play(system.lab) as played:
        yield played


@pytest.fixture
def breakable(tmp_path: Path) -> Iterator[System]:
    """A laboratory of the test's own."""
    with System.running(tmp_path / "lab") as running:
        yield running
