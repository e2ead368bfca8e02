"""Session timers on the wire (RFC 4028)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from raw_participant import Participant

Participants = Callable[[], Participant]
TIMER = "Supported: timer"


def test_a_session_that_is_not_refreshed_ends(participant: Participants) -> None:
    ue = participant()
    accepted = ue.joined(TIMER, "x: 4;refresher=uac")  # the compact form
    assert (accepted["Session-Expires"], accepted["Require"]) == ("4;refresher=uac", "timer")
    bye = ue.incoming("BYE", 30)
    assert bye["Reason"] == 'SIP;cause=408;text="the session was not refreshed"'
    ue.respond(bye, 200)


def test_the_refresh_of_the_peer_counts(participant: Participants) -> None:
    """Refreshed by UPDATE, it stands longer than its first interval."""
    ue = participant()
    ue.joined(TIMER, "Session-Expires: 5;refresher=uac")
    ue.within("UPDATE", TIMER, "Session-Expires: 60;refresher=uac")
    refreshed = ue.response("UPDATE")
    assert (refreshed.status, refreshed["Session-Expires"]) == (200, "60;refresher=uac")
    ue.nothing("BYE", 5.5)
    ue.bye()


def test_the_focus_refreshes_by_update(participant: Participants) -> None:
    ue = participant()
    accepted = ue.joined(TIMER, "Session-Expires: 4;refresher=uas", "Allow: INVITE, ACK, BYE, UPDATE")
    assert accepted["Session-Expires"] == "4;refresher=uas"
    update = ue.incoming("UPDATE", 30)
    assert (update["Session-Expires"], update.body) == ("4;refresher=uac", "")
    assert update.target == ue.address
    ue.respond(update, 200, "Session-Expires: 60;refresher=uac\r\nRequire: timer\r\n")
    ue.bye()


def test_the_focus_refreshes_by_invite(participant: Participants) -> None:
    """Where the peer does not take UPDATE, with an offer that keeps the connection."""
    ue = participant()
    ue.joined(TIMER, "Session-Expires: 4;refresher=uas")
    invite = ue.incoming("INVITE", 30)
    assert "Content-Type" in dict(invite.headers)
    ue.respond(
        invite,
        200,
        "Session-Expires: 60;refresher=uac\r\nRequire: timer\r\nContent-Type: application/sdp\r\n",
        ue.existing(invite.body),
    )
    assert ue.incoming("ACK").cseq == invite.cseq
    ue.bye()


def test_too_short_an_interval(participant: Participants) -> None:
    ue = participant()
    refused = ue.invite(TIMER, "Session-Expires: 3")
    assert (refused.status, refused["Min-SE"]) == (422, "4")


def test_who_asks_for_no_timer_gets_none(participant: Participants) -> None:
    ue = participant()
    accepted = ue.joined()
    assert accepted.values("Session-Expires") == []
    assert "timer" in accepted["Supported"]
    ue.bye()


@pytest.mark.parametrize("status", [408, 481])
def test_a_peer_that_forgot_the_dialog(participant: Participants, status: int) -> None:
    """No BYE to who knows of no dialog (481)."""
    ue = participant()
    ue.joined(TIMER, "Session-Expires: 4;refresher=uas", "Allow: UPDATE")
    ue.respond(ue.incoming("UPDATE", 30), status)
    if status == 408:
        ue.respond(ue.incoming("BYE"), 200)
    else:
        ue.nothing("BYE", 0.5)
