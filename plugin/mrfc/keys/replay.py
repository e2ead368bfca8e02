"""Messages that were authenticated within the clock skew, so that none is accepted twice (RFC 3830 5.4)."""

from __future__ import annotations

import contextlib
import os
import struct
from collections import OrderedDict
from pathlib import Path

_RECORD = struct.Struct("!dB32s")
_COMPACT_AT = 1 << 20
"""Octets of the file beyond which it is written anew."""


class ReplayCache:
    """Digests of authenticated messages, each kept until its timestamp is outside of the window anyway.

    window: seconds a message can still pass the timestamp check after it was seen. Memory is bounded by the rate of
    authenticated messages times the window. `path` names a file that an engine started again reads, so that it knows
    what it accepted before; `now` is Unix time. A file that cannot be used raises OSError here; later it is no reason
    to refuse calls.
    """

    def __init__(self, window: float, path: Path | None = None, now: float = 0.0) -> None:
        self._window = window
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._path = path
        self._fd = -1
        self._size = 0
        if path is not None:
            self._load(path, now)
            self._compact(path)

    def __len__(self) -> int:
        return len(self._seen)

    def seen(self, digest: bytes, now: float) -> bool:
        """Whether this message was remembered before."""
        self._forget(now)
        return digest in self._seen

    def remember(self, digest: bytes, now: float) -> bool:
        """Remember a message, named by at most 32 octets; False when it is there already."""
        self._forget(now)
        if digest in self._seen:
            return False
        until = self._seen[digest] = now + self._window
        if self._path is not None and self._fd >= 0:
            with contextlib.suppress(OSError):
                self._size += os.write(self._fd, _pack(digest, until))
                if self._size > max(_COMPACT_AT, 4 * _RECORD.size * len(self._seen)):
                    self._compact(self._path)
        return True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _forget(self, now: float) -> None:
        while self._seen:
            digest, until = next(iter(self._seen.items()))
            if until > now:
                return
            del self._seen[digest]

    def _load(self, path: Path, now: float) -> None:
        data = path.read_bytes() if path.exists() else b""
        whole = len(data) - len(data) % _RECORD.size  # a crash may have cut the last record
        records = [(until, digest[:length]) for until, length, digest in _RECORD.iter_unpack(data[:whole])]
        for until, digest in sorted(records):
            # A clock set back must not make what is remembered last for ever.
            if now < until <= now + 2 * self._window:
                self._seen[digest] = until

    def _compact(self, path: Path) -> None:
        """Write the file anew with what still counts."""
        fresh = path.with_name(path.name + ".new")
        data = b"".join(_pack(digest, until) for digest, until in self._seen.items())
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.write(fd, data)
        fresh.replace(path)
        self.close()
        self._fd = fd


def _pack(digest: bytes, until: float) -> bytes:
    return _RECORD.pack(until, len(digest), digest)
