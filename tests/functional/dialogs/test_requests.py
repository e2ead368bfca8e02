"""Dialogs on the wire: acknowledgements, routes, targets, reliable responses."""

from __future__ import annotations

from collections.abc import Callable

from raw_participant import MEETING, Participant

from lab import Lab

Participants = Callable[[], Participant]


def test_the_200_is_sent_again_until_time_is_up(participant: Participants) -> None:
    """Nobody acknowledges: retransmissions at 0.5, 1.5 and 3.5 s, then BYE after 64*T1 (8 s here)."""
    ue = participant()
    accepted = ue.invite()
    assert accepted.status == 200
    bye = ue.incoming("BYE", 30)
    assert bye["Reason"] == 'SIP;cause=408;text="no ACK"'
    assert len([copy for copy in ue.copies if copy.status == 200 and copy.method == "INVITE"]) >= 3
    ue.respond(bye, 200)


def test_acks_of_any_branch_and_number(participant: Participants) -> None:
    ue = participant()
    ue.joined()
    for _ in range(3):
        ue.ack()
    ue.nothing("BYE", 0.5)
    ue.bye()


def test_loose_routes(participant: Participants) -> None:
    """Our requests take the routes in the order of Record-Route, and the target stays on the request line."""
    ue = participant()
    host, port = ue.socket.getsockname()
    routes = [f"<sip:{host}:{port};lr;name=near>", "<sip:far.example;lr>"]
    accepted = ue.joined(*(f"Record-Route: {route}" for route in routes))
    assert accepted.values("Record-Route") == routes
    ue.close_bearer()
    bye = ue.incoming("BYE", 30)
    assert bye.values("Route") == routes
    assert bye.target == ue.address
    ue.respond(bye, 200)


def test_a_strict_router(participant: Participants) -> None:
    """One of RFC 2543 gets itself on the request line, and the target is the last route (RFC 3261 12.2.1.1)."""
    ue = participant()
    host, port = ue.socket.getsockname()
    ue.joined(f"Record-Route: <sip:{host}:{port}>", "Record-Route: <sip:far.example;lr>")
    ue.close_bearer()
    bye = ue.incoming("BYE", 30)
    assert bye.target == f"sip:{host}:{port}"
    assert bye.values("Route") == ["<sip:far.example;lr>", f"<{ue.address}>"]
    ue.respond(bye, 200)


def test_the_target_is_refreshed(participant: Participants) -> None:
    """A re-INVITE with another Contact: from then on our requests go there (RFC 3261 12.2.2)."""
    ue, elsewhere = participant(), participant()
    ue.joined()
    ue.cseq += 1
    ue.request(
        "UPDATE",
        ue.far_target,
        f"Contact: <{elsewhere.address}>",
        call_id=ue.call_id,
        cseq=ue.cseq,
        to_tag=ue.far_tag,
        contact=False,
    )
    assert ue.response("UPDATE").status == 200
    ue.close_bearer()
    elsewhere.respond(elsewhere.incoming("BYE", 30), 200)


def test_a_contact_that_does_not_resolve(lab: Lab, participant: Participants) -> None:
    """Its BYE goes nowhere; other calls do not notice."""
    lost, other = participant(), participant()
    accepted = lost.invite_from("sip:alice@nowhere.invalid")
    assert accepted.status == 200
    lost.established(accepted)
    other.joined()
    lost.close_bearer()
    lab.wait_for("the end of the call", lambda: lab.status()["calls"] == 1)
    other.within("UPDATE")
    assert other.response("UPDATE").status == 200
    other.bye()


def test_a_reliable_183_and_its_prack(participant: Participants) -> None:
    ue = participant()
    ue.cseq += 1
    ue.call_id = ue.request(
        "INVITE",
        MEETING,
        "Supported: 100rel",
        cseq=ue.cseq,
        content_type="application/sdp",
        body=ue.offer,
    )
    progress = ue.response("INVITE", 180)
    assert (progress.status, progress["Require"]) == (183, "100rel")
    ue.far_tag = progress.to_tag
    ue.within("PRACK", f"RAck: {progress['RSeq']} {ue.cseq} INVITE")
    assert ue.response("PRACK").status == 200
    final = ue.response("INVITE")
    assert final.to_tag == progress.to_tag
    ue.cseq -= 1
    ue.established(final)
    ue.cseq += 1
    ue.bye()
