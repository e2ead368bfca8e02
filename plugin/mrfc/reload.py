"""Another configuration for an MRFC that runs: what can change while calls stand, and what cannot."""

from __future__ import annotations

from mrf_ops.config import changed_keys
from mrfc.config import MrfcConfig
from mrfc.store import Conference, Store

LIVE = ("log", "limits", "conference", "factory")
"""Tables that a reload takes over; the others need a restart of Kamailio, which ends all calls."""


def take_over(running: MrfcConfig, wanted: MrfcConfig, store: Store) -> dict[str, list[str]]:
    """Change `running` and the store in place; gives the keys that are "changed" and that "need_restart".

    A conference that is no longer configured goes with its last participant, and one whose floors have changed gets
    the new ones when it is empty the next time a reload comes by; both stay as they are for those who are in.
    """
    changed = changed_keys(running, wanted)
    _conferences(wanted, store)
    running.log, running.limits = wanted.log, wanted.limits
    running.conference, running.factory = wanted.conference, wanted.factory
    return {
        "changed": [key for key in changed if key.partition(".")[0] in LIVE],
        "need_restart": [key for key in changed if key.partition(".")[0] not in LIVE],
    }


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
            continue
        if known is not None:
            store.remove_conference(known.user)
        store.add_conference(
            Conference(conference.user, conference.id, tuple(conference.floors), permanent=True)
        )
