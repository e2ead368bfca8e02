"""Ends conferences by their rules: runs the machine of `ending.py` for each that has any and somebody in it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from mrfc.calls.removal import Removals
from mrfc.mp.floor_policies import is_one_of
from mrfc.roster import view
from mrfc.roster.ending import NOBODY, Ending, EndingRules, Presence
from mrfc.sip.dialog import STANDING
from mrfc.state.names import conference_logger
from mrfc.state.store import Call, Conference, Store

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    conference: Conference
    ending: Ending
    timer: asyncio.TimerHandle | None = None
    warned: bool = False


class Endings:
    """All conferences with rules."""

    def __init__(self, calls_store: Store, removals: Removals) -> None:
        self._store = calls_store
        self._removals = removals
        self._watched: dict[str, _Watched] = {}

    @property
    def watched(self) -> int:
        """Conferences that a rule may end."""
        return len(self._watched)

    def changed(self, call: Call) -> None:
        """A call is in another state, or has gone."""
        conference = self._store.conference(call.conference_user)
        if conference is None:
            self._forget(call.conference_user)
        else:
            self._look(conference)

    def configuration_changed(self) -> None:
        """Conferences may have other rules."""
        for conference in self._store.conferences():
            if conference.seats:
                self._look(conference)

    def _look(self, conference: Conference) -> None:
        rules = _rules(conference)
        if rules == EndingRules(grace=rules.grace):
            self._forget(conference.user)
            return
        watched = self._watched.get(conference.user)
        if watched is None or watched.conference is not conference:
            self._forget(conference.user)
            watched = self._watched[conference.user] = _Watched(conference, Ending(rules))
        present = self._presence(conference)
        watched.ending.changed(rules, present, _now())
        if not present.anybody:
            self._forget(conference.user)
        else:
            self._wait(watched)

    def _presence(self, conference: Conference) -> Presence:
        calls = [self._store.call_with(key) for key in conference.seats.values()]
        there = [call for call in calls if call is not None and call.state in STANDING]
        if not there:
            return NOBODY
        return Presence(
            True,
            any(view.owns(conference, call) for call in there),
            any(is_one_of(call.identity.uri, conference.terms.required) for call in there),
        )

    def _wait(self, watched: _Watched) -> None:
        if watched.timer is not None:
            watched.timer.cancel()
        deadline = watched.ending.deadline
        watched.timer = (
            None
            if deadline is None
            else asyncio.get_running_loop().call_at(deadline, self._due, watched, deadline)
        )

    def _due(self, watched: _Watched, deadline: float) -> None:
        watched.timer = None
        logger = conference_logger(log, watched.conference)
        reason = watched.ending.due(max(_now(), deadline))  # the loop may be early by its clock's resolution
        if watched.ending.warned and not watched.warned and not reason:
            watched.warned = True
            logger.warning("the conference has to end soon: it has almost lasted as long as it may")
        if not reason:
            self._wait(watched)
            return
        logger.warning("conference ended by rule: %s", reason)
        self._forget(watched.conference.user)
        calls = (self._store.call_with(key) for key in list(watched.conference.seats.values()))
        self._removals.remove([call for call in calls if call is not None], reason, "rule")

    def _forget(self, user: str) -> None:
        watched = self._watched.pop(user, None)
        if watched is not None and watched.timer is not None:
            watched.timer.cancel()


def _rules(conference: Conference) -> EndingRules:
    terms = conference.terms
    return EndingRules(
        terms.max_duration,
        terms.ends_with_owner and bool(conference.owner),
        bool(terms.required),
        terms.absence_grace,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
