"""The dialog table: every run ends with what was taken given back exactly once."""

from hypothesis import given
from hypothesis import strategies as st

from mrfc.sip.dialog import TRANSITIONS, DialogAction, DialogEvent, DialogState, step

S, E, A = DialogState, DialogEvent, DialogAction


def run(*events: DialogEvent, start: DialogState = S.PROCEEDING) -> tuple[DialogState, list[DialogAction]]:
    state, actions = start, list[DialogAction]()
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


def called(*events: DialogEvent) -> tuple[DialogState, list[DialogAction]]:
    return run(*events, start=S.CALLING)


def test_a_call_of_ours_is_answered_and_left() -> None:
    assert called(E.SUCCESS, E.BYE) == (S.TERMINATED, [A.RELEASE])
    assert called(E.SUCCESS, E.LOCAL_END) == (S.TERMINATED, [A.SEND_BYE, A.RELEASE])


def test_a_call_of_ours_is_refused() -> None:
    assert called(E.FAILURE) == (S.TERMINATED, [A.RELEASE])


def test_success_after_our_cancel_is_ended_with_bye() -> None:
    assert called(E.LOCAL_END, E.SUCCESS) == (S.TERMINATED, [A.SEND_CANCEL, A.RELEASE, A.SEND_BYE])
    assert called(E.LOCAL_END, E.FAILURE) == (S.TERMINATED, [A.SEND_CANCEL, A.RELEASE])


@given(
    st.sampled_from([S.PROCEEDING, S.PREPARING, S.CALLING]),
    st.lists(st.sampled_from(list(DialogEvent)), max_size=12),
)
def test_any_order_of_events_releases_once_and_byes_at_most_once(
    start: DialogState, events: list[DialogEvent]
) -> None:
    state, actions = run(*events, start=start)
    assert actions.count(A.RELEASE) == (1 if state in (S.TERMINATED, S.ENDING, S.CANCELLING) else 0)
    assert actions.count(A.SEND_BYE) <= 1
    assert actions.count(A.AWAIT_ACK) <= 1
    assert actions.count(A.SEND_CANCEL) <= 1


@given(
    st.sampled_from([S.PROCEEDING, S.PREPARING, S.CALLING]),
    st.lists(st.sampled_from(list(DialogEvent)), max_size=12),
)
def test_no_bye_of_ours_after_the_bye_of_the_peer(start: DialogState, events: list[DialogEvent]) -> None:
    for position, event in enumerate(events):
        before, _ = run(*events[:position], start=start)
        if event is E.BYE and before in (S.PROCEEDING, S.ANSWERED, S.ENDING, S.CONFIRMED):
            later = run(*events, start=start)[1][len(run(*events[:position], start=start)[1]) :]
            assert A.SEND_BYE not in later
