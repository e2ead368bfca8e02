"""The session timer of one dialog (RFC 4028), sans-IO: both sides of the negotiation, who refreshes, and when.

A 2xx to an INVITE or UPDATE, ours or theirs, agrees on an interval and a refresher, or on having no timer. The
refresher refreshes at half of the interval; a session that is not refreshed in time is ended a bit before it expires.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mrfc.jobs import Headers
from mrfc.sip.headers import delta_seconds, parameter, tokens, value
from mrfc.sip.port import Fields
from mrfc.sip.refusal import Cause, Refusal

OPTION = "timer"
DEFAULT_MIN_SE = 90  # seconds, what a request without Min-SE says (RFC 4028 5)
LONGEST_MIN_SE = 86_400  # seconds; who asks for more in a 422 gets no session
LAST_WORD = (
    32.0  # seconds before the expiry at which a session is given up, or a third of short intervals (10)
)


@dataclass(frozen=True, slots=True)
class TimerPolicy:
    """What we want, in seconds: the interval that we ask for and keep to, and the shortest one that we accept."""

    interval: int
    minimum: int


class Due(enum.Enum):
    """What has to be done when time has passed."""

    REFRESH = "refresh"
    EXPIRE = "expire"


def check_interval(headers: Headers, policy: TimerPolicy) -> None:
    """Look at the Session-Expires of an INVITE or UPDATE. Raises Refusal (422) when it is too short.

    Only a sender that knows session timers can try again; what a proxy asks for in its stead is taken (RFC 4028 9).
    """
    interval = delta_seconds(value(headers, "Session-Expires"))
    if interval is not None and interval < policy.minimum and OPTION in tokens(headers, "Supported"):
        raise Refusal(Cause.INTERVAL_TOO_SMALL, headers=(("Min-SE", str(policy.minimum)),))


class SessionTimer:
    """One dialog; `interval` is 0 while no timer is agreed on, `ours` says that we refresh."""

    __slots__ = ("_end_at", "_least", "_policy", "_refresh_at", "interval", "ours")

    def __init__(self, policy: TimerPolicy) -> None:
        self._policy = policy
        self._least = policy.minimum  # grows with each 422
        self.interval = 0
        self.ours = False
        self._refresh_at: float | None = None
        self._end_at: float | None = None

    @property
    def deadline(self) -> float | None:
        """When to call `tick`, None for never."""
        return self._refresh_at if self._refresh_at is not None else self._end_at

    def reply(self, headers: Headers, now: float) -> Fields:
        """What our 2xx to an INVITE or UPDATE says; the interval starts with it (RFC 4028 9)."""
        asked = delta_seconds(value(headers, "Session-Expires"))
        knows = OPTION in tokens(headers, "Supported")
        if asked is None and not knows:
            self._stop()
            return ()
        least = max(delta_seconds(value(headers, "Min-SE")) or 0, self._policy.minimum)
        wanted = max(self._policy.interval, least)
        wish = parameter(value(headers, "Session-Expires"), "refresher").lower()
        we_refresh = not knows or wish == "uas" or (wish != "uac" and self.interval > 0 and self.ours)
        self._start(wanted if asked is None else min(asked, wanted), we_refresh, now)
        said = ("Session-Expires", f"{self.interval};refresher={'uas' if we_refresh else 'uac'}")
        return (said, ("Require", OPTION)) if knows else (said,)

    def ask(self) -> Fields:
        """What an INVITE or UPDATE of ours says; the first one leaves it to the peer who refreshes (RFC 4028 7)."""
        interval = max(self.interval or self._policy.interval, self._least)
        least = (("Min-SE", str(self._least)),) if self._least > DEFAULT_MIN_SE else ()
        role = "" if not self.interval else f";refresher={'uac' if self.ours else 'uas'}"
        return (("Session-Expires", f"{interval}{role}"), *least)

    def agreed(self, headers: Headers, now: float) -> None:
        """A 2xx to an INVITE or UPDATE of ours; one without Session-Expires ends the timer (RFC 4028 7.2)."""
        said = value(headers, "Session-Expires")
        interval = delta_seconds(said)
        if interval is None:
            self._stop()
        else:
            ours = parameter(said, "refresher").lower() != "uas"
            self._start(max(interval, self._policy.minimum), ours, now)

    def too_small(self, headers: Headers) -> bool:
        """A 422 to an INVITE or UPDATE of ours. True: try again, with what `ask` says now (RFC 4028 7.3)."""
        least = delta_seconds(value(headers, "Min-SE"))
        if (
            least is None
            or not max(self._least, self.interval or self._policy.interval) < least <= LONGEST_MIN_SE
        ):
            return False
        self._least = least
        return True

    def failed(self, now: float) -> None:
        """Our refresh was refused, and the session stands: try again before it ends."""
        if self._end_at is not None and self._end_at - now > 1.0:
            self._refresh_at = now + (self._end_at - now) / 2

    def tick(self, now: float) -> Due | None:
        """Time has passed."""
        if self._end_at is not None and now >= self._end_at:
            self._stop()
            return Due.EXPIRE
        if self._refresh_at is not None and now >= self._refresh_at:
            self._refresh_at = None
            return Due.REFRESH
        return None

    def _start(self, interval: int, ours: bool, now: float) -> None:
        self.interval, self.ours = interval, ours
        self._end_at = now + interval - min(LAST_WORD, interval / 3)
        self._refresh_at = now + interval / 2 if ours else None

    def _stop(self) -> None:
        self.interval, self.ours, self._refresh_at, self._end_at = 0, False, None, None
