"""REFER as the focus understands it, sans-IO: what one asks for, and the subscription it implies.

RFC 3515 with RFC 4488 (no subscription), RFC 3892 (Referred-By) and the notifier rules of RFC 6665 4.2.2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mrfc.jobs import ReferJob
from mrfc.sip import uri
from mrfc.sip.refusal import Cause, Refusal, quotable
from mrfc.sip.subscription import Subscription

SIPFRAG = "message/sipfrag;version=2.0"
INTERVAL = 1.0  # seconds between two NOTIFYs of one subscription (RFC 3515 3.10)
LONGEST_REFERRED_BY = 512

# Headers in a Refer-To URI that make another request of it than an INVITE into the conference. All others would have
# the focus speak with somebody else's voice, and are left out (RFC 3261 19.1.5).
_MEANINGFUL = frozenset({"replaces", "join", "require", "target-dialog"})
_METHOD = re.compile(r";method=([^;?]*)", re.IGNORECASE)
_TOKEN_PARAMETER = re.compile(r";\s*cid\s*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a REFER asks for: whom to call, on whose behalf (a Referred-By value or ""), and whether to report.

    `remove`: the one named is not to be called, but to leave (RFC 4579 5.6), with all others if it is the conference.
    """

    invitee: str
    referred_by: str
    subscribe: bool
    remove: bool = False


def read_reference(job: ReferJob) -> Reference:
    """Take a REFER apart. Raises Refusal."""
    targets = uri.split_routes(job.refer_to)
    if len(targets) != 1:  # RFC 3515 2.4.2
        raise Refusal(Cause.BAD_REFER, f"{len(targets)} values of Refer-To")
    target, _, headers = uri.address_of(targets[0]).partition("?")
    _refuse_meaningful(headers)
    methods = {method.upper() for method in _METHOD.findall(target)}
    if methods - {"INVITE"} and methods != {"BYE"}:
        raise Refusal(Cause.REFER_UNSUPPORTED, f"method {quotable(', '.join(sorted(methods)))} in Refer-To")
    return Reference(
        invitee=_METHOD.sub("", target),  # the method has no place on a request line (RFC 3261 19.1.5)
        referred_by=_referred_by(job.referred_by),
        subscribe=job.refer_sub.partition(";")[0].strip().lower() != "false",
        remove=methods == {"BYE"},
    )


def _refuse_meaningful(headers: str) -> None:
    names = {header.partition("=")[0].strip().lower() for header in headers.split("&") if header}
    if found := sorted(names & _MEANINGFUL):
        raise Refusal(Cause.REFER_UNSUPPORTED, f"{', '.join(found)} in Refer-To")


def _referred_by(values: tuple[str, ...]) -> str:
    """The value to hand on as it is (RFC 3892 2.2)."""
    if not values:
        return ""
    value = " ".join(values[0].split())  # unfolded
    if len(values) > 1 or len(value) > LONGEST_REFERRED_BY or not value.isprintable():
        raise Refusal(Cause.BAD_REFER, "Referred-By")
    if _TOKEN_PARAMETER.search(value):
        raise Refusal(Cause.REFER_UNSUPPORTED, "a Referred-By token cannot be handed on")
    return value


@dataclass(frozen=True, slots=True)
class Notification:
    """One NOTIFY to send: its Event and Subscription-State values and the status line in its body."""

    event: str
    state: str
    status_line: str

    @property
    def body(self) -> str:
        """The message/sipfrag (RFC 3420)."""
        return f"{self.status_line}\r\n"


class ReferSubscription(Subscription[Notification]):
    """The subscription that one REFER implies, from 202 to the final NOTIFY (RFC 3515 2.4.4 to 2.4.7).

    `event_id` is the CSeq number of a REFER that is not the first of its dialog. Each method returns the NOTIFY to send
    now.
    """

    def __init__(self, event_id: int | None, duration: float, now: float) -> None:
        super().__init__(duration, INTERVAL, now)
        self._event = "refer" if event_id is None else f"refer;id={event_id}"
        self._status, self._reason = 100, "Trying"
        self._told = 0

    @property
    def _has_news(self) -> bool:
        return self._status != self._told

    def start(self, now: float) -> Notification | None:
        """The 202 is sent: the first NOTIFY follows at once."""
        return self._next(now)

    def progress(self, status: int, reason: str, now: float) -> Notification | None:
        """The referenced INVITE got a response."""
        if self._status < 200:
            self._status, self._reason = status, reason
        return self._next(now)

    def answered(self, status: int, now: float) -> Notification | None:
        """The NOTIFY under way got its final response; a failure ends the subscription."""
        self._answer_due = None
        if self._closing or not 200 <= status < 300:
            self.ended = True
        return self._next(now)

    def _due(self, now: float) -> Notification | None:
        if self._has_news and now >= self._earliest:
            final = self._status >= 200
            left = max(1, math.ceil(self._expiry - now))
            return self._notify("terminated;reason=noresource" if final else f"active;expires={left}", now)
        if now >= self._expiry:
            return self._notify("terminated;reason=timeout", now)
        return None

    def _notify(self, state: str, now: float) -> Notification:
        self._told = self._status
        self._sent(state, now)
        return Notification(self._event, state, f"SIP/2.0 {self._status} {quotable(self._reason)}")
