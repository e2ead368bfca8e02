"""KMS processes for tests: one with its own SQLite file, and a PostgreSQL server for those that share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kms_support import ALICE, Kms
from postgres_support import Postgres, running_postgres


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Kms]:
    kms = Kms(tmp_path)
    kms.configure()
    kms.add("alice-psk", ALICE)
    kms.add("mrfc-psk", "sip:*@conf.example")
    kms.start()
    yield kms
    kms.end()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server
