"""What answers leave in the store, written before they leave: many at once, by a thread that owns the store.

Requests are decided from an image of the store in memory. What they leave behind is written in one transaction
that also sees whether the image is still the present one; if not, nothing is written and they are decided again.
So several KMS instances on one store never answer a message twice, and a revocation counts from the next answer on.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import TypeVar

from mrf_kms.database import StoreError
from mrf_kms.entries import Entry
from mrf_kms.image import Image
from mrf_kms.store import Store

MAX_BATCH = 500
"""Entries of one transaction."""
T = TypeVar("T")


class Verdict(Enum):
    """What became of an entry."""

    WRITTEN = auto()
    REPLAYED = auto()
    """The message was answered before; nothing is written."""
    STALE = auto()
    """The store has changed; `Journal.image` is the new image."""


class Journal:
    """Image and entries of one KMS instance. Use it within one event loop, after `open`."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store: Store | None = None
        self._image: Image | None = None
        self._waiting: list[tuple[int, Entry, asyncio.Future[Verdict]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the store and read the image. Raises StoreError."""
        self._store = await self.ask(lambda _: self._open_store(), opened=False)
        await self.reload()

    @property
    def image(self) -> Image:
        """The newest image that was read. Raises StoreError before `open`."""
        if self._image is None:
            raise StoreError("the store is not open")
        return self._image

    @property
    def waiting(self) -> int:
        """Entries not written yet."""
        return len(self._waiting)

    async def ask(self, question: Callable[[Store], T], *, opened: bool = True) -> T:
        """Run something with the store in its thread."""
        store = self._store
        if opened and store is None:
            raise StoreError("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, store)  # type: ignore[arg-type] # None only to open it

    async def reload(self) -> None:
        """Read the image again when the store has changed. Raises StoreError."""
        known = None if self._image is None else self._image.version
        if await self.ask(Store.version) != known:
            self._image = await self.ask(Store.image)

    async def enter(self, version: int, entry: Entry) -> Verdict:
        """Write an entry that was decided from the image of that version.

        Raises StoreError: nothing is written then."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiting.append((version, entry, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await future

    async def close(self) -> None:
        """Write what waits, then close the store."""
        if self._writer is not None:
            await self._writer
        if self._store is not None:
            await self.ask(Store.close)
        self._thread.shutdown()

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            present = self.image.version
            current = [item for item in batch if item[0] == present]
            for _, _, future in (item for item in batch if item[0] != present):
                _settle(future, Verdict.STALE)
            reason = "the store failed"
            try:
                await self._write_batch(present, current)
            except StoreError as error:
                reason = str(error)
            finally:  # whatever happened, nobody waits for ever
                for _, _, future in current:
                    if not future.done():
                        future.set_exception(StoreError(reason))

    async def _write_batch(
        self, version: int, batch: list[tuple[int, Entry, asyncio.Future[Verdict]]]
    ) -> None:
        entries = [entry for _, entry, _ in batch]
        fresh = await self.ask(lambda store: store.record(version, entries))
        if fresh is None:
            await self.reload()
        for index, (_, _, future) in enumerate(batch):
            if fresh is None:
                _settle(future, Verdict.STALE)
            else:
                _settle(future, Verdict.WRITTEN if fresh[index] else Verdict.REPLAYED)


def _settle(future: asyncio.Future[Verdict], verdict: Verdict) -> None:
    if not future.done():  # its request was given up
        future.set_result(verdict)
