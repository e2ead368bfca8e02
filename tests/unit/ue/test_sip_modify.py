"""Re-INVITEs of the UE and of the far end, with explicit time."""

import itertools

from aiosipua import SipDigestAuth, SipRequest, SipResponse

from mrf_ue.sip_call import Callee, OutgoingCall
from mrf_ue.sip_call import Output as CallOutput
from mrf_ue.sip_dialog import LocalEnd, new_response
from mrf_ue.sip_modify import Modified, ModifyTimeout, Output, Reoffered
from mrf_ue.sip_transactions import TRANSACTION_TIMEOUT, Send


def answer_to(request: SipRequest, status: int) -> SipResponse:
    return new_response(request, status, "X", to_tag="focus", contact="<sip:focus@127.0.0.2:5060>")


def far_request(call: OutgoingCall, method: str, cseq: int) -> SipRequest:
    assert call.dialog is not None
    request = SipRequest(method=method, uri="sip:alice@127.0.0.1:5070")
    request.set_header("Via", "SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKfar")
    request.set_header("From", "<sip:conf@127.0.0.2>;tag=focus")
    request.set_header("To", call.dialog.local)
    request.set_header("Call-ID", call.call_id)
    request.set_header("CSeq", f"{cseq} {method}")
    return request


def standing(*, reliable: bool = True, login: SipDigestAuth | None = None) -> OutgoingCall:
    """A call up to the ACK."""
    numbers = itertools.count(1)
    call = OutgoingCall(
        Callee("sip:conf@127.0.0.2:5060"),
        LocalEnd("sip:alice@example", "127.0.0.1", 5070, "udp"),
        "call-1",
        lambda: f"token{next(numbers)}",
        reliable=reliable,
        login=login,
    )
    [invite] = call.invite(b"v=0", 0.0)
    assert isinstance(invite, Send)
    assert isinstance(invite.message, SipRequest)
    call.receive(answer_to(invite.message, 200), 1.0)
    call.ack()
    return call


def messages(outputs: list[Output] | list[CallOutput]) -> list[SipRequest | SipResponse]:
    return [output.message for output in outputs if isinstance(output, Send)]


def invited(outputs: list[Output] | list[CallOutput]) -> SipRequest:
    """The INVITE among what is sent."""
    (invite,) = [
        each for each in messages(outputs) if isinstance(each, SipRequest) and each.method == "INVITE"
    ]
    return invite


def test_a_change_is_acknowledged_and_acknowledged_again() -> None:
    call = standing()
    invite = invited(call.changes.offer(b"offer", 2.0))
    assert (invite.get_header("CSeq"), invite.body) == ("2 INVITE", b"offer")
    assert call.changes.offer(b"another", 2.0) == []  # one at a time
    answer = answer_to(invite, 200)
    ack, modified = call.receive(answer, 2.1)
    assert isinstance(ack, Send)
    assert ack.message.get_header("CSeq") == "2 ACK"
    assert modified == Modified(answer)
    assert call.receive(answer, 2.2) == [Send(ack.message, first=False)]
    assert invited(call.changes.offer(b"next", 3.0)).get_header("CSeq") == "3 INVITE"


def test_a_refused_change_leaves_the_call() -> None:
    call = standing()
    invite = invited(call.changes.offer(b"offer", 2.0))
    refusal = answer_to(invite, 488)
    ack, modified = call.receive(refusal, 2.1)
    assert isinstance(ack, Send)
    assert ack.message.via[0].branch == invite.via[0].branch
    assert modified == Modified(refusal)
    assert not call.changes.busy


def test_a_change_without_response_is_given_up() -> None:
    call = standing(reliable=False)
    call.changes.offer(b"offer", 2.0)
    assert call.next_deadline() == 2.5
    (again,) = call.tick(2.5)
    assert isinstance(again, Send)
    assert again.first is False
    outputs = call.tick(2.0 + TRANSACTION_TIMEOUT)
    assert ModifyTimeout() in outputs
    assert not call.changes.busy


def test_a_challenge_is_answered_once() -> None:
    call = standing(login=SipDigestAuth("alice", "secret"))
    invite = invited(call.changes.offer(b"offer", 2.0))
    challenge = answer_to(invite, 407)
    challenge.add_header("Proxy-Authenticate", 'Digest realm="e", nonce="n"')
    again = invited(call.receive(challenge, 2.1))
    assert (again.get_header("CSeq"), again.body) == ("3 INVITE", b"offer")
    assert "Digest" in (again.get_header("Proxy-Authorization") or "")


def test_who_is_out_of_turn_is_told_so() -> None:
    call = standing()
    call.changes.offer(b"offer", 2.0)
    (refused,) = messages(call.changes.request(far_request(call, "INVITE", 9)))
    assert isinstance(refused, SipResponse)
    assert refused.status_code == 491


def test_our_200_is_sent_again_until_its_ack() -> None:
    call = standing()
    request = far_request(call, "INVITE", 9)
    assert call.receive(request, 2.0) == [Reoffered(request)]
    (response,) = messages(call.changes.answer(200, "OK", b"answer", 2.0))
    assert isinstance(response, SipResponse)
    assert (response.status_code, response.body) == (200, b"answer")
    assert call.next_deadline() == 2.5
    assert call.tick(2.5) == [Send(response, first=False)]
    call.receive(far_request(call, "ACK", 9), 2.6)
    assert call.next_deadline() is None
    assert call.changes.answer(200, "OK", b"", 3.0) == []  # nothing is asked
