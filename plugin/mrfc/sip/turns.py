"""Whose turn it is to change a session: INVITE and UPDATE within one dialog, both directions, sans-IO.

Ours go one at a time, and none while one of the peer is under way (RFC 3261 14.1); what the peer sends out of turn is
refused (RFC 3261 14.2, RFC 3311 5.2). A 491 for ours is tried again after the time of RFC 3261 14.1, a 500 or 503
after its Retry-After.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mrfc.sip.refusal import Cause, Refusal

ATTEMPTS = 6
"""How often a request is sent before its 491, 500 or 503 is taken for an answer."""
LONGEST_RETRY_AFTER = 32  # seconds; who says more says no
PROVISIONAL_LIMIT = 180.0  # seconds that an INVITE of ours may take once the peer has said 1xx
OUT_OF_TURN_WAIT = 10  # seconds; RFC 3261 14.2 and RFC 3311 5.2 want Retry-After between 0 and 10

ENDS_DIALOG = frozenset({404, 408, 410, 416, 480, 481, 482, 483, 484, 485, 502, 604})
"""Statuses after which the call is over: RFC 5057 5.1, and 408 by RFC 3261 12.2.1.2."""


class Verdict(enum.Enum):
    """What became of a request of ours."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # the session stays as it was
    ENDED = "ended"  # the dialog is over


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """A request that we want to send: INVITE, or UPDATE; `offers`: its body is an offer."""

    method: str
    offers: bool


@dataclass(frozen=True, slots=True)
class Result:
    """A wish is over; status 408 also stands for no response at all, 503 for one that could not be sent."""

    wish: Wish
    verdict: Verdict
    status: int


@dataclass(slots=True)
class _Ours:
    wish: Wish
    cseq: int


@dataclass(slots=True)
class _Theirs:
    method: str
    offers: bool
    answered: bool = False


