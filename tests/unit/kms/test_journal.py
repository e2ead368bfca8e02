"""The journal: many entries in one transaction, decided again on new knowledge, and nobody left waiting."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from mrf_kms.database import StoreError
from mrf_kms.entries import Entry
from mrf_kms.journal import MAX_BATCH, Journal, Verdict
from mrf_kms.store import Store


class WatchedStore(Store):
    """Counts transactions, and fails when told."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[int] = []
        self.failure: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.begun = threading.Event()

    def record(self, version: int, entries: Sequence[Entry]) -> list[bool] | None:
        self.begun.set()
        self.hold.wait(30)
        if self.failure is not None:
            raise self.failure
        self.batches.append(len(entries))
        return super().record(version, entries)


def entry(number: int) -> Entry:
    return Entry(number.to_bytes(20), 1e9, None)


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[tuple[Journal, list[WatchedStore]]]:
    stores: list[WatchedStore] = []

    def open_store() -> Store:
        stores.append(WatchedStore(tmp_path / "kms.sqlite"))
        return stores[0]

    journal = Journal(open_store)
    await journal.open()
    yield journal, stores
    stores[0].hold.set()
    await journal.close()


async def test_what_waits_is_written_at_once(made: tuple[Journal, list[WatchedStore]]) -> None:
    journal, (store,) = made
    store.hold.clear()
    first = asyncio.create_task(journal.enter(0, entry(0)))
    assert await asyncio.to_thread(store.begun.wait, 30)
    rest = [asyncio.create_task(journal.enter(0, entry(number))) for number in range(1, MAX_BATCH + 11)]
    await asyncio.sleep(0)  # they have begun
    assert journal.waiting == MAX_BATCH + 10
    store.hold.set()
    assert set(await asyncio.gather(first, *rest)) == {Verdict.WRITTEN}
    assert store.batches == [1, MAX_BATCH, 10]
    assert await journal.enter(0, entry(5)) is Verdict.REPLAYED


async def test_new_knowledge(made: tuple[Journal, list[WatchedStore]], tmp_path: Path) -> None:
    journal, _ = made
    before = journal.image
    Store(tmp_path / "kms.sqlite").add_user("alice", bytes(32), ["sip:a@b"])
    assert await journal.enter(before.version, entry(1)) is Verdict.STALE
    assert "alice" in journal.image.users
    assert await journal.enter(before.version, entry(1)) is Verdict.STALE
    assert await journal.enter(journal.image.version, entry(1)) is Verdict.WRITTEN


@pytest.mark.parametrize("failure", [StoreError("full"), ZeroDivisionError("a fault of ours")])
async def test_nobody_waits_for_ever(
    made: tuple[Journal, list[WatchedStore]], failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    journal, (store,) = made
    store.failure = failure
    outcomes = await asyncio.gather(
        *(journal.enter(0, entry(number)) for number in range(5)), return_exceptions=True
    )
    assert all(isinstance(outcome, StoreError) for outcome in outcomes)
    store.failure = None
    assert await journal.enter(0, entry(1)) is Verdict.WRITTEN


async def test_a_request_given_up_disturbs_nobody(made: tuple[Journal, list[WatchedStore]]) -> None:
    journal, (store,) = made
    store.hold.clear()
    one, two = (asyncio.create_task(journal.enter(0, entry(number))) for number in (1, 2))
    assert await asyncio.to_thread(store.begun.wait, 30)
    one.cancel()
    store.hold.set()
    assert await two is Verdict.WRITTEN


async def test_before_it_is_open(tmp_path: Path) -> None:
    journal = Journal(lambda: Store(tmp_path / "missing" / "kms.sqlite"))
    with pytest.raises(StoreError, match="not open"):
        _ = journal.image
    with pytest.raises(StoreError, match="cannot be used"):
        await journal.open()
    await journal.close()
