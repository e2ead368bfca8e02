import itertools

import pytest
from aiosipua import SipRequest, SipResponse

from mrf_ue.sip_call import CallState, HungUp, NoAnswer, Released
from mrf_ue.sip_dialog import LocalEnd, new_response
from mrf_ue.sip_incoming_call import Acknowledged, Cancelled, IncomingCall, NotAcknowledged
from mrf_ue.sip_transactions import Send

END = LocalEnd("sip:bob@example", "127.0.0.1", 5080, "udp")


def far_request(method: str, cseq: int, to_tag: str = "") -> SipRequest:
    request = SipRequest(method=method, uri="sip:bob@127.0.0.1:5080")
    request.set_header("Via", f"SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK{cseq}")
    request.set_header("From", "<sip:conf@mrf.example>;tag=far")
    request.set_header("To", "<sip:bob@example>" + (f";tag={to_tag}" if to_tag else ""))
    request.set_header("Call-ID", "call-2")
    request.set_header("CSeq", f"{cseq} {method}")
    request.set_header("Contact", "<sip:conf@127.0.0.2:5060>;isfocus")
    request.add_header("Record-Route", "<sip:p1.example;lr>")
    request.add_header("Record-Route", "<sip:p2.example;lr>")
    return request


def new_call(*, reliable: bool = False) -> IncomingCall:
    numbers = itertools.count(1)
    return IncomingCall(far_request("INVITE", 10), END, lambda: f"token{next(numbers)}", reliable=reliable)


def messages(outputs: list[object]) -> list[SipRequest | SipResponse]:
    return [output.message for output in outputs if isinstance(output, Send)]


def statuses(outputs: object) -> list[int]:
    assert isinstance(outputs, list)
    return [each.status_code for each in messages(outputs) if isinstance(each, SipResponse)]


def accepted_call() -> IncomingCall:
    call = new_call()
    assert statuses(call.ring()) == [180]
    assert statuses(call.accept(b"v=0", 0.0)) == [200]
    return call


def test_the_200_goes_the_way_of_the_invite_and_carries_the_answer() -> None:
    (message,) = messages(list(new_call().accept(b"v=0", 0.0)))
    assert isinstance(message, SipResponse)
    assert message.get_header_values("Record-Route") == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
    assert message.get_header("Contact") == "<sip:bob@127.0.0.1:5080>"
    assert message.get_header("To") == "<sip:bob@example>;tag=token1"
    assert (message.get_header("Content-Type"), message.body) == ("application/sdp", b"v=0")


@pytest.mark.parametrize("reliable", [True, False])
def test_the_200_is_repeated_until_the_ack_on_every_transport(reliable: bool) -> None:
    call = new_call(reliable=reliable)
    call.accept(b"v=0", 0.0)
    times = []
    while (at := call.next_deadline()) is not None and at < 12:
        times += [at for _ in messages(list(call.tick(at)))]
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5]
    assert call.receive(far_request("ACK", 10, "token1"), 12.0) == [Acknowledged()]
    assert call.next_deadline() is None
    assert call.state is CallState.CONFIRMED


def test_a_200_that_nobody_acknowledges() -> None:
    call = accepted_call()
    outputs: list[object] = []
    while (at := call.next_deadline()) is not None:
        outputs = list(call.tick(at))
    assert outputs == [NotAcknowledged()]
    (bye,) = messages(list(call.bye(33.0)))
    assert isinstance(bye, SipRequest)
    assert bye.method == "BYE"


def test_a_refusal_is_repeated_on_udp_only() -> None:
    assert statuses(new_call().refuse(488, "Not Acceptable Here", 0.0)) == [488]
    call = new_call(reliable=True)
    call.refuse(488, "Not Acceptable Here", 0.0, (("Warning", '306 h "x"'),))
    assert call.tick(1.0) == []
    call.receive(far_request("ACK", 10, "token1"), 1.5)
    assert call.next_deadline() is None


def test_the_caller_may_give_up_before_the_answer() -> None:
    call = new_call()
    outputs = call.receive(far_request("CANCEL", 10), 0.5)
    assert statuses(outputs) == [200, 487]
    assert outputs[-1] == Cancelled()
    assert call.accept(b"", 0.6) == []
    assert call.ring() == []


def test_a_cancel_after_the_answer_changes_nothing() -> None:
    call = accepted_call()
    assert statuses(call.receive(far_request("CANCEL", 10), 0.5)) == [200]
    assert call.state is CallState.ANSWERED


def test_bye_from_either_side() -> None:
    call = accepted_call()
    outputs = call.receive(far_request("BYE", 11, "token1"), 1.0)
    assert statuses(outputs) == [200]
    assert isinstance(outputs[-1], HungUp)
    assert call.bye(2.0) == []

    call = accepted_call()
    call.receive(far_request("ACK", 10, "token1"), 0.1)
    (bye,) = messages(list(call.bye(1.0)))
    assert isinstance(bye, SipRequest)
    assert bye.uri == "sip:conf@127.0.0.2:5060"
    assert bye.get_header_values("Route") == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
    assert bye.get_header("From") == "<sip:bob@example>;tag=token1"
    assert [type(each) for each in call.receive(new_response(bye, 200, "OK"), 1.1)] == [Released]


def test_our_bye_waits_for_the_ack() -> None:
    """RFC 3261 15: the called end sends no BYE before the ACK; its 200 is repeated meanwhile."""
    call = accepted_call()
    assert call.bye(0.1) == []
    assert statuses(call.tick(0.5)) == [200]
    (bye,) = messages(list(call.receive(far_request("ACK", 10, "token1"), 0.6)))
    assert isinstance(bye, SipRequest)
    assert bye.method == "BYE"
    assert call.receive(far_request("ACK", 10, "token1"), 0.7) == []  # the ACK again
    assert [type(each) for each in call.receive(new_response(bye, 200, "OK"), 0.8)] == [Released]


def test_our_bye_goes_without_an_ack_that_never_comes() -> None:
    call = accepted_call()
    assert call.bye(0.1) == []
    outputs: list[object] = []
    while call.next_deadline() is not None and not any(isinstance(each, NotAcknowledged) for each in outputs):
        outputs = list(call.tick(call.next_deadline() or 0.0))
    assert outputs[0] == NotAcknowledged()
    (bye,) = messages(outputs)
    assert isinstance(bye, SipRequest)
    assert bye.method == "BYE"


def test_their_bye_ends_ours_that_waits() -> None:
    call = accepted_call()
    call.bye(0.1)
    outputs = call.receive(far_request("BYE", 11, "token1"), 0.2)
    assert isinstance(outputs[-1], HungUp)
    assert call.next_deadline() is None
    assert call.state is CallState.ENDED


def test_a_bye_without_response() -> None:
    call = accepted_call()
    call.receive(far_request("ACK", 10, "token1"), 0.1)
    call.bye(1.0)
    outputs: list[object] = []
    while (at := call.next_deadline()) is not None:
        outputs = list(call.tick(at))
    assert outputs == [NoAnswer("BYE")]


def test_requests_that_do_not_fit_the_dialog_are_refused() -> None:
    call = accepted_call()
    assert statuses(call.receive(far_request("BYE", 11, "other"), 1.0)) == [481]
    assert statuses(call.receive(far_request("BYE", 9, "token1"), 1.0)) == [500]
    assert statuses(call.receive(far_request("INVITE", 12, "token1"), 1.0)) == [488]
    assert statuses(call.receive(far_request("INVITE", 10), 1.0)) == [200]
