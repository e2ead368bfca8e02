"""Whose turn it is to change a session, with explicit time and chance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.turns import ATTEMPTS, OUT_OF_TURN_WAIT, PROVISIONAL_LIMIT, Result, Turns, Verdict, Wish


def turns(*, owner: bool = True, chance: float = 0.5) -> Turns:
    return Turns(owner=owner, random=lambda: chance, timeout=32.0)


def sent(
    machine: Turns, method: str = "INVITE", *, offers: bool = True, cseq: int = 1, now: float = 0.0
) -> Wish:
    """A wish whose request is under way."""
    wish = Wish(method, offers)
    machine.want(wish)
    assert machine.due(now) is wish
    machine.sent(cseq, now)
    return wish


def refused(machine: Turns, method: str, cseq: int, *, offers: bool) -> Refusal:
    with pytest.raises(Refusal) as caught:
        machine.arrived(method, cseq, offers)
    return caught.value


def test_one_of_ours_at_a_time() -> None:
    machine = turns()
    first, second = Wish("UPDATE", False), Wish("INVITE", True)
    machine.want(first)
    machine.want(second)
    assert machine.due(0) is first
    machine.sent(5, 0)
    assert machine.due(0) is None
    assert machine.response(5, 200, None, 1) == Result(first, Verdict.ACCEPTED, 200)
    assert machine.due(1) is second
    machine.sent(6, 1)
    assert machine.response(5, 200, None, 1) is None
    assert machine.response(6, 488, None, 1) == Result(second, Verdict.REFUSED, 488)
    assert machine.idle


@pytest.mark.parametrize(("owner", "shortest", "longest"), [(True, 2.1, 4.0), (False, 0.0, 2.0)])
@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a_491_is_tried_again_after_the_time_of_rfc_3261_14_1(
    owner: bool, shortest: float, longest: float, chance: float
) -> None:
    machine = turns(owner=owner, chance=chance)
    wish = sent(machine, now=100)
    assert machine.response(1, 491, None, 100) is None
    deadline = machine.deadline
    assert deadline is not None
    assert 100 + shortest <= deadline <= 100 + longest
    assert machine.due(deadline - 0.005) is None
    assert machine.due(deadline) is wish


def test_the_owner_of_the_call_id_never_collides_with_the_other_side() -> None:
    latest_other, earliest_owner = turns(owner=False, chance=0.9999), turns(owner=True, chance=0.0)
    for machine in (latest_other, earliest_owner):
        sent(machine)
        machine.response(1, 491, None, 0)
    assert (latest_other.deadline or 0) < (earliest_owner.deadline or 0)


def test_nothing_of_ours_goes_before_the_ack_of_the_first_2xx() -> None:
    machine = Turns(owner=False, random=lambda: 0.5, confirmed=False)
    wish = Wish("INVITE", True)
    machine.want(wish)
    assert (machine.due(0), machine.deadline, machine.idle) == (None, None, False)
    machine.acknowledged(1)
    assert machine.due(0) is wish


def test_a_491_is_not_tried_for_ever() -> None:
    machine = turns(chance=0)
    wish, now = sent(machine), 0.0
    for cseq in range(1, ATTEMPTS):
        assert machine.response(cseq, 491, None, now) is None
        now = machine.deadline or 0
        assert machine.due(now) is wish
        machine.sent(cseq + 1, now)
    assert machine.response(ATTEMPTS, 491, None, now) == Result(wish, Verdict.REFUSED, 491)
    assert sent(machine, cseq=ATTEMPTS + 1, now=now)  # the next one begins anew


def test_retry_after_is_kept_to() -> None:
    machine = turns()
    wish = sent(machine)
    assert machine.response(1, 500, 7, 10) is None
    assert machine.deadline == 17
    assert machine.due(17) is wish
    machine.sent(2, 17)
    assert machine.response(2, 500, 3600, 18) == Result(wish, Verdict.REFUSED, 500)


@pytest.mark.parametrize("status", [404, 408, 410, 480, 481, 482, 483, 604])
def test_what_ends_the_call(status: int) -> None:
    machine = turns()
    wish = sent(machine)
    assert machine.response(1, status, None, 1) == Result(wish, Verdict.ENDED, status)


@pytest.mark.parametrize("status", [301, 401, 403, 405, 407, 415, 422, 487, 488, 500, 501, 503, 603])
def test_what_does_not(status: int) -> None:
    machine = turns()
    wish = sent(machine)
    assert machine.response(1, status, None, 1) == Result(wish, Verdict.REFUSED, status)


def test_no_response_ends_the_call() -> None:
    machine = turns()
    wish = sent(machine, now=5)
    assert machine.deadline == 37
    assert machine.tick(36.9) is None
    assert machine.tick(37) == Result(wish, Verdict.ENDED, 408)


def test_a_provisional_response_buys_an_invite_time_and_an_update_none() -> None:
    machine = turns()
    sent(machine)
    machine.response(1, 180, None, 3)
    assert machine.deadline == 3 + PROVISIONAL_LIMIT
    machine = turns()
    sent(machine, "UPDATE")
    machine.response(1, 183, None, 3)
    assert machine.deadline == 32


def test_glare() -> None:
    machine = turns()
    sent(machine, "INVITE")
    assert refused(machine, "INVITE", 9, offers=True).cause is Cause.PENDING
    assert refused(machine, "INVITE", 10, offers=False).cause is Cause.PENDING
    assert refused(machine, "UPDATE", 11, offers=True).cause is Cause.PENDING
    machine.arrived("UPDATE", 12, False)  # it changes no session
    machine.answered(12, 200)
    machine = turns()
    sent(machine, "UPDATE", offers=True)
    assert refused(machine, "UPDATE", 9, offers=True).cause is Cause.PENDING
    assert refused(machine, "INVITE", 10, offers=True).cause is Cause.PENDING


def test_a_second_request_before_the_first_is_answered() -> None:
    for chance, wait in ((0.0, 0), (0.999, OUT_OF_TURN_WAIT)):
        machine = turns(chance=chance)
        machine.arrived("INVITE", 1, True)
        found = refused(machine, "INVITE", 2, offers=True)
        assert (found.cause, found.retry_after) == (Cause.OUT_OF_TURN, wait)
        assert refused(machine, "UPDATE", 3, offers=True).cause is Cause.OUT_OF_TURN
        machine.arrived("UPDATE", 4, False)
        assert refused(machine, "UPDATE", 5, offers=False).cause is Cause.OUT_OF_TURN


def test_ours_waits_for_theirs_until_the_ack() -> None:
    machine = turns()
    machine.arrived("INVITE", 4, True)
    wish = Wish("UPDATE", False)
    machine.want(wish)
    assert machine.due(0) is None
    machine.answered(4, 200)
    assert machine.due(0) is None
    machine.acknowledged(4)
    assert machine.due(0) is wish


def test_a_refused_invite_of_theirs_needs_no_ack_here() -> None:
    machine = turns()
    machine.arrived("INVITE", 4, True)
    machine.answered(4, 488)
    assert machine.idle


def test_our_offer_in_a_200_waits_for_the_answer_in_its_ack() -> None:
    machine = turns()
    machine.arrived("INVITE", 4, False)
    machine.answered(4, 200)
    assert refused(machine, "UPDATE", 5, offers=True).cause is Cause.PENDING
    assert refused(machine, "INVITE", 6, offers=True).cause is Cause.PENDING
    machine.acknowledged(4)
    machine.arrived("INVITE", 7, True)


def test_a_lost_ack_does_not_keep_the_next_invite_out() -> None:
    machine = turns()
    machine.arrived("INVITE", 4, True)
    machine.answered(4, 200)
    machine.arrived("INVITE", 5, True)
    machine.answered(5, 488)
    assert machine.idle


def test_a_wish_withdrawn_is_not_sent_and_one_under_way_takes_its_course() -> None:
    machine = turns()
    under_way, waiting = sent(machine), Wish("INVITE", True)
    machine.want(waiting)
    machine.withdraw(waiting)
    machine.withdraw(under_way)
    assert machine.response(1, 200, None, 1) == Result(under_way, Verdict.ACCEPTED, 200)
    assert machine.due(2) is None
    assert machine.idle


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sampled_from(["INVITE", "UPDATE"]), st.booleans()),
        st.tuples(st.just("response"), st.sampled_from([180, 200, 408, 481, 488, 491, 500]), st.booleans()),
        st.tuples(st.just("arrived"), st.sampled_from(["INVITE", "UPDATE"]), st.booleans()),
        st.tuples(st.just("answered"), st.sampled_from([200, 488]), st.booleans()),
        st.tuples(st.just("time"), st.integers(0, 40), st.booleans()),
    ),
    max_size=40,
)


@given(EVENTS, st.floats(0, 0.999))
def test_never_two_offers_at_once_and_every_wish_comes_to_an_end(
    events: list[tuple[str, int | str, bool]], chance: float
) -> None:
    machine, now, cseq = turns(chance=chance), 0.0, 0
    wanted, over, theirs = list[Wish](), list[Wish](), dict[int, str]()
    for number, (what, value, flag) in enumerate(events):
        result = None
        if what == "want":
            wanted.append(Wish(str(value), flag))
            machine.want(wanted[-1])
        elif what == "response":
            result = machine.response(cseq, int(value), 1 if flag else None, now)
        elif what == "arrived":
            try:
                machine.arrived(str(value), number, flag)
            except Refusal:
                pass
            else:
                theirs[number] = str(value)
        elif what == "answered" and theirs:
            oldest = next(iter(theirs))
            machine.answered(oldest, int(value))
            machine.acknowledged(oldest)
            del theirs[oldest]
        elif what == "time":
            now += int(value)
            result = machine.tick(now)
        if result is not None:
            over.append(result.wish)
        if machine.due(now) is not None:
            assert not theirs
            cseq += 1
            machine.sent(cseq, now)
    for oldest in theirs:
        machine.answered(oldest, 488)
    while not machine.idle:
        if machine.due(now) is not None:
            cseq += 1
            machine.sent(cseq, now)
        now = max(now, machine.deadline or now)
        if (result := machine.tick(now)) is not None:
            over.append(result.wish)
    assert sorted(map(id, over)) == sorted(map(id, wanted))
