"""The session timer of one dialog with explicit time: RFC 4028 by its tables."""

import pytest

from mrfc.jobs import Headers
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.session_timer import Due, SessionTimer, TimerPolicy, check_interval

POLICY = TimerPolicy(interval=1800, minimum=120)


def said(expires: str = "", min_se: str = "", *, timer: bool = True) -> Headers:
    fields = [("supported", "100rel, timer" if timer else "100rel")]
    fields += [("session-expires", expires)] if expires else []
    return (*fields, *([("min-se", min_se)] if min_se else []))


@pytest.mark.parametrize(
    ("headers", "reply"),
    [
        (said(), {"Session-Expires": "1800;refresher=uac", "Require": "timer"}),
        (said("600"), {"Session-Expires": "600;refresher=uac", "Require": "timer"}),
        (said("600;refresher=uac"), {"Session-Expires": "600;refresher=uac", "Require": "timer"}),
        (said("600;refresher=uas"), {"Session-Expires": "600;refresher=uas", "Require": "timer"}),
        (said("7200"), {"Session-Expires": "1800;refresher=uac", "Require": "timer"}),
        (said("7200", "3600"), {"Session-Expires": "3600;refresher=uac", "Require": "timer"}),
        (said("600", timer=False), {"Session-Expires": "600;refresher=uas"}),
        (said("60", timer=False), {"Session-Expires": "60;refresher=uas"}),
        (said(timer=False), {}),
        (said("x"), {"Session-Expires": "1800;refresher=uac", "Require": "timer"}),
    ],
)
def test_the_2xx_to_a_request_of_theirs(headers: Headers, reply: dict[str, str]) -> None:
    assert dict(SessionTimer(POLICY).reply(headers, 0)) == reply


def test_too_short_an_interval_is_refused_where_the_sender_knows_timers() -> None:
    with pytest.raises(Refusal) as refusal:
        check_interval(said("119"), POLICY)
    assert refusal.value.cause is Cause.INTERVAL_TOO_SMALL
    assert ("Min-SE", "120") in refusal.value.response("h").headers
    for fine in (said("120"), said("60", timer=False), said()):
        check_interval(fine, POLICY)


def test_we_refresh_at_half_of_the_interval_and_give_up_before_the_end() -> None:
    timer = SessionTimer(POLICY)
    timer.reply(said("600;refresher=uas"), 1000)
    assert timer.deadline == 1300
    assert timer.tick(1299) is None
    assert timer.tick(1300) is Due.REFRESH
    assert timer.deadline == 1600 - 32
    assert timer.tick(1568) is Due.EXPIRE
    assert timer.deadline is None


def test_a_refresh_begins_the_interval_anew() -> None:
    timer = SessionTimer(POLICY)
    timer.reply(said("600;refresher=uac"), 0)
    assert timer.deadline == 568
    timer.reply(said("600;refresher=uac"), 300)
    assert timer.tick(568) is None
    assert timer.deadline == 868
    assert timer.tick(868) is Due.EXPIRE


def test_short_intervals_end_a_third_before() -> None:
    timer = SessionTimer(TimerPolicy(30, 30))
    timer.reply(said("30;refresher=uac"), 0)
    assert timer.deadline == 20


def test_a_refused_refresh_is_tried_again_until_the_end() -> None:
    timer, now, tries = SessionTimer(POLICY), 0.0, 0
    timer.reply(said("600;refresher=uas"), now)
    while True:
        assert timer.deadline is not None
        now = timer.deadline
        if timer.tick(now) is Due.EXPIRE:
            break
        tries += 1
        timer.failed(now)
    assert now == 568
    assert 3 < tries < 20


def test_what_an_invite_of_ours_asks_for() -> None:
    timer = SessionTimer(POLICY)
    assert timer.ask() == (("Session-Expires", "1800"), ("Min-SE", "120"))
    assert SessionTimer(TimerPolicy(1800, 90)).ask() == (("Session-Expires", "1800"),)
    timer.agreed(said("900;refresher=uac"), 0)
    assert (timer.interval, timer.ours, timer.deadline) == (900, True, 450)
    assert timer.ask()[0] == ("Session-Expires", "900;refresher=uac")
    timer.agreed(said("900;refresher=uas"), 450)
    assert (timer.ours, timer.deadline) == (False, 450 + 900 - 32)
    assert timer.ask()[0] == ("Session-Expires", "900;refresher=uas")


def test_a_2xx_without_session_expires_ends_the_timer() -> None:
    timer = SessionTimer(POLICY)
    timer.agreed(said("900;refresher=uac"), 0)
    timer.agreed(said(), 450)
    assert (timer.interval, timer.deadline) == (0, None)


def test_nobody_makes_us_refresh_all_the_time() -> None:
    timer = SessionTimer(POLICY)
    timer.agreed(said("1;refresher=uac"), 0)
    assert timer.deadline == 60


def test_422_raises_what_we_ask_for_and_does_not_go_on_for_ever() -> None:
    timer = SessionTimer(POLICY)
    assert timer.too_small(said(min_se="3600"))
    assert timer.ask() == (("Session-Expires", "3600"), ("Min-SE", "3600"))
    for useless in ("3600", "1800", "", "x", "86401"):
        assert not timer.too_small(said(min_se=useless))


def test_who_refreshed_goes_on_where_the_peer_leaves_it_open() -> None:
    timer = SessionTimer(POLICY)
    timer.agreed(said("900;refresher=uac"), 0)
    assert ("Session-Expires", "900;refresher=uas") in timer.reply(said("900"), 10)
    assert timer.ours
