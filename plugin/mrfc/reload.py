"""Another configuration for an MRFC that runs: what can change while calls stand, and what cannot."""

from __future__ import annotations

from collections.abc import Iterable

from mrf_ops.config import changed_keys
from mrfc.config import Floor, MrfcConfig
from mrfc.state.store import Conference, Store

LIVE = ("log", "limits", "roster", "conference", "factory", "guard", "trunk")
"""Tables that a reload takes over; the others need a restart of Kamailio, which ends all calls."""


def take_over(running: MrfcConfig, wanted: MrfcConfig, store: Store) -> dict[str, list[str]]:
    """Change `running` and the store in place; gives the keys that are "changed" and that "need_restart".

    A conference that is no longer configured goes with its last participant. One that is not empty gets new policies of
    its floors at once; other floors, or other streams of one, only when it is empty the next time a reload comes by.
    """
    changed = changed_keys(running, wanted)
    _conferences(wanted, store)
    running.log, running.limits, running.roster = wanted.log, wanted.limits, wanted.roster
    running.conference, running.factory = wanted.conference, wanted.factory
    running.guard, running.trunk = wanted.guard, wanted.trunk
    return {
        "changed": [key for key in changed if key.partition(".")[0] in LIVE],
        "need_restart": [key for key in changed if key.partition(".")[0] not in LIVE],
    }


def _streams(floors: Iterable[Floor]) -> dict[int, list[str]]:
    """What participants were told of the floors when they joined."""
    return {floor.id: floor.streams for floor in floors}


def _conferences(wanted: MrfcConfig, store: Store) -> None:
    names = {conference.user for conference in wanted.conference}
    for present in store.conferences():
        if present.permanent and present.user not in names:
            present.permanent = False
            if not present.seats:
                store.remove_conference(present.user)
    for conference in wanted.conference:
        known = store.conference(conference.user)
        if known is not None and known.seats:
            known.permanent = True
            known.terms = conference
            known.owner = known.owner_shown = conference.owner
            if _streams(conference.floors) == _streams(known.floors):
                known.floors = tuple(conference.floors)
            continue
        if known is not None:
            store.remove_conference(known.user)
        store.add_conference(Conference.configured(conference))
