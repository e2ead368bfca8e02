import itertools
from dataclasses import replace

import pytest
from aiosipua import SipDigestAuth, SipRequest, SipResponse

from mrf_ue.sip_call import (
    Answered,
    Callee,
    CallState,
    HungUp,
    NoAnswer,
    OutgoingCall,
    Output,
    Progress,
    Refused,
    Released,
)
from mrf_ue.sip_dialog import LocalEnd, new_response
from mrf_ue.sip_modify import Reoffered
from mrf_ue.sip_transactions import Send

END = LocalEnd("sip:alice@example", "127.0.0.1", 5070, "udp")
CONTACT = "<sip:focus@127.0.0.2:5060;transport=udp>;isfocus"


def new_call(*, login: SipDigestAuth | None = None, reliable: bool = True) -> OutgoingCall:
    numbers = itertools.count(1)
    return OutgoingCall(
        Callee("sip:conf@127.0.0.2:5060;transport=udp"),
        END,
        "call-1",
        lambda: f"token{next(numbers)}",
        reliable=reliable,
        login=login,
    )


def sent(outputs: list[Output]) -> list[SipRequest | SipResponse]:
    return [output.message for output in outputs if isinstance(output, Send)]


def sent_request(outputs: list[Output]) -> SipRequest:
    (message,) = sent(outputs)
    assert isinstance(message, SipRequest)
    return message


def answer_to(
    request: SipRequest, status: int, tag: str = "focus", routes: tuple[str, ...] = ()
) -> SipResponse:
    response = new_response(request, status, "X", to_tag=tag, contact=CONTACT)
    for route in routes:
        response.add_header("Record-Route", route)
    return response


def far_request(call: OutgoingCall, method: str, cseq: int, from_tag: str = "focus") -> SipRequest:
    dialog = call.dialog
    assert dialog is not None
    request = SipRequest(method=method, uri="sip:alice@127.0.0.1:5070")
    request.set_header("Via", "SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKfar")
    request.set_header("From", f"<sip:conf@127.0.0.2>;tag={from_tag}")
    request.set_header("To", dialog.local)
    request.set_header("Call-ID", call.call_id)
    request.set_header("CSeq", f"{cseq} {method}")
    return request


def answered_call(routes: tuple[str, ...] = ()) -> tuple[OutgoingCall, SipRequest]:
    call = new_call()
    invite = sent_request(call.invite(b"v=0", 0.0))
    outputs = call.receive(answer_to(invite, 200, routes=routes), 1.0)
    assert [type(output) for output in outputs] == [Answered]
    return call, invite


@pytest.mark.parametrize(
    ("name", "shown"),
    [("", ""), ("Alice", '"Alice" '), ('Zoë "Z" \\', '"Zoë \\"Z\\" \\\\" ')],
)
def test_the_display_name_is_quoted(name: str, shown: str) -> None:
    assert replace(END, display_name=name).address == f"{shown}<sip:alice@example>"


def test_invite_says_who_calls_whom_and_how_to_come_back() -> None:
    invite = sent_request(new_call().invite(b"v=0\r\n", 0.0))
    assert invite.uri == "sip:conf@127.0.0.2:5060;transport=udp"
    assert invite.get_header("To") == "<sip:conf@127.0.0.2>"
    assert (invite.get_header("From") or "").startswith("<sip:alice@example>;tag=")
    assert invite.get_header("Contact") == "<sip:alice@127.0.0.1:5070>"
    assert (invite.get_header("Content-Type"), invite.body) == ("application/sdp", b"v=0\r\n")


def test_the_200_waits_for_the_user_and_is_acknowledged_again_when_it_comes_again() -> None:
    call, invite = answered_call()
    repeated = answer_to(invite, 200)
    assert call.receive(repeated, 1.5) == []
    ack = sent_request(call.ack())
    assert (ack.method, ack.uri, ack.get_header("CSeq")) == (
        "ACK",
        "sip:focus@127.0.0.2:5060;transport=udp",
        "1 ACK",
    )
    assert call.receive(repeated, 2.0) == [Send(ack, first=False)]
    assert call.ack() == []


