"""Session timers of the legs (RFC 4028): a mixer that has gone without a BYE is noticed when a refresh fails.

The machine is in mrfc.sip.session_timer. A mixer that does not know session timers is refreshed by us all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mrfc import jobs
from mrfc.config import MrfcConfig
from mrfc.jobs import CallKey, Headers
from mrfc.mixer.pairs import Pair
from mrfc.sip import headers
from mrfc.sip.port import Fields
from mrfc.sip.session_timer import OPTION, Due, SessionTimer, TimerPolicy, check_interval

RETRY = 1.0
"""Seconds until a leg is looked at again that cannot be refreshed because something else is under way in it."""


class LegTimers:
    """The timers of all legs, none where the configuration wants none.

    `ready` says whether a leg can be refreshed or given up right now, `on_due` does it.
    """

    def __init__(
        self, config: MrfcConfig, ready: Callable[[Pair], bool], on_due: Callable[[Pair, Due], None]
    ) -> None:
        self._interval = config.mixer.session_expires
        self._policy = TimerPolicy(self._interval, min(config.sip.min_se, self._interval))
        self._ready = ready
        self._on_due = on_due
        self._timers: dict[CallKey, SessionTimer] = {}
        self._handles: dict[CallKey, asyncio.TimerHandle] = {}

    @property
    def options(self) -> tuple[str, ...]:
        """Option tags that the mixer may require."""
        return (OPTION,) if self._interval else ()

    def ask(self, pair: Pair) -> Fields:
        """What an INVITE of ours says."""
        return (("Supported", OPTION), *self._timer(pair).ask()) if self._interval else ()

    def agreed(self, pair: Pair, job: jobs.ResponseJob) -> None:
        """A 2xx to an INVITE of ours."""
        if not self._interval:
            return
        said = job.headers
        if not headers.value(said, "Session-Expires"):
            said = (("session-expires", f"{self._interval};refresher=uac"),)
        self._timer(pair).agreed(said, _now())
        self._wait(pair)

    def too_small(self, pair: Pair, job: jobs.ResponseJob) -> bool:
        """A final response to an INVITE of ours. True: a 422, and another INVITE may pass."""
        return job.status == 422 and bool(self._interval) and self._timer(pair).too_small(job.headers)

    def check(self, job: jobs.RequestJob) -> None:
        """Look at an INVITE or UPDATE of the mixer before anything is done for it. Raises Refusal (422)."""
        if self._interval:
            check_interval(job.headers, self._policy)

    def reply(self, pair: Pair, asked: Headers) -> Fields:
        """What our 2xx to an INVITE or UPDATE of the mixer says."""
        if not self._interval:
            return ()
        fields = self._timer(pair).reply(asked, _now())
        if not fields:  # it says nothing of timers
            self._timer(pair).agreed((("session-expires", f"{self._interval};refresher=uac"),), _now())
        self._wait(pair)
        return fields

    def refused(self, pair: Pair) -> None:
        """The mixer does not take our refresh now: once more before the session ends."""
        self._timer(pair).failed(_now())
        self._wait(pair)

    def forget(self, pair: Pair) -> None:
        """The leg has ended."""
        key = pair.leg.dialog.key
        self._timers.pop(key, None)
        if (handle := self._handles.pop(key, None)) is not None:
            handle.cancel()

    def _timer(self, pair: Pair) -> SessionTimer:
        return self._timers.setdefault(pair.leg.dialog.key, SessionTimer(self._policy))

    def _wait(self, pair: Pair) -> None:
        if (deadline := self._timer(pair).deadline) is not None:
            self._at(pair, deadline)

    def _at(self, pair: Pair, moment: float) -> None:
        key = pair.leg.dialog.key
        if (handle := self._handles.pop(key, None)) is not None:
            handle.cancel()
        self._handles[key] = asyncio.get_running_loop().call_at(moment, self._tick, pair)

    def _tick(self, pair: Pair) -> None:
        if not self._ready(pair):
            self._at(pair, _now() + RETRY)
            return
        timer = self._timer(pair)
        due = timer.tick(
            max(_now(), timer.deadline or 0.0)
        )  # the loop may be early by its clock's resolution
        self._wait(pair)
        if due is not None:
            self._on_due(pair, due)


def _now() -> float:
    return asyncio.get_running_loop().time()
