"""Glare and order on the wire (RFC 3261 14, RFC 3311 5)."""

from __future__ import annotations

from collections.abc import Callable

from raw_participant import Participant

Participants = Callable[[], Participant]


def refreshing(participant: Participants, *headers: str, seconds: int = 6) -> Participant:
    """A participant whom the focus will refresh after half of these seconds."""
    ue = participant()
    ue.joined("Supported: timer", f"Session-Expires: {seconds};refresher=uas", *headers)
    return ue


def test_a_reinvite_meets_ours(participant: Participants) -> None:
    """Ours is under way: theirs gets 491; an UPDATE without offer passes."""
    ue = refreshing(participant)
    ours = ue.incoming("INVITE", 30)
    ue.within("INVITE", body=ue.offer)
    assert ue.response("INVITE").status == 491
    ue.ack()
    ue.within("UPDATE", "Supported: timer", "Session-Expires: 60")
    assert ue.response("UPDATE").status == 200
    ue.respond(ours, 488)
    ue.incoming("ACK")
    ue.bye()


def test_two_at_once(participant: Participants) -> None:
    """A re-INVITE whose 200 has no ACK stands in the way of ours, and of nothing else."""
    ue = refreshing(participant, "Allow: UPDATE", seconds=60)
    ue.within("INVITE", "Supported: timer", "Session-Expires: 4;refresher=uas", body=ue.offer)
    assert ue.response("INVITE").status == 200
    ue.nothing("UPDATE", 2.5)
    ue.ack()
    ue.respond(ue.incoming("UPDATE", 30), 200, "Session-Expires: 60;refresher=uac\r\n")
    ue.bye()


def test_order(participant: Participants) -> None:
    ue = participant()
    ue.joined()
    ue.within("INFO")
    assert ue.response("INFO").status == 405
    ue.within("UPDATE", step=-1)
    low = ue.response("UPDATE")
    assert low.status == 500
    assert int(low["Retry-After"]) >= 0
    ue.within("BYE", step=0)  # that number has been used, too
    assert ue.response("BYE").status == 500
    ue.cseq += 5
    ue.bye()
