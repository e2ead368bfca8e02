"""The dialog of one participant, as a table: what each event does in each state (RFC 3261 12 to 15).

Sans-IO: events in, actions out. Workers run in parallel, so ACK and BYE may come in either order, and a CANCEL may
come when all is over; every pair that is not in the table changes nothing.
"""

from __future__ import annotations

import enum


class DialogState(enum.Enum):
    """Where the dialog stands. The first three are of the called side, the next three of the calling side."""

    PROCEEDING = "proceeding"  # an INVITE came and is being worked on
    ANSWERED = "answered"  # 200 is sent, its ACK is awaited
    ENDING = "ending"  # we want to end it, but may not send BYE before the ACK (RFC 3261 15)
    PREPARING = "preparing"  # our INVITE is not sent yet
    CALLING = "calling"  # our INVITE has no final response yet
    CANCELLING = "cancelling"  # we do not want it any more, its final response is awaited
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


STANDING = frozenset({DialogState.ANSWERED, DialogState.CONFIRMED})
"""The INVITE has had its 2xx, and nobody has ended the call."""


class DialogEvent(enum.Enum):
    """What can happen to a dialog."""

    ACCEPTED = "accepted"  # our 200 went out
    REFUSED = "refused"  # our failure response went out
    CANCELLED = "cancelled"  # CANCEL came, or the transaction timed out
    ACK = "ack"
    ACK_TIMEOUT = "ack timeout"
    INVITED = "invited"  # our INVITE went out
    SUCCESS = "success"  # a 2xx for our INVITE came
    FAILURE = "failure"  # another final response came, or none in time
    BYE = "bye"
    LOCAL_END = "local end"  # the focus ends the call: bearer lost, MRFP gone, operator


class DialogAction(enum.Enum):
    """What the focus has to do."""

    AWAIT_ACK = "await ack"
    STOP_AWAITING_ACK = "stop awaiting ack"
    SEND_BYE = "send bye"
    SEND_CANCEL = "send cancel"  # and wait for the final response
    REFUSE_INVITE = "refuse invite"  # 487 Request Terminated
    FAIL_INVITE = "fail invite"  # 503 Service Unavailable
    RELEASE = "release"  # give back termination and ticket, stop the procedure


_S, _E, _A = DialogState, DialogEvent, DialogAction

TRANSITIONS: dict[tuple[DialogState, DialogEvent], tuple[DialogState, tuple[DialogAction, ...]]] = {
    (_S.PROCEEDING, _E.ACCEPTED): (_S.ANSWERED, (_A.AWAIT_ACK,)),
    (_S.PROCEEDING, _E.REFUSED): (_S.TERMINATED, (_A.RELEASE,)),
    (_S.PROCEEDING, _E.CANCELLED): (_S.TERMINATED, (_A.RELEASE,)),
    (_S.PROCEEDING, _E.BYE): (_S.TERMINATED, (_A.REFUSE_INVITE, _A.RELEASE)),
    (_S.PROCEEDING, _E.LOCAL_END): (_S.TERMINATED, (_A.FAIL_INVITE, _A.RELEASE)),
    (_S.ANSWERED, _E.ACK): (_S.CONFIRMED, (_A.STOP_AWAITING_ACK,)),
    (_S.ANSWERED, _E.BYE): (_S.TERMINATED, (_A.STOP_AWAITING_ACK, _A.RELEASE)),
    (_S.ANSWERED, _E.ACK_TIMEOUT): (_S.TERMINATED, (_A.SEND_BYE, _A.RELEASE)),
    (_S.ANSWERED, _E.LOCAL_END): (_S.ENDING, (_A.RELEASE,)),
    (_S.ENDING, _E.ACK): (_S.TERMINATED, (_A.STOP_AWAITING_ACK, _A.SEND_BYE)),
    (_S.ENDING, _E.ACK_TIMEOUT): (_S.TERMINATED, (_A.SEND_BYE,)),
    (_S.ENDING, _E.BYE): (_S.TERMINATED, (_A.STOP_AWAITING_ACK,)),
    (_S.PREPARING, _E.INVITED): (_S.CALLING, ()),
    (_S.PREPARING, _E.LOCAL_END): (_S.TERMINATED, (_A.RELEASE,)),
    (_S.CALLING, _E.SUCCESS): (_S.CONFIRMED, ()),
    (_S.CALLING, _E.FAILURE): (_S.TERMINATED, (_A.RELEASE,)),
    (_S.CALLING, _E.LOCAL_END): (_S.CANCELLING, (_A.SEND_CANCEL, _A.RELEASE)),
    (_S.CANCELLING, _E.SUCCESS): (_S.TERMINATED, (_A.SEND_BYE,)),  # our CANCEL came too late
    (_S.CANCELLING, _E.FAILURE): (_S.TERMINATED, ()),
    (_S.CONFIRMED, _E.BYE): (_S.TERMINATED, (_A.RELEASE,)),
    (_S.CONFIRMED, _E.LOCAL_END): (_S.TERMINATED, (_A.SEND_BYE, _A.RELEASE)),
}


def step(state: DialogState, event: DialogEvent) -> tuple[DialogState, tuple[DialogAction, ...]]:
    """The next state and what to do, in that order; an event that means nothing here changes nothing."""
    return TRANSITIONS.get((state, event), (state, ()))
