"""Two dialogs in step: a participant's with us, and ours with the mixer that serves his media. As a table, sans-IO.

Events in, actions out; a pair that is not in the table changes nothing. Whoever offers first is served first: offers
are taken in STANDING only, others are answered 491 (RFC 3261 14.1). A change that the participant has withdrawn, or
that the mixer answers too late, is taken back at the mixer, so that both mean the same session again.
"""

from __future__ import annotations

import enum


class PairState(enum.Enum):
    """Where the pair stands."""

    ASKING = "asking"  # our INVITE has no final response yet
    STANDING = "standing"
    CHANGING = "changing"  # the participant's new offer is at the mixer
    RETURNING = "returning"  # nobody waits any more for the answer to that offer
    RESTORING = "restoring"  # the offer before is at the mixer again
    REFRESHING = "refreshing"  # the session that holds is at the mixer again, unchanged
    TOLD = "told"  # the mixer's new offer is at the participant
    LEAVING = "leaving"  # our INVITE is cancelled, its final response is awaited
    OVER = "over"


class PairEvent(enum.Enum):
    """What can happen."""

    ACCEPTED = "accepted"  # a 2xx of the mixer whose answer can be used
    UNUSABLE = "unusable"  # a 2xx whose answer cannot, or serves nothing
    REFUSED = "refused"  # another final response, or the request could not be sent
    GONE = "gone"  # a final response that says that the mixer has no such dialog, or that there is no mixer
    LATE = "late"  # no final response in time
    REOFFER = "reoffer"  # the participant offers something else
    WITHDRAWN = "withdrawn"  # he does not wait for the answer any more
    UNDONE = "undone"  # his change was accepted here, but it has not come to anything with him
    REFRESH = "refresh"  # it is time to ask whether the mixer is still there
    EXPIRED = "expired"  # nobody has refreshed the session in time
    LEFT = "left"  # he has left, or offers no media any more
    MIXER_OFFER = "mixer offer"
    MIXER_BYE = "mixer bye"
    TOOK = "took"  # the participant has answered the mixer's offer
    DECLINED = "declined"  # he has refused it


class PairAction(enum.Enum):
    """What to do."""

    CANCEL = "cancel"  # our INVITE to the mixer
    BYE = "bye"  # to the mixer
    ANSWER = "answer"  # the participant gets the mixer's answer
    DECLINE = "decline"  # he gets none: his media are declined, or his INVITE is refused
    KEEP = "keep"  # his change is refused, the session stays as it was
    FORWARD = "forward"  # his new offer goes to the mixer
    RESTORE = "restore"  # his old one does
    REFRESH = "refresh"  # what holds goes to the mixer
    POSTPONE = "postpone"  # that is tried again later
    TELL = "tell"  # the mixer's new offer goes to him
    REPLY = "reply"  # his answer goes to the mixer
    REJECT = "reject"  # the mixer's offer is answered 488
    LOSE = "lose"  # he is told that his media have gone, or hung up


_S, _E, _A = PairState, PairEvent, PairAction
Step = tuple[PairState, tuple[PairAction, ...]]

