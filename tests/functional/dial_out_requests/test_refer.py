"""REFER to the focus on Kamailio, over UDP: a referrer and an invitee that are one socket each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sip_peer import Answer, Message, SipPeer

from lab import Lab

Peers = Callable[..., SipPeer]
MEETING = "sip:meeting@conf.example"
OK = Answer()


@pytest.fixture
def referrer(peer: Peers) -> SipPeer:
    """May refer, and takes NOTIFYs."""
    made = peer("alice")
    made.answers = {"NOTIFY": OK}
    return made


@pytest.fixture
def invitee(peer: Peers) -> SipPeer:
    """Answers as the test says."""
    return peer("bob", "127.0.0.1")


def refer(referrer: SipPeer, invitee: SipPeer, *headers: str) -> Message:
    """REFER outside of a dialog; gives its response."""
    referrer.request("REFER", MEETING, f"Refer-To: <{invitee.address};method=INVITE>", *headers)
    return referrer.response("REFER")


def test_busy_is_told(referrer: SipPeer, invitee: SipPeer) -> None:
    invitee.answers = {"INVITE": Answer((180, 486))}
    accepted = refer(referrer, invitee, "Referred-By: <sip:alice@ue.example>")
    assert accepted.status == 202
    assert accepted["Contact"].endswith(";isfocus")
    assert "norefersub" in accepted["Supported"]
    trying = referrer.incoming("NOTIFY")
    assert trying.to_tag == referrer.tag
    assert accepted.to_tag in trying["From"]
    assert (trying["Call-ID"], trying["Event"]) == (accepted["Call-ID"], "refer")
    assert trying["Subscription-State"].startswith("active;expires=")
    assert trying["Content-Type"] == "message/sipfrag;version=2.0"
    assert trying.body == "SIP/2.0 100 Trying\r\n"
    invite = invitee.incoming("INVITE")
    assert invite["Referred-By"] == "<sip:alice@ue.example>"
    assert invite.target == invitee.address
    last = referrer.wait(lambda message: message.method == "NOTIFY" and "180" not in message.body)
    assert last.body == "SIP/2.0 486 Test\r\n"
    assert last["Subscription-State"] == "terminated;reason=noresource"
    assert last.cseq > trying.cseq
    assert invitee.incoming("ACK")


def test_ringing_and_no_answer(referrer: SipPeer, invitee: SipPeer) -> None:
    invitee.answers = {"INVITE": Answer((180,)), "CANCEL": OK}
    assert refer(referrer, invitee).status == 202
    invite = invitee.incoming("INVITE")
    told = [referrer.incoming("NOTIFY").body.split()[1] for _ in range(3)]
    assert told == ["100", "180", "408"]
    assert invitee.incoming("CANCEL")["Reason"].startswith("SIP;cause=408")  # RFC 3326
    invitee.respond(invite, 487)


def test_no_subscription(referrer: SipPeer, invitee: SipPeer) -> None:
    invitee.answers = {"INVITE": Answer((488,))}
    accepted = refer(referrer, invitee, "Refer-Sub: false", "Require: norefersub", "Supported: norefersub")
    assert (accepted.status, accepted["Refer-Sub"]) == (202, "false")
    invitee.incoming("INVITE")
    referrer.nothing("NOTIFY", 1.5)


def test_a_second_refer_within_the_dialog_of_the_first(referrer: SipPeer, invitee: SipPeer) -> None:
    invitee.answers = {"INVITE": Answer((180,)), "CANCEL": OK}
    first = refer(referrer, invitee)
    assert referrer.incoming("NOTIFY")["Event"] == "refer"
    invites = [invitee.incoming("INVITE")]
    referrer.request(
        "REFER",
        MEETING,
        f"Refer-To: {invitee.address}",
        call_id=first["Call-ID"],
        cseq=2,
        to_tag=first.to_tag,
    )
    assert referrer.response("REFER").status == 202
    assert referrer.wait(lambda m: m.method == "NOTIFY" and m["Event"] == "refer;id=2")
    invites.append(invitee.incoming("INVITE"))
    for invite in invites:
        invitee.respond(invite, 603)
    finals = {referrer.wait(lambda m: m.method == "NOTIFY" and "603" in m.body)["Event"] for _ in range(2)}
    assert finals == {"refer", "refer;id=2"}


def test_a_referrer_who_does_not_want_to_know(peer: Peers, invitee: SipPeer) -> None:
    """481 ends the subscription, not the call."""
    referrer = peer("alice")
    referrer.answers = {"NOTIFY": Answer((481,))}
    first = refer(referrer, invitee)
    referrer.incoming("NOTIFY")
    invite = invitee.incoming("INVITE")
    invitee.respond(invite, 180)
    referrer.nothing("NOTIFY", 1.5)
    referrer.request(
        "REFER",
        MEETING,
        f"Refer-To: {invitee.address}",
        call_id=first["Call-ID"],
        cseq=2,
        to_tag=first.to_tag,
    )
    assert referrer.response("REFER").status == 481  # its dialog has gone with it
    invitee.answers = {"CANCEL": OK}
    invitee.respond(invite, 486)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 400),
        (("Refer-To: <sip:a@127.0.0.1>", "Refer-To: <sip:b@127.0.0.1>"), 400),
        (("Refer-To: <tel:+4930>",), 400),
        (("Refer-To: <sip:a@127.0.0.1;method=BYE>",), 403),
        (("Refer-To: <sip:a@127.0.0.1?Replaces=x%40y>",), 501),
        (("Refer-To: <sip:a@elsewhere.example>",), 403),
        (("Refer-To: <sip:a@127.0.0.1>", "Require: foo"), 420),
    ],
)
def test_refused(referrer: SipPeer, headers: tuple[str, ...], status: int) -> None:
    referrer.request("REFER", MEETING, *headers)
    refused = referrer.response("REFER")
    assert refused.status == status
    if status == 420:
        assert refused["Unsupported"] == "foo"


def test_others_may_not(peer: Peers, invitee: SipPeer) -> None:
    assert refer(peer("eve", "elsewhere.example"), invitee).status == 403
    invitee.nothing("INVITE", 0.3)


def test_no_such_conference_or_dialog(referrer: SipPeer) -> None:
    header = "Refer-To: <sip:a@127.0.0.1>"
    referrer.request("REFER", "sip:nobody@conf.example", header)
    assert referrer.response("REFER").status == 404
    referrer.request("REFER", MEETING, header, to_tag="unknown")
    assert referrer.response("REFER").status == 481


def test_closed_as_it_comes(closed: Lab, invitee: SipPeer) -> None:
    with SipPeer(("127.0.0.1", closed.ports.sip), "alice") as referrer:
        assert refer(referrer, invitee).status == 403
        referrer.request("OPTIONS", MEETING)
        options = referrer.response("OPTIONS")
        assert "recipient-list-invite" not in options["Supported"]
        assert "REFER" in options["Allow"]
        assert "resource-lists" not in options["Accept"]


def test_a_retransmitted_refer_is_one(referrer: SipPeer, invitee: SipPeer) -> None:
    invitee.answers = {"INVITE": Answer((486,))}
    with_branch = f"Refer-To: <{invitee.address}>"
    sent: list[bytes] = []
    original = referrer.socket.sendto

    class Twice:
        """The peer's socket, which sends everything twice while this stands."""

        def sendto(self, data: bytes, address: tuple[str, int]) -> None:
            sent.append(data)
            original(data, address)
            original(data, address)

        def getsockname(self) -> tuple[str, int]:
            name: tuple[str, int] = socket.getsockname()
            return name

    socket = referrer.socket
    referrer.socket = Twice()  # type: ignore[assignment]  # a double that has what request() needs
    referrer.request("REFER", MEETING, with_branch)
    referrer.socket = socket
    assert referrer.response("REFER").status == 202
    invitee.incoming("INVITE")
    invitee.nothing("INVITE", 0.5)
