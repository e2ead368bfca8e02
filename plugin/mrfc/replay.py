"""Messages that were authenticated within the clock skew, so that none is accepted twice (RFC 3830 5.4)."""

from __future__ import annotations

from collections import OrderedDict


class ReplayCache:
    """Digests of authenticated messages, each kept until its timestamp is outside of the window anyway.

    window: seconds a message can still pass the timestamp check after it was seen. Memory is bounded by the rate of
    authenticated messages times the window.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def seen(self, digest: bytes, now: float) -> bool:
        """Whether this message was remembered before."""
        self._forget(now)
        return digest in self._seen

    def remember(self, digest: bytes, now: float) -> bool:
        """Remember a message; False when it is there already."""
        self._forget(now)
        if digest in self._seen:
            return False
        self._seen[digest] = now + self._window
        return True

    def _forget(self, now: float) -> None:
        while self._seen:
            digest, until = next(iter(self._seen.items()))
            if until > now:
                return
            del self._seen[digest]
