"""The dialog of one participant, as a table: what each event does in each state (RFC 3261 12, 13.3.1.4, 15).

Sans-IO: events in, actions out. Workers run in parallel, so ACK and BYE may come in either order, and a CANCEL may
come when all is over; every pair that is not in the table changes nothing.
"""

from __future__ import annotations

import enum


class DialogState(enum.Enum):
    """Where the dialog stands, seen from the called side."""

    PROCEEDING = "proceeding"  # the INVITE is being worked on
    ANSWERED = "answered"  # 200 is sent, its ACK is awaited
    CONFIRMED = "confirmed"
    ENDING = "ending"  # we want to end it, but may not send BYE before the ACK (RFC 3261 15)
    TERMINATED = "terminated"


class DialogEvent(enum.Enum):
    """What can happen to a dialog."""

    ACCEPTED = "accepted"  # our 200 went out
    REFUSED = "refused"  # our failure response went out
    CANCELLED = "cancelled"  # CANCEL came, or the transaction timed out
    ACK = "ack"
    BYE = "bye"
    ACK_TIMEOUT = "ack timeout"
    LOCAL_END = "local end"  # the focus ends the call: bearer lost, MRFP gone, operator


class DialogAction(enum.Enum):
    """What the focus has to do."""

    AWAIT_ACK = "await ack"
    STOP_AWAITING_ACK = "stop awaiting ack"
    SEND_BYE = "send bye"
    REFUSE_INVITE = "refuse invite"  # 487 Request Terminated
    RELEASE = "release"  # give back termination, ticket and seat


_S, _E, _A = DialogState, DialogEvent, DialogAction

TRANSITIONS: dict[tuple[DialogState, DialogEvent], tuple[DialogState, tuple[DialogAction, ...]]] = {
    (_S.PROCEEDING, _E.ACCEPTED): (_S.ANSWERED, (_A.AWAIT_ACK,)),
    (_S.PROCEEDING, _E.REFUSED): (_S.TERMINATED, (_A.RELEASE,)),
    (_S.PROCEEDING, _E.CANCELLED): (_S.TERMINATED, (_A.RELEASE,)),
    (_S.PROCEEDING, _E.BYE): (_S.TERMINATED, (_A.REFUSE_INVITE, _A.RELEASE)),
    (_S.PROCEEDING, _E.LOCAL_END): (_S.TERMINATED, (_A.REFUSE_INVITE, _A.RELEASE)),
    (_S.ANSWERED, _E.ACK): (_S.CONFIRMED, (_A.STOP_AWAITING_ACK,)),
    (_S.ANSWERED, _E.BYE): (_S.TERMINATED, (_A.STOP_AWAITING_ACK, _A.RELEASE)),
    (_S.ANSWERED, _E.ACK_TIMEOUT): (_S.TERMINATED, (_A.SEND_BYE, _A.RELEASE)),
    (_S.ANSWERED, _E.LOCAL_END): (_S.ENDING, (_A.RELEASE,)),
    (_S.ENDING, _E.ACK): (_S.TERMINATED, (_A.STOP_AWAITING_ACK, _A.SEND_BYE)),
    (_S.ENDING, _E.ACK_TIMEOUT): (_S.TERMINATED, (_A.SEND_BYE,)),
    (_S.ENDING, _E.BYE): (_S.TERMINATED, (_A.STOP_AWAITING_ACK,)),
    (_S.CONFIRMED, _E.BYE): (_S.TERMINATED, (_A.RELEASE,)),
    (_S.CONFIRMED, _E.LOCAL_END): (_S.TERMINATED, (_A.SEND_BYE, _A.RELEASE)),
}


def step(state: DialogState, event: DialogEvent) -> tuple[DialogState, tuple[DialogAction, ...]]:
    """The next state and what to do, in that order; an event that means nothing here changes nothing."""
    return TRANSITIONS.get((state, event), (state, ()))
