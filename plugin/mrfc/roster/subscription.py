"""A subscription to a conference, sans-IO: when to notify, what of, and when it ends (RFC 6665 4.2, RFC 4575 3).

Input: what happened, and the time; output: the NOTIFY to send now, or None. One NOTIFY is under way at a time, and
`interval` seconds lie between two of them; what happens meanwhile is told by the next one. Only what a SUBSCRIBE asks
for, and the rest of a state that did not fit one document, follow at once.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from mrfc.roster.roster import NOTHING
from mrfc.sip.subscription import Subscription

MOST_FAILURES = 3

GONE = frozenset({404, 405, 408, 410, 416, *range(480, 486), 489, 501, 604})
"""Responses after which there is nobody to notify (RFC 6665 4.2.2); others may be better the next time."""


class Content(enum.Enum):
    """What the body of a NOTIFY tells."""

    STATE = "state"  # what changed since the number `known` of the subscription
    DELETED = "deleted"  # the conference has ceased to exist
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Notice:
    """A NOTIFY to send: the value of Subscription-State, and what the body tells."""

    state: str
    content: Content


class ConferenceSubscription(Subscription[Notice]):
    """From the 200 to the final NOTIFY. `event` is the value of Event.

    `known` is the number of the last change that was told, `begun` that of the last one when the full state was told,
    `version` that of the last document.
    """

    def __init__(self, event: str, expires: int, interval: float, now: float) -> None:
        super().__init__(expires, interval, now)
        self.event = event
        self.known = self.begun = NOTHING
        self.version = 0
        self._latest = NOTHING
        self._due_at_once = True
        self._end = ""
        self._failures = 0

    @property
    def ending(self) -> bool:
        """Whether the last NOTIFY is under way, or due."""
        return self.ended or self._closing or bool(self._end)

    @property
    def _has_news(self) -> bool:
        return self.known < self._latest

    def subscribed(self, expires: int, latest: int, now: float) -> Notice | None:
        """The SUBSCRIBE, or one more of them, was answered 200: the full state follows (4.2.1.2)."""
        self._expiry = now + expires
        self._latest, self.known = latest, NOTHING
        self._due_at_once = True
        return self._next(now)

    def news(self, latest: int, now: float) -> Notice | None:
        """The conference has changed; `latest` is the number of the change."""
        self._latest = max(latest, self._latest)
        return self._next(now)

    def told(self, known: int, now: float) -> None:
        """The NOTIFY that was asked for carries a state up to this number."""
        self.known = known
        self.version += 1
        if self._has_news:  # it did not fit
            self._earliest = now

    def answered(self, status: int, now: float) -> Notice | None:
        """The NOTIFY under way has its final response."""
        self._answer_due = None
        if self._closing or status in GONE:
            self.ended = True
        elif 200 <= status < 300:
            self._failures = 0
        else:  # it may have missed a version: what comes next is the full state
            self._failures += 1
            self.known, self._earliest = NOTHING, now + self._interval
            self.ended = self._failures >= MOST_FAILURES
        return self._next(now)

    def end(self, reason: str, now: float) -> Notice | None:
        """There will be no more to tell: "noresource", "rejected" or "deactivated" (4.1.3)."""
        self._end = self._end or reason
        return self._next(now)

    def _due(self, now: float) -> Notice | None:
        if self._end:
            content = Content.DELETED if self._end == "noresource" else Content.NOTHING
            return self._notice(f"terminated;reason={self._end}", content, now)
        if now >= self._expiry:
            return self._notice("terminated;reason=timeout", Content.STATE, now)
        if self._due_at_once or (self._has_news and now >= self._earliest):
            left = max(1, math.floor(self._expiry - now + 0.001))  # never longer than was agreed (4.2.2)
            return self._notice(f"active;expires={left}", Content.STATE, now)
        return None

    def _notice(self, state: str, content: Content, now: float) -> Notice:
        self._due_at_once = False
        self._sent(state, now)
        return Notice(state, content)
