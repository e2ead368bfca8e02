"""Replay cache: authenticated messages are answered once, also across a restart (RFC 3830 5.4, RFC 6043
12.4).
"""

import os
import struct
from collections import deque
from pathlib import Path

_RECORD = struct.Struct("!d32s")
_COMPACT_AT = 1 << 20
"""Octets of the file beyond which it is written anew."""


class ReplayCache:
    """Remembers messages (by their MAC, at most 32 octets) for `window` seconds.

    A message with a timestamp `skew` off either way is refused by its timestamp after 2 * skew at the latest,
    so that is the window. The file at `path` lets a restarted KMS know what it answered before; None keeps it
    in memory only.
    """

    def __init__(self, window: float, path: Path | None = None, now: float = 0.0) -> None:
        self._window = window
        self._path = path
        self._known: set[bytes] = set()
        self._order: deque[tuple[float, bytes]] = deque()
        self._fd = -1
        self._size = 0
        if path is not None:
            self._load(path, now)
            self._compact()

    def __len__(self) -> int:
        return len(self._known)

    def first_time(self, key: bytes, now: float) -> bool:
        """Remember a message; False when it was seen before."""
        order, known = self._order, self._known
        while order and order[0][0] < now:
            known.discard(order.popleft()[1])
        key = key.ljust(32, b"\0")
        if key in known:
            return False
        until = now + self._window
        known.add(key)
        order.append((until, key))
        if self._fd >= 0:
            self._size += os.write(self._fd, _RECORD.pack(until, key))
            if self._size > max(_COMPACT_AT, 4 * _RECORD.size * len(known)):
                self._compact()
        return True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _load(self, path: Path, now: float) -> None:
        data = path.read_bytes() if path.exists() else b""
        whole = len(data) - len(data) % _RECORD.size  # the last record may be cut by a crash
        for until, key in _RECORD.iter_unpack(data[:whole]):
            if now <= until and key not in self._known:
                self._known.add(key)
                self._order.append((until, key))

    def _compact(self) -> None:
        """Write the file anew with what still counts."""
        if self._path is None:
            return
        self.close()
        fresh = self._path.with_name(self._path.name + ".new")
        data = b"".join(_RECORD.pack(until, key) for until, key in self._order)
        self._fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.write(self._fd, data)
        fresh.replace(self._path)
