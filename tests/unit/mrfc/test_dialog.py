"""The dialog table: every run ends with what was taken given back exactly once."""

from hypothesis import given
from hypothesis import strategies as st

from mrfc.dialog import TRANSITIONS, DialogAction, DialogEvent, DialogState, step

S, E, A = DialogState, DialogEvent, DialogAction


def run(*events: DialogEvent) -> tuple[DialogState, list[DialogAction]]:
    state, actions = S.PROCEEDING, list[DialogAction]()
    for event in events:
        state, new = step(state, event)
        actions += new
    return state, actions


def test_answered_acknowledged_and_left() -> None:
    assert run(E.ACCEPTED, E.ACK, E.BYE) == (
        S.TERMINATED,
        [A.AWAIT_ACK, A.STOP_AWAITING_ACK, A.RELEASE],
    )


def test_bye_overtakes_ack() -> None:
    assert run(E.ACCEPTED, E.BYE, E.ACK) == (S.TERMINATED, [A.AWAIT_ACK, A.STOP_AWAITING_ACK, A.RELEASE])


def test_missing_ack_ends_with_bye() -> None:
    assert run(E.ACCEPTED, E.ACK_TIMEOUT) == (S.TERMINATED, [A.AWAIT_ACK, A.SEND_BYE, A.RELEASE])


def test_no_bye_before_the_ack() -> None:
    state, actions = run(E.ACCEPTED, E.LOCAL_END)
    assert state is S.ENDING
    assert A.SEND_BYE not in actions
    assert run(E.ACCEPTED, E.LOCAL_END, E.ACK)[1][-1] is A.SEND_BYE
    assert run(E.ACCEPTED, E.LOCAL_END, E.ACK_TIMEOUT)[1][-1] is A.SEND_BYE
    assert A.SEND_BYE not in run(E.ACCEPTED, E.LOCAL_END, E.BYE)[1]


def test_cancel_after_the_answer_changes_nothing() -> None:
    assert run(E.ACCEPTED, E.CANCELLED) == run(E.ACCEPTED)


def test_bye_before_the_answer_refuses_the_invite() -> None:
    assert run(E.BYE) == (S.TERMINATED, [A.REFUSE_INVITE, A.RELEASE])


def test_nothing_leaves_the_last_state() -> None:
    assert all(state is not S.TERMINATED for state, _ in TRANSITIONS)


@given(st.lists(st.sampled_from(list(DialogEvent)), max_size=12))
def test_any_order_of_events_releases_once_and_byes_at_most_once(events: list[DialogEvent]) -> None:
    state, actions = run(*events)
    assert actions.count(A.RELEASE) == (1 if state in (S.TERMINATED, S.ENDING) else 0)
    assert actions.count(A.SEND_BYE) <= 1
    assert actions.count(A.AWAIT_ACK) <= 1
    if E.BYE in events and A.SEND_BYE in actions:
        peers_bye = next(i for i in range(len(events)) if events[i] is E.BYE)
        ended_before = run(*events[:peers_bye])[1]
        assert A.SEND_BYE in ended_before  # we said BYE first, or not at all
