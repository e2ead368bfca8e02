import pytest
from aiosipua import SipRequest, SipResponse

from mrf_ue.sip_transactions import ClientTransaction, TransactionState


def request(method: str) -> SipRequest:
    return SipMessages.parse_request(
        f"{method} sip:conf@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKa\r\n"
        "Route: <sip:127.0.0.9;lr>\r\nFrom: <sip:a@e>;tag=1\r\nTo: <sip:conf@e>\r\nCall-ID: c\r\n"
        f"CSeq: 7 {method}\r\n\r\n"
    )


class SipMessages:
    @staticmethod
    def parse_request(text: str) -> SipRequest:
        message = SipRequest.parse(text)
        assert isinstance(message, SipRequest)
        return message


def response(status: int, method: str = "INVITE") -> SipResponse:
    message = SipResponse.parse(
        f"SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKa\r\n"
        f"From: <sip:a@e>;tag=1\r\nTo: <sip:conf@e>;tag=2\r\nCall-ID: c\r\nCSeq: 7 {method}\r\n\r\n"
    )
    assert isinstance(message, SipResponse)
    return message


def sending_times(transaction: ClientTransaction, until: float) -> list[float]:
    times = []
    while (deadline := transaction.next_deadline()) is not None and deadline <= until:
        if transaction.tick(deadline).send:
            times.append(deadline)
    return times


def test_invite_is_repeated_with_doubling_intervals_until_timer_b() -> None:
    transaction = ClientTransaction(request("INVITE"), reliable=False)
    assert transaction.start(0.0).send == (transaction.request,)
    assert sending_times(transaction, 31.9) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert transaction.tick(32.0).timed_out
    assert transaction.state is TransactionState.TERMINATED
    assert transaction.next_deadline() is None


def test_other_requests_are_repeated_at_most_every_four_seconds() -> None:
    transaction = ClientTransaction(request("BYE"), reliable=False)
    transaction.start(0.0)
    assert sending_times(transaction, 16.0) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5]


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_nothing_is_repeated_on_a_reliable_transport(method: str) -> None:
    transaction = ClientTransaction(request(method), reliable=True)
    transaction.start(0.0)
    assert transaction.next_deadline() == 32.0
    assert transaction.tick(31.9).send == ()
    assert transaction.tick(32.0).timed_out


def test_a_ringing_invite_waits_without_limit() -> None:
    transaction = ClientTransaction(request("INVITE"), reliable=False)
    transaction.start(0.0)
    assert transaction.receive(response(180), 0.1).response is not None
    assert transaction.next_deadline() is None


def test_a_provisional_response_slows_other_requests_down() -> None:
    transaction = ClientTransaction(request("BYE"), reliable=False)
    transaction.start(0.0)
    transaction.receive(response(100, "BYE"), 0.1)
    assert sending_times(transaction, 9.0) == [0.5, 4.5, 8.5]


def test_a_failure_is_acknowledged_inside_the_transaction_each_time_it_comes() -> None:
    transaction = ClientTransaction(request("INVITE"), reliable=False)
    transaction.start(0.0)
    step = transaction.receive(response(488), 1.0)
    (ack,) = step.send
    assert step.response is not None
    assert (ack.method, ack.uri) == ("ACK", transaction.request.uri)
    assert ack.via[0].branch == "z9hG4bKa"
    assert ack.get_header("Route") == "<sip:127.0.0.9;lr>"
    assert ack.get_header("To") == "<sip:conf@e>;tag=2"
    assert ack.get_header("CSeq") == "7 ACK"
    again = transaction.receive(response(488), 2.0)
    assert again.send == (ack,)
    assert again.response is None
    assert transaction.next_deadline() == 33.0
    assert not transaction.tick(33.0).timed_out


def test_a_success_is_handed_up_and_not_acknowledged() -> None:
    transaction = ClientTransaction(request("INVITE"), reliable=False)
    transaction.start(0.0)
    step = transaction.receive(response(200), 1.0)
    assert step.send == ()
    assert step.response is not None
    assert transaction.state is TransactionState.TERMINATED


@pytest.mark.parametrize(
    ("method", "status", "reliable", "lingers"),
    [
        ("INVITE", 486, False, 32.0),  # Timer D
        ("INVITE", 486, True, 0.0),
        ("INVITE", 200, False, 0.0),  # the call acknowledges
        ("BYE", 200, False, 5.0),  # Timer K
        ("BYE", 200, True, 0.0),
    ],
)
def test_how_long_a_transaction_absorbs_repeated_responses(
    method: str, status: int, reliable: bool, lingers: float
) -> None:
    transaction = ClientTransaction(request(method), reliable=reliable)
    transaction.start(0.0)
    assert transaction.receive(response(status, method), 1.0).response is not None
    assert transaction.next_deadline() == (1.0 + lingers if lingers else None)
    if lingers:
        again = transaction.receive(response(status, method), 1.0 + lingers - 0.1)
        assert (again.response, len(again.send)) == (None, int(method == "INVITE"))
        assert not transaction.tick(1.0 + lingers).timed_out
    assert transaction.state is TransactionState.TERMINATED
    assert transaction.receive(response(status, method), 60.0).send == ()


def test_a_provisional_response_does_not_stop_timer_f() -> None:
    transaction = ClientTransaction(request("BYE"), reliable=True)
    transaction.start(0.0)
    transaction.receive(response(100, "BYE"), 20.0)
    assert transaction.next_deadline() == 32.0
    assert transaction.tick(32.0).timed_out


def test_a_cancelled_invite_gets_an_end() -> None:
    transaction = ClientTransaction(request("INVITE"), reliable=False)
    transaction.start(0.0)
    transaction.receive(response(180), 0.3)
    assert transaction.next_deadline() is None
    transaction.cancelled(5.0)
    assert transaction.tick(37.0).timed_out
    transaction.cancelled(40.0)
    assert transaction.next_deadline() is None
