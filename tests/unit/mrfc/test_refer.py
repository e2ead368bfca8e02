"""REFER without a network: what one asks for, and the subscription it implies, with explicit time."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrfc import jobs
from mrfc.sip.refer import INTERVAL, Notification, ReferSubscription, read_reference
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.subscription import ANSWER_LIMIT

JOB = jobs.ReferJob(
    transaction=jobs.TransactionId(1, 1),
    dialog=jobs.DialogId("c", "l", "r"),
    cseq=7,
    request_uri="sip:meeting@conf.example",
    from_uri="sip:alice@ue.example",
    to_uri="sip:meeting@conf.example",
    contact_uri="sip:alice@192.0.2.1",
    record_route=(),
    content_type="",
    body="",
    in_dialog=True,
    require="",
    refer_to=("<sip:bob@ue.example>",),
    referred_by=(),
    refer_sub="",
)


def job(*refer_to: str, **changes: object) -> jobs.ReferJob:
    return msgspec.structs.replace(JOB, refer_to=refer_to or JOB.refer_to, **changes)


def cause(request: jobs.ReferJob) -> Cause:
    with pytest.raises(Refusal) as caught:
        read_reference(request)
    return caught.value.cause


@pytest.mark.parametrize(
    ("refer_to", "invitee"),
    [
        ("<sip:bob@ue.example>", "sip:bob@ue.example"),
        ("sip:bob@ue.example", "sip:bob@ue.example"),
        ('"Bob, the" <sip:bob@ue.example;method=INVITE>', "sip:bob@ue.example"),
        ("<sip:bob@h;transport=tcp;METHOD=invite;x=1>", "sip:bob@h;transport=tcp;x=1"),
        ("<sip:bob@h?Subject=hello&From=sip:eve@x>;p=1", "sip:bob@h"),
    ],
)
def test_whom_to_call(refer_to: str, invitee: str) -> None:
    assert read_reference(job(refer_to)).invitee == invitee


@pytest.mark.parametrize(
    ("refer_to", "expected"),
    [
        (("<sip:a@h>", "<sip:b@h>"), Cause.BAD_REFER),
        (("<sip:a@h>, <sip:b@h>",), Cause.BAD_REFER),
        ((" ",), Cause.BAD_REFER),
        (("<sip:a@h;method=MESSAGE>",), Cause.REFER_UNSUPPORTED),
        (("<sip:a@h;method=INVITE;method=BYE>",), Cause.REFER_UNSUPPORTED),
        (("<sip:a@h;method=>",), Cause.REFER_UNSUPPORTED),
        (("<sip:a@h?Replaces=1%40h>",), Cause.REFER_UNSUPPORTED),
        (("<sip:a@h?x=1&REQUIRE=replaces>",), Cause.REFER_UNSUPPORTED),
        (("<sip:a@h?Join=1>",), Cause.REFER_UNSUPPORTED),
    ],
)
def test_what_is_no_plain_invite(refer_to: tuple[str, ...], expected: Cause) -> None:
    assert cause(job(*refer_to)) is expected


def test_no_refer_to() -> None:
    assert cause(msgspec.structs.replace(JOB, refer_to=())) is Cause.BAD_REFER


def test_referred_by_is_handed_on_as_it_came() -> None:
    value = '"Alice" <sip:alice@ue.example>;x=1'
    assert read_reference(job(referred_by=(value,))).referred_by == value
    assert read_reference(job(referred_by=("<sip:a@h>\r\n ;x=1",))).referred_by == "<sip:a@h> ;x=1"
    assert read_reference(JOB).referred_by == ""


def test_referred_by_that_cannot_be_handed_on() -> None:
    assert cause(job(referred_by=("<sip:a@h>", "<sip:b@h>"))) is Cause.BAD_REFER
    assert cause(job(referred_by=("<sip:a@h>\x00",))) is Cause.BAD_REFER
    assert cause(job(referred_by=("<sip:" + "a" * 600 + "@h>",))) is Cause.BAD_REFER
    assert cause(job(referred_by=('<sip:a@h>;cid="x@h"',))) is Cause.REFER_UNSUPPORTED


@pytest.mark.parametrize(
    ("value", "subscribe"), [("", True), ("true", True), ("false", False), (" False ;x=1", False)]
)
def test_a_subscription_unless_it_is_declined(value: str, subscribe: bool) -> None:
    assert read_reference(job(refer_sub=value)).subscribe is subscribe


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_header_is_read_or_refused(refer_to: str, referred_by: str) -> None:
    with contextlib.suppress(Refusal):
        reference = read_reference(job(refer_to, referred_by=(referred_by,)))
        assert "\n" not in reference.referred_by
        assert "\r" not in reference.referred_by


# --- the subscription


def started(event_id: int | None = None, duration: float = 100.0) -> ReferSubscription:
    subscription = ReferSubscription(event_id, duration, 0.0)
    assert subscription.start(0.0) == Notification(
        "refer" if event_id is None else f"refer;id={event_id}",
        f"active;expires={int(duration)}",
        "SIP/2.0 100 Trying",
    )
    return subscription


def test_from_trying_to_the_final_response() -> None:
    subscription = started()
    assert subscription.answered(200, 0.1) is None
    assert subscription.deadline == 100.0
    ringing = subscription.progress(180, "Ringing", 5.0)
    assert ringing == Notification("refer", "active;expires=95", "SIP/2.0 180 Ringing")
    assert ringing.body == "SIP/2.0 180 Ringing\r\n"
    assert subscription.answered(200, 5.1) is None
    assert subscription.progress(486, "Busy Here", 9.0) == Notification(
        "refer", "terminated;reason=noresource", "SIP/2.0 486 Busy Here"
    )
    assert not subscription.ended
    assert subscription.answered(200, 9.1) is None
    assert subscription.ended
    assert subscription.deadline is None


def test_later_refers_of_a_dialog_are_told_apart() -> None:
    assert started(event_id=12).answered(200, 0.1) is None


def test_at_most_one_notify_a_second() -> None:
    subscription = started()
    subscription.answered(200, 0.1)
    assert subscription.progress(180, "Ringing", 0.2) is None
    assert subscription.deadline == INTERVAL
    assert subscription.progress(486, "Busy Here", 0.3) is None
    told = subscription.tick(INTERVAL)
    assert told is not None
    assert told.status_line == "SIP/2.0 486 Busy Here"  # 180 is overtaken


def test_one_notify_at_a_time() -> None:
    subscription = started()
    assert subscription.progress(200, "OK", 3.0) is None
    assert subscription.deadline == ANSWER_LIMIT
    told = subscription.answered(200, 4.0)
    assert told is not None
    assert told.state == "terminated;reason=noresource"


def test_the_same_state_is_told_once() -> None:
    subscription = started()
    subscription.answered(200, 0.1)
    assert subscription.progress(180, "Ringing", 2.0) is not None
    subscription.answered(200, 2.1)
    assert subscription.progress(180, "Ringing", 4.0) is None


@pytest.mark.parametrize("status", [481, 405, 500, 302])
def test_a_refused_notify_ends_it(status: int) -> None:
    subscription = started()
    assert subscription.answered(status, 0.5) is None
    assert subscription.ended
    assert subscription.progress(200, "OK", 5.0) is None


def test_an_unanswered_notify_ends_it() -> None:
    subscription = started()
    assert subscription.tick(ANSWER_LIMIT - 0.1) is None
    assert not subscription.ended
    assert subscription.tick(ANSWER_LIMIT) is None
    assert subscription.ended


def test_it_expires() -> None:
    subscription = started(duration=10.0)
    subscription.answered(200, 0.1)
    assert subscription.tick(10.0) == Notification("refer", "terminated;reason=timeout", "SIP/2.0 100 Trying")
    assert subscription.progress(200, "OK", 11.0) is None
    subscription.answered(200, 11.0)
    assert subscription.ended


def test_a_reason_phrase_stays_on_its_line() -> None:
    subscription = started()
    subscription.answered(200, 0.1)
    told = subscription.progress(400, "Bad\r\nEvent: x", 2.0)
    assert told is not None
    assert told.body.count("\r\n") == 1


Step = tuple[str, int, float]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["progress", "answered", "tick"]),
        st.sampled_from([180, 183, 200, 200, 486, 481]),
        st.floats(0, 20),
    ),
    max_size=30,
)


@given(STEPS)
def test_any_run_has_one_last_notify_and_keeps_the_rules(steps: list[Step]) -> None:
    subscription, now, waiting, last, finished = started(), 0.0, True, 0.0, False
    for action, status, pause in steps:
        now += pause
        due = waiting and now - last >= ANSWER_LIMIT
        if action == "progress":
            told = subscription.progress(status, "x", now)
        elif action == "answered":
            told = subscription.answered(status, now)
            waiting = False
        else:
            told = subscription.tick(now)
            waiting = waiting and not due
        if told is None:
            continue
        assert not waiting, "two at a time"
        assert not finished, "after the last one"
        assert now - last >= INTERVAL
        waiting, last, finished = True, now, told.state.startswith("terminated")


@given(STEPS)
def test_it_always_ends_when_its_deadlines_are_kept(steps: list[Step]) -> None:
    subscription, now = started(), 0.0
    for action, status, pause in steps:
        now += pause
        if action == "progress":
            subscription.progress(status, "x", now)
        elif action == "answered":
            subscription.answered(status, now)
    for _ in range(10):
        if (deadline := subscription.deadline) is None:
            break
        now = max(now, deadline)
        subscription.tick(now)
    assert subscription.ended