class Turns:
    """One dialog.

    Ask `due` after each call for the wish to send now, tell `sent` its CSeq number, and call `tick` at `deadline`.
    `owner`: we made the Call-ID; `random` gives numbers from 0 to below 1; `timeout` is 64*T1 in seconds.
    `confirmed`: False while our 2xx, which made the dialog, waits for its ACK: so long nothing of ours is due.
    """

    def __init__(
        self, *, owner: bool, random: Callable[[], float], timeout: float = 32.0, confirmed: bool = True
    ) -> None:
        self._owner = owner
        self._confirmed = confirmed
        self._random = random
        self._timeout = timeout
        self._wishes: deque[Wish] = deque()
        self._attempts = 0
        self._not_before = 0.0
        self._ours: _Ours | None = None
        self._limit = 0.0
        self._theirs: dict[int, _Theirs] = {}

    @property
    def idle(self) -> bool:
        """Nothing is under way and nothing waits: this object can be forgotten."""
        return not self._wishes and self._ours is None and not self._theirs

    @property
    def deadline(self) -> float | None:
        """When to call `tick`, None for never."""
        if self._ours is not None:
            return self._limit
        return self._not_before if self._wishes and not self._theirs and self._confirmed else None

    # ours

    def want(self, wish: Wish) -> None:
        """Another request to send when its turn comes."""
        self._wishes.append(wish)

    def withdraw(self, wish: Wish) -> None:
        """A request that nobody wants any more; one that is under way takes its course."""
        if wish in self._wishes:
            if self._wishes[0] is wish:
                self._attempts, self._not_before = 0, 0.0
            self._wishes.remove(wish)

    def due(self, now: float) -> Wish | None:
        """The wish whose request has to be sent now."""
        if self._ours is not None or self._theirs or not self._confirmed:
            return None
        if not self._wishes or now < self._not_before:
            return None
        return self._wishes[0]

    def sent(self, cseq: int, now: float) -> None:
        """The request of the wish that was due is on its way, with this number."""
        self._ours = _Ours(self._wishes.popleft(), cseq)
        self._attempts += 1
        self._limit = now + self._timeout

    def not_sent(self) -> Result:
        """The request of the wish that was due could not be sent (RFC 3261 8.1.3.1: as if 503 had come)."""
        return self._over(self._wishes.popleft(), Verdict.REFUSED, 503)

    def response(self, cseq: int, status: int, retry_after: int | None, now: float) -> Result | None:
        """A response to a request of ours; None while it is not over, or when the number is of none under way."""
        ours = self._ours
        if ours is None or ours.cseq != cseq:
            return None
        if status < 200:
            self._limit = now + PROVISIONAL_LIMIT if ours.wish.method == "INVITE" else self._limit
            return None
        self._ours = None
        wait = self._wait(status, retry_after)
        if wait is not None and self._attempts < ATTEMPTS:
            self._wishes.appendleft(ours.wish)
            self._not_before = now + wait
            return None
        if status < 300:
            return self._over(ours.wish, Verdict.ACCEPTED, status)
        return self._over(ours.wish, Verdict.ENDED if status in ENDS_DIALOG else Verdict.REFUSED, status)

    def tick(self, now: float) -> Result | None:
        """Time has passed."""
        if self._ours is None or now < self._limit:
            return None
        wish, self._ours = self._ours.wish, None
        return self._over(wish, Verdict.ENDED, 408)

    def end(self) -> list[Wish]:
        """The dialog has ended; gives what was under way or waited."""
        left = [*([self._ours.wish] if self._ours is not None else []), *self._wishes]
        self._ours, self._wishes, self._theirs = None, deque(), {}
        return left

    def is_ours(self, cseq: int) -> bool:
        """Whether a request of ours with this number is under way."""
        return self._ours is not None and self._ours.cseq == cseq

    def _over(self, wish: Wish, verdict: Verdict, status: int) -> Result:
        self._attempts, self._not_before = 0, 0.0
        return Result(wish, verdict, status)

    def _wait(self, status: int, retry_after: int | None) -> float | None:
        if status == 491:  # RFC 3261 14.1, in units of 10 ms
            low, high = (2.1, 4.0) if self._owner else (0.0, 2.0)
            return low + round(self._random() * (high - low), 2)
        if status in (500, 503) and retry_after is not None and retry_after <= LONGEST_RETRY_AFTER:
            return float(retry_after)
        return None

    # theirs

    def arrived(self, method: str, cseq: int, offers: bool) -> None:
        """An INVITE or UPDATE of the peer; it is under way from now on. Raises Refusal when it is out of turn.

        An INVITE of theirs that waits for its ACK only does not stand in the way of another one (ACKs get lost).
        """
        unanswered = [each for each in self._theirs.values() if not each.answered]
        if any(each.method == method for each in unanswered):
            raise self._out_of_turn()
        if method == "INVITE" and self._ours is not None:
            raise Refusal(Cause.PENDING)
        if offers and self._ours is not None and self._ours.wish.offers:
            raise Refusal(Cause.PENDING)
        if offers and any(each.offers for each in unanswered):
            raise self._out_of_turn()
        if any(each.answered and not each.offers for each in self._theirs.values()) and (
            offers or method == "INVITE"
        ):
            raise Refusal(Cause.PENDING)  # our offer in a 200 waits for the answer in its ACK
        if method == "INVITE":
            self._theirs = {number: each for number, each in self._theirs.items() if not each.answered}
        self._theirs[cseq] = _Theirs(method, offers)

    def answered(self, cseq: int, status: int) -> None:
        """We have answered a request of the peer; a 2xx for an INVITE still waits for its ACK."""
        theirs = self._theirs.get(cseq)
        if theirs is None:
            return
        if theirs.method == "INVITE" and 200 <= status < 300:
            theirs.answered = True
        else:
            del self._theirs[cseq]

    def acknowledged(self, cseq: int) -> None:
        """The ACK of an INVITE of the peer came, or it is not waited for any longer."""
        self._confirmed = True
        self._theirs.pop(cseq, None)

    def _out_of_turn(self) -> Refusal:
        wait = int(self._random() * (OUT_OF_TURN_WAIT + 1))
        return Refusal(Cause.OUT_OF_TURN, retry_after=wait)
