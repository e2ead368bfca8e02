"""Reliable provisional responses (RFC 3262), sans-IO: ours until their PRACK, and the peer's in their order."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

OPTION = "100rel"
T1 = 0.5  # seconds
GIVE_UP = 64 * T1
FIRST_LIMIT = 2**31  # the first RSeq of a request is below it (3)

_RACK = re.compile(r"\s*(\d{1,10})\s+(\d{1,10})\s+(\S+)\s*")


class Due(enum.Enum):
    """What has to be done when time has passed."""

    SEND_AGAIN = "send again"
    GIVE_UP = "give up"


class Waiting:
    """A provisional response of ours that waits for its PRACK: sent again after T1, 2*T1, ..., given up after 64*T1."""

    def __init__(self, rseq: int, cseq: int, now: float) -> None:
        self.rseq = rseq
        self._cseq = cseq
        self._pause = T1
        self._next = now + T1
        self._end = now + GIVE_UP
        self.acknowledged = False

    @property
    def deadline(self) -> float | None:
        """When to call `tick`, None for never."""
        return None if self.acknowledged else min(self._next, self._end)

    def prack(self, rack: str) -> bool:
        """A PRACK came; `rack` is its RAck. False: it is for nothing that waits, and gets 481 (3)."""
        found = _RACK.fullmatch(rack)
        if self.acknowledged or found is None:
            return False
        self.acknowledged = (int(found[1]), int(found[2]), found[3]) == (self.rseq, self._cseq, "INVITE")
        return self.acknowledged

    def tick(self, now: float) -> Due | None:
        """Time has passed."""
        if self.acknowledged or now < min(self._next, self._end):
            return None
        if now >= self._end:
            self.acknowledged = True  # nothing is waited for any longer
            return Due.GIVE_UP
        self._pause *= 2
        self._next += self._pause
        return Due.SEND_AGAIN


@dataclass(slots=True)
class Received:
    """The reliable provisional responses to one INVITE of ours, by the tag of the peer (4)."""

    last: dict[str, int] = field(default_factory=dict)

    def accept(self, remote_tag: str, rseq: int | None) -> bool:
        """Whether a response is the next one of its dialog, to be acknowledged; others are copies or come too early."""
        if rseq is None or not 0 < rseq < 2**32:
            return False
        if remote_tag in self.last and rseq != self.last[remote_tag] + 1:
            return False
        self.last[remote_tag] = rseq
        return True
