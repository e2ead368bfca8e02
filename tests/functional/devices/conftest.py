"""A laboratory that serves BFCP without TLS, as devices of meeting rooms want it; nothing is left of any call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from system_support import Scene, lonely_scene, settings

from lab import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """KMS, MRFC and MRFP; both of these allow TCP/BFCP."""
    chosen = settings(bfcp={"unsecured": "allow"})
    chosen.mrfp["bfcp"] = {"unsecured": "allow"}
    with Lab(tmp_path_factory.mktemp("devices"), chosen) as running:
        running.start()
        yield running


@pytest.fixture
async def scene(lab: Lab) -> AsyncIterator[Scene]:
    """The laboratory is the same after the test."""
    async with lonely_scene(lab) as played:
        yield played