TRANSITIONS: dict[tuple[PairState, PairEvent], Step] = {
    (_S.ASKING, _E.ACCEPTED): (_S.STANDING, (_A.ANSWER,)),
    (_S.ASKING, _E.UNUSABLE): (_S.OVER, (_A.BYE, _A.DECLINE)),
    (_S.ASKING, _E.REFUSED): (_S.OVER, (_A.DECLINE,)),
    (_S.ASKING, _E.GONE): (_S.OVER, (_A.DECLINE,)),
    (_S.ASKING, _E.LATE): (_S.LEAVING, (_A.CANCEL, _A.DECLINE)),
    (_S.ASKING, _E.WITHDRAWN): (_S.LEAVING, (_A.CANCEL,)),
    (_S.ASKING, _E.LEFT): (_S.LEAVING, (_A.CANCEL,)),
    (_S.LEAVING, _E.ACCEPTED): (_S.OVER, (_A.BYE,)),  # our CANCEL came too late
    (_S.LEAVING, _E.UNUSABLE): (_S.OVER, (_A.BYE,)),
    (_S.LEAVING, _E.REFUSED): (_S.OVER, ()),
    (_S.LEAVING, _E.GONE): (_S.OVER, ()),
    (_S.LEAVING, _E.LATE): (_S.OVER, ()),
    (_S.STANDING, _E.REOFFER): (_S.CHANGING, (_A.FORWARD,)),
    (_S.STANDING, _E.MIXER_OFFER): (_S.TOLD, (_A.TELL,)),
    (_S.STANDING, _E.MIXER_BYE): (_S.OVER, (_A.LOSE,)),
    (_S.STANDING, _E.UNDONE): (_S.RESTORING, (_A.RESTORE,)),
    (_S.STANDING, _E.REFRESH): (_S.REFRESHING, (_A.REFRESH,)),
    (_S.STANDING, _E.EXPIRED): (_S.OVER, (_A.BYE, _A.LOSE)),
    (_S.STANDING, _E.LEFT): (_S.OVER, (_A.BYE,)),
    (_S.CHANGING, _E.ACCEPTED): (_S.STANDING, (_A.ANSWER,)),
    (_S.CHANGING, _E.UNUSABLE): (_S.OVER, (_A.BYE, _A.DECLINE)),
    (_S.CHANGING, _E.REFUSED): (_S.STANDING, (_A.KEEP,)),
    (_S.CHANGING, _E.GONE): (_S.OVER, (_A.DECLINE,)),
    (_S.CHANGING, _E.LATE): (_S.RETURNING, (_A.KEEP,)),
    (_S.CHANGING, _E.WITHDRAWN): (_S.RETURNING, ()),
    (_S.CHANGING, _E.MIXER_BYE): (_S.OVER, (_A.DECLINE,)),
    (_S.CHANGING, _E.LEFT): (_S.OVER, (_A.BYE,)),
    (_S.RETURNING, _E.ACCEPTED): (_S.RESTORING, (_A.RESTORE,)),
    (_S.RETURNING, _E.UNUSABLE): (_S.RESTORING, (_A.RESTORE,)),
    (_S.RETURNING, _E.REFUSED): (_S.STANDING, ()),
    (_S.RETURNING, _E.GONE): (_S.OVER, (_A.LOSE,)),
    (_S.RETURNING, _E.LATE): (_S.OVER, (_A.BYE, _A.LOSE)),
    (_S.RETURNING, _E.MIXER_BYE): (_S.OVER, (_A.LOSE,)),
    (_S.RETURNING, _E.LEFT): (_S.OVER, (_A.BYE,)),
    (_S.RESTORING, _E.ACCEPTED): (_S.STANDING, ()),
    (_S.RESTORING, _E.UNUSABLE): (_S.OVER, (_A.BYE, _A.LOSE)),
    (_S.RESTORING, _E.REFUSED): (_S.OVER, (_A.BYE, _A.LOSE)),
    (_S.RESTORING, _E.GONE): (_S.OVER, (_A.LOSE,)),
    (_S.RESTORING, _E.LATE): (_S.OVER, (_A.BYE, _A.LOSE)),
    (_S.RESTORING, _E.MIXER_BYE): (_S.OVER, (_A.LOSE,)),
    (_S.RESTORING, _E.LEFT): (_S.OVER, (_A.BYE,)),
    (_S.REFRESHING, _E.ACCEPTED): (_S.STANDING, ()),
    (_S.REFRESHING, _E.UNUSABLE): (_S.OVER, (_A.BYE, _A.LOSE)),
    (_S.REFRESHING, _E.REFUSED): (_S.STANDING, (_A.POSTPONE,)),
    (_S.REFRESHING, _E.GONE): (_S.OVER, (_A.LOSE,)),
    (_S.REFRESHING, _E.LATE): (_S.OVER, (_A.BYE, _A.LOSE)),
    (_S.REFRESHING, _E.MIXER_BYE): (_S.OVER, (_A.LOSE,)),
    (_S.REFRESHING, _E.LEFT): (_S.OVER, (_A.BYE,)),
    (_S.TOLD, _E.TOOK): (_S.STANDING, (_A.REPLY,)),
    (_S.TOLD, _E.DECLINED): (_S.STANDING, (_A.REJECT,)),
    (_S.TOLD, _E.MIXER_BYE): (_S.OVER, (_A.REJECT, _A.LOSE)),
    (_S.TOLD, _E.LEFT): (_S.OVER, (_A.REJECT, _A.BYE)),
}

AWAITING = frozenset(
    {
        PairState.ASKING,
        PairState.CHANGING,
        PairState.RETURNING,
        PairState.RESTORING,
        PairState.REFRESHING,
        PairState.LEAVING,
    }
)
"""States in which a request of ours is at the mixer: its answer has a time limit."""


def step(state: PairState, event: PairEvent) -> Step:
    """The next state and what to do, in that order; an event that means nothing here changes nothing."""
    return TRANSITIONS.get((state, event), (state, ()))
