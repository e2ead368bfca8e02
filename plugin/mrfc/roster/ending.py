"""When a conference has to end although somebody is in it, sans-IO (TS 24.147 5.3.2.8 leaves it to local policy).

Input: who is there, and the time; output: when to look again, and the reason to end. It begins with the first
participant and is new when all have left, which ends a conference of the factory anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

WARNING = 60.0  # seconds before the longest duration is over


@dataclass(frozen=True, slots=True)
class EndingRules:
    """`duration`: seconds that a conference may last, 0 for ever. `with_owner`: it ends when the owner has left;
    `required`: somebody of a list has to be there. `grace`: seconds for which they may be away, or come late."""

    duration: float = 0.0
    with_owner: bool = False
    required: bool = False
    grace: float = 0.0


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is there: anybody, the owner, one of those that are required."""

    anybody: bool
    owner: bool
    required: bool


NOBODY = Presence(False, False, False)


class Ending:
    """One conference. `warned` becomes true when the end by duration is near."""

    def __init__(self, rules: EndingRules) -> None:
        self._rules = rules
        self._begun: float | None = None
        self._owner_came = False
        self._owner_missed: float | None = None
        self._required_missed: float | None = None
        self.warned = False

    @property
    def deadline(self) -> float | None:
        """When to call `due`; None: no rule waits for anything."""
        times = [
            since + self._rules.grace
            for since in (self._owner_missed, self._required_missed)
            if since is not None
        ]
        if self._begun is not None and self._rules.duration:
            end = self._begun + self._rules.duration
            times.append(end if self.warned else max(self._begun, end - WARNING))
        return min(times, default=None)

    def changed(self, rules: EndingRules, present: Presence, now: float) -> None:
        """Somebody has come or left, or the rules are others now."""
        self._rules = rules
        if not present.anybody:
            self._begun = self._owner_missed = self._required_missed = None
            self._owner_came = self.warned = False
            return
        if self._begun is None:
            self._begun = now
        self._owner_came = self._owner_came or present.owner
        self._owner_missed = self._since(
            rules.with_owner and self._owner_came and not present.owner, self._owner_missed, now
        )
        self._required_missed = self._since(
            rules.required and not present.required, self._required_missed, now
        )

    @staticmethod
    def _since(missing: bool, since: float | None, now: float) -> float | None:
        if not missing:
            return None
        return now if since is None else since

    def due(self, now: float) -> str:
        """Why the conference has to end now, "" when it has not to."""
        rules = self._rules
        if self._begun is not None and rules.duration:
            if now >= self._begun + rules.duration:
                return "the conference has lasted as long as it may"
            self.warned = self.warned or now >= self._begun + rules.duration - WARNING
        if self._owner_missed is not None and now >= self._owner_missed + rules.grace:
            return "the owner has left the conference"
        if self._required_missed is not None and now >= self._required_missed + rules.grace:
            return "nobody is in the conference who has to be"
        return ""
