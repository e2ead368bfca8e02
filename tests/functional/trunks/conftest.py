"""One laboratory for all trunks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from trunk_support import TrunkLab


@pytest.fixture(scope="session")
def trunks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrunkLab]:
    """KMS, MRFP, and an MRFC with listeners and trunks of every kind."""
    with TrunkLab(tmp_path_factory.mktemp("trunks")) as lab:
        lab.start()
        yield lab
