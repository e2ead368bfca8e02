"""Messages that were authenticated within the clock skew, so that none is accepted twice (RFC 3830 5.4), and tickets
that may be used once only (RFC 6043 5.3)."""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import struct
from pathlib import Path

_RECORD = struct.Struct("!dB32s")
_COMPACT_AT = 1 << 20
"""Octets of the file beyond which it is written anew."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
MAX_TICKETS = 100_000
LONGEST_LIFE = 7 * 86400.0
"""Seconds that a used ticket is remembered at most; one without end of validity, too."""


class ReplayCache:
    """Digests of what was authenticated, each kept until it could not be accepted any more anyway.

    window: seconds that something is remembered which says nothing else, for a message those it can still pass the
    timestamp check. Memory is bounded by the rate of authenticated messages times the window, and by `limit`, beyond
    which what ends first is forgotten. `path` names a file that an engine started again reads, so that it knows what
    it accepted before; `now` is Unix time. A file that cannot be used raises OSError here; later it is no reason to
    refuse calls.
    """

    def __init__(
        self, window: float, path: Path | None = None, now: float = 0.0, *, limit: int | None = None
    ) -> None:
        self._window = window
        self._limit = limit
        self._seen: dict[bytes, float] = {}
        self._ends: list[tuple[float, bytes]] = []
        self._path = path
        self._fd = -1
        self._size = 0
        if path is not None:
            self._load(path, now)
            self._begin(path)

    @classmethod
    def of_tickets(cls, beside: Path | None, now: float) -> ReplayCache:
        """One for tickets used; its file stands `beside` that for messages, with ".tickets" after the name."""
        path = None if beside is None else beside.with_name(f"{beside.name}.tickets")
        return cls(LONGEST_LIFE, path, now, limit=MAX_TICKETS)

    def __len__(self) -> int:
        return len(self._seen)

    def seen(self, digest: bytes, now: float) -> bool:
        """Whether this was remembered before."""
        self._forget(now)
        return digest in self._seen

    def remember(self, digest: bytes, now: float, until: float | None = None) -> bool:
        """Remember what at most 32 octets name, until a Unix time; False when it is there already."""
        self._forget(now)
        if digest in self._seen:
            return False
        latest = now + self._window
        ends = latest if until is None else min(until, latest)
        self._keep(digest, ends)
        if self._limit is not None and len(self._seen) > self._limit:
            del self._seen[heapq.heappop(self._ends)[1]]
        if self._path is not None and self._fd >= 0:
            with contextlib.suppress(OSError):
                self._append(_pack(digest, ends))
                if self._size > max(_COMPACT_AT, 4 * _RECORD.size * len(self._seen)):
                    self._compact(self._path)
        return True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, record: bytes) -> None:
        """A part of a record, which is what a full disk takes, must not stay: others shall follow it."""
        written = os.write(self._fd, record)
        if written < len(record):
            os.ftruncate(self._fd, self._size)
        else:
            self._size += written

    def _keep(self, digest: bytes, until: float) -> None:
        self._seen[digest] = until
        heapq.heappush(self._ends, (until, digest))

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            del self._seen[heapq.heappop(self._ends)[1]]

    def _load(self, path: Path, now: float) -> None:
        data = path.read_bytes() if path.exists() else b""
        whole = len(data) - len(data) % _RECORD.size  # a crash may have cut the last record
        for until, length, digest in _RECORD.iter_unpack(data[:whole]):
            # A clock set back must not make what is remembered last for ever.
            if now < until <= now + 2 * self._window and digest[:length] not in self._seen:
                self._keep(digest[:length], until)

    def _begin(self, path: Path) -> None:
        """Make the file ready. On a full disk it stays as it is, and grows as soon as there is room."""
        try:
            self._compact(path)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = path.stat().st_size

    def _compact(self, path: Path) -> None:
        """Write the file anew with what still counts. OSError: it is as it was."""
        fresh = path.with_name(path.name + ".new")
        data = b"".join(_pack(digest, until) for digest, until in self._seen.items())
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(fresh))
            fresh.replace(path)
        except OSError:
            os.close(fd)
            fresh.unlink(missing_ok=True)
            raise
        self.close()
        self._fd, self._size = fd, len(data)


def _pack(digest: bytes, until: float) -> bytes:
    return _RECORD.pack(until, len(digest), digest)