def test_requests_follow_the_recorded_route_backwards() -> None:
    call, _ = answered_call(("<sip:p2.example;lr>", "<sip:p1.example;lr>"))
    ack = sent_request(call.ack())
    assert ack.get_header_values("Route") == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
    assert ack.uri == "sip:focus@127.0.0.2:5060;transport=udp"
    bye = sent_request(call.bye(2.0))
    assert bye.get_header_values("Route") == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]


def test_a_strict_router_gets_its_own_uri_on_top() -> None:
    call, _ = answered_call(("<sip:old.example>",))
    ack = sent_request(call.ack())
    assert ack.uri == "sip:old.example"
    assert ack.get_header_values("Route") == ["<sip:focus@127.0.0.2:5060;transport=udp>"]


def test_bye_ends_the_call_when_it_is_answered() -> None:
    call, _ = answered_call()
    call.ack()
    bye = sent_request(call.bye(2.0))
    assert (bye.method, bye.get_header("CSeq")) == ("BYE", "2 BYE")
    outputs = call.receive(answer_to(bye, 200), 2.1)
    assert [type(output) for output in outputs] == [Released]
    assert call.state is CallState.ENDED
    assert call.bye(3.0) == []


def test_an_unanswered_bye_ends_the_call_after_timer_f() -> None:
    call, _ = answered_call()
    call.ack()
    call.bye(2.0)
    assert call.next_deadline() == 34.0
    assert call.tick(34.0) == [NoAnswer("BYE")]
    assert call.state is CallState.ENDED


def test_a_refusal_is_acknowledged_and_told() -> None:
    call = new_call()
    invite = sent_request(call.invite(b"", 0.0))
    ack, refused = call.receive(answer_to(invite, 488), 1.0)
    assert isinstance(ack, Send)
    assert isinstance(ack.message, SipRequest)
    assert ack.message.method == "ACK"
    assert isinstance(refused, Refused)
    assert call.state is CallState.ENDED


def test_cancel_waits_for_a_provisional_response() -> None:
    call = new_call()
    invite = sent_request(call.invite(b"", 0.0))
    assert call.cancel(0.1) == []
    outputs = call.receive(answer_to(invite, 100), 0.2)
    assert isinstance(outputs[0], Progress)
    cancel = sent_request(outputs)
    assert (cancel.method, cancel.uri, cancel.get_header("CSeq")) == ("CANCEL", invite.uri, "1 CANCEL")
    assert cancel.via[0].branch == invite.via[0].branch
    assert call.receive(answer_to(cancel, 200), 0.3) == []
    assert any(isinstance(output, Refused) for output in call.receive(answer_to(invite, 487), 0.4))


def test_cancel_goes_out_at_once_when_it_may_and_only_once() -> None:
    call = new_call()
    invite = sent_request(call.invite(b"", 0.0))
    call.receive(answer_to(invite, 180), 0.2)
    assert sent_request(call.cancel(0.3)).method == "CANCEL"
    assert call.cancel(0.4) == []
    call.receive(answer_to(invite, 180), 0.5)
    assert [type(output) for output in call.receive(answer_to(invite, 200), 0.6)] == [Answered]


def test_a_cancelled_invite_without_final_response_is_over_after_64_t1() -> None:
    """RFC 3261 9.1: ringing may last, but not after a CANCEL."""
    call = new_call()
    invite = sent_request(call.invite(b"", 0.0))
    call.receive(answer_to(invite, 180), 0.2)
    cancel = sent_request(call.cancel(10.0))
    call.receive(answer_to(cancel, 200), 10.1)
    outputs: list[object] = []
    while (at := call.next_deadline()) is not None:
        outputs += [(at, each) for each in call.tick(at)]
    assert outputs == [(42.0, NoAnswer("INVITE"))]
    assert call.state is CallState.ENDED


def test_a_second_answer_from_a_fork_is_acknowledged_and_hung_up() -> None:
    call, invite = answered_call()
    fork = answer_to(invite, 200, tag="other")
    ack, bye = sent(call.receive(fork, 2.0))
    assert isinstance(ack, SipRequest)
    assert isinstance(bye, SipRequest)
    assert (ack.method, bye.method) == ("ACK", "BYE")
    assert all((message.get_header("To") or "").endswith("tag=other") for message in (ack, bye))
    assert sent(call.receive(fork, 3.0)) == [ack]


def test_the_far_end_may_hang_up() -> None:
    call, _ = answered_call()
    call.ack()
    reply, event = call.receive(far_request(call, "BYE", 5), 3.0)
    assert isinstance(reply, Send)
    assert isinstance(reply.message, SipResponse)
    assert reply.message.status_code == 200
    assert isinstance(event, HungUp)
    assert call.state is CallState.ENDED


def test_requests_that_do_not_fit_the_dialog_are_refused() -> None:
    call, _ = answered_call()
    call.ack()

    def status(request: SipRequest) -> int:
        (message,) = sent(call.receive(request, 3.0))
        assert isinstance(message, SipResponse)
        return message.status_code

    assert status(far_request(call, "BYE", 5, from_tag="stranger")) == 481
    assert status(far_request(call, "OPTIONS", 5)) == 200
    assert status(far_request(call, "BYE", 5)) == 500
    [change] = call.receive(far_request(call, "INVITE", 6), 3.0)
    assert isinstance(change, Reoffered)
    [busy] = call.receive(far_request(call, "INVITE", 7), 3.0)  # one after the other
    assert isinstance(busy, Send)
    assert isinstance(busy.message, SipResponse)
    assert (busy.message.status_code, busy.message.get_header("Retry-After")) == (500, "1")
    [refused] = call.changes.answer(488, "Not Acceptable Here", b"", 3.0)
    assert isinstance(refused, Send)
    assert status(far_request(call, "UPDATE", 8)) == 200
    assert status(far_request(call, "INFO", 9)) == 405
    assert call.state is CallState.CONFIRMED


def test_a_challenge_is_answered_once() -> None:
    call = new_call(login=SipDigestAuth("alice", "secret"))
    invite = sent_request(call.invite(b"v=0", 0.0))
    challenge = answer_to(invite, 407)
    challenge.add_header("Proxy-Authenticate", 'Digest realm="e", nonce="n", algorithm=AKAv1-MD5')
    challenge.add_header("Proxy-Authenticate", 'Digest realm="e", nonce="n", algorithm=SHA-256, qop="auth"')
    ack, second = sent(call.receive(challenge, 0.1))
    assert isinstance(ack, SipRequest)
    assert isinstance(second, SipRequest)
    assert (ack.method, second.get_header("CSeq")) == ("ACK", "2 INVITE")
    assert 'username="alice"' in (second.get_header("Proxy-Authorization") or "")
    assert "secret" not in (second.get_header("Proxy-Authorization") or "")
    assert second.via[0].branch != invite.via[0].branch
    again = answer_to(second, 407)
    again.add_header("Proxy-Authenticate", 'Digest realm="e", nonce="m", algorithm=SHA-256, qop="auth"')
    assert any(isinstance(output, Refused) for output in call.receive(again, 0.2))


def test_a_challenge_without_credentials_is_a_refusal() -> None:
    call = new_call()
    invite = sent_request(call.invite(b"v=0", 0.0))
    challenge = answer_to(invite, 401)
    challenge.add_header("WWW-Authenticate", 'Digest realm="e", nonce="n"')
    assert any(isinstance(output, Refused) for output in call.receive(challenge, 0.1))


def test_no_response_at_all_is_told_after_timer_b() -> None:
    call = new_call(reliable=False)
    call.invite(b"", 0.0)
    repeats = 0
    outputs: list[Output] = []
    while (deadline := call.next_deadline()) is not None:
        outputs = call.tick(deadline)
        repeats += len(sent(outputs))
    assert repeats == 6
    assert outputs == [NoAnswer("INVITE")]
