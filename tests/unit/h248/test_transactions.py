"""The transaction machine, with time in the test's hands."""

from __future__ import annotations

import time

import pytest

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.transactions import (
    LONG_TIMER,
    MessageErrorReceived,
    PendingReceived,
    ReplyReceived,
    RequestReceived,
    RequestTimedOut,
    Retransmission,
    Send,
    SendError,
    TransactionIds,
    Transactions,
    UnknownReplyReceived,
)
from mrf_protocols.h248.values import (
    Action,
    DeviceName,
    ErrorDescriptor,
    Message,
    SegmentReply,
    Transaction,
    TransactionPending,
    TransactionReply,
    TransactionRequest,
    TransactionResponseAck,
)

ACTIONS = (Action(1),)
REPLIES = {number: Send(TransactionReply(number, ACTIONS)) for number in range(1, 6)}


def message(*items: Transaction) -> Message:
    return Message(3, DeviceName("m"), items)


def test_request_and_reply() -> None:
    machine = Transactions()
    request = machine.request(ACTIONS, 0, 3)
    assert request == TransactionRequest(1, ACTIONS)
    assert machine.next_deadline() == 3
    reply = TransactionReply(1, ACTIONS)
    assert machine.receive(message(reply), 1) == [ReplyReceived(reply)]
    assert machine.outstanding == 0
    assert machine.next_deadline() is None
    assert machine.receive(message(reply), 1) == [UnknownReplyReceived(1, reply)]


def test_identifiers_are_unique_and_wrap() -> None:
    machine = Transactions(ids=TransactionIds(0xFFFFFFFE))
    ids = [machine.request(ACTIONS, 0, 3).transaction_id for _ in range(4)]
    assert ids == [0xFFFFFFFE, 0xFFFFFFFF, 1, 2]


def test_no_identifier_is_given_to_two_open_requests() -> None:
    class Again(TransactionIds):
        """Comes around after three."""

        def take(self) -> int:
            return (super().take() - 1) % 3 + 1

    machine = Transactions(ids=Again())
    assert [machine.request(ACTIONS, 0, 3).transaction_id for _ in range(2)] == [1, 2]
    machine.forget(2)
    assert [machine.request(ACTIONS, 0, 3).transaction_id for _ in range(2)] == [3, 2]


def test_associations_of_one_entity_share_identifiers() -> None:
    ids = TransactionIds(7)
    one, two = Transactions(ids=ids), Transactions(ids=ids)
    assert [m.request(ACTIONS, 0, 3).transaction_id for m in (one, two, one)] == [7, 8, 9]


def test_time_out() -> None:
    machine = Transactions()
    machine.request(ACTIONS, 0, 3)
    assert machine.tick(2.9) == []
    assert machine.tick(3) == [RequestTimedOut(1)]
    assert machine.tick(4) == []
    late = TransactionReply(1, ACTIONS)
    assert machine.receive(message(late), 4) == [UnknownReplyReceived(1, late)]


def test_pending_extends_to_the_limit() -> None:
    machine = Transactions()
    machine.request(ACTIONS, 0, 3, limit=10)
    assert machine.receive(message(TransactionPending(1)), 2) == [PendingReceived(1)]
    assert machine.tick(9) == []
    machine.receive(message(TransactionPending(1)), 9)
    assert machine.tick(10) == [RequestTimedOut(1)]
    assert machine.receive(message(TransactionPending(1)), 11) == [UnknownReplyReceived(1)]


def test_pending_without_a_limit_extends_nothing() -> None:
    machine = Transactions()
    machine.request(ACTIONS, 0, 3)
    machine.receive(message(TransactionPending(1)), 2)
    assert machine.tick(3) == [RequestTimedOut(1)]


def test_a_request_is_executed_once() -> None:
    machine = Transactions()
    request = TransactionRequest(7, ACTIONS)
    reply = TransactionReply(7, ACTIONS)
    assert machine.receive(message(request), 0) == [RequestReceived(request)]
    assert machine.receive(message(request), 0.5) == [Send(TransactionPending(7))]
    assert machine.reply(reply, 0.6) == [Send(reply)]
    assert machine.reply(reply, 0.7) == []
    assert machine.receive(message(request), 1) == [Send(reply)]
    machine.tick(0.6 + LONG_TIMER)
    assert machine.receive(message(request), 0.6 + LONG_TIMER) == [RequestReceived(request)]


def test_pending_while_executing() -> None:
    machine = Transactions(pending_after=1)
    machine.receive(message(TransactionRequest(7, ACTIONS)), 0)
    assert machine.tick(0.9) == []
    assert machine.tick(1) == [Send(TransactionPending(7))]
    assert machine.tick(1.5) == []
    assert machine.tick(2) == [Send(TransactionPending(7))]


def test_a_reply_to_nothing_is_dropped() -> None:
    assert Transactions().reply(TransactionReply(1), 0) == []


def test_too_many_at_once_are_refused() -> None:
    machine = Transactions(max_open=1)
    machine.receive(message(TransactionRequest(1, ACTIONS)), 0)
    refused = machine.receive(message(TransactionRequest(2, ACTIONS)), 0)
    error = H248Error(ErrorCode.TEMPORARILY_BUSY).descriptor
    assert refused == [Send(TransactionReply(2, error=error))]


def test_replies_kept_are_bounded() -> None:
    machine = Transactions(max_replies=1)
    for number in (1, 2):
        machine.receive(message(TransactionRequest(number, ACTIONS)), 0)
        machine.reply(TransactionReply(number), 0)
    request = TransactionRequest(1, ACTIONS)
    assert machine.receive(message(request), 1) == [RequestReceived(request)]


def test_acknowledged_replies_are_forgotten() -> None:
    machine = Transactions()
    for number in (1, 2, 3, 9):
        machine.receive(message(TransactionRequest(number, ACTIONS)), 0)
        machine.reply(TransactionReply(number), 0)
    assert machine.receive(message(TransactionResponseAck(((1, 1), (2, 0xFFFFFFFF)))), 0) == []
    assert machine.next_deadline() is None


@pytest.mark.parametrize(
    ("ranges", "left"),
    [
        (((3, 3),), {1, 2, 4, 5}),
        (((4, 2),), {1, 2, 3, 4, 5}),
        (((2, 900), (3, 4), (901, 902)), {1}),
        (((1, 0xFFFFFFFF), (5, 5)), set()),
        (((10, 900), (0, 1), (7, 6)), {2, 3, 4, 5}),
        (((4, 900), (2, 100)), {1}),
    ],
)
def test_ranges_of_acknowledgements(ranges: tuple[tuple[int, int], ...], left: set[int]) -> None:
    machine = Transactions()
    for number in range(1, 6):
        machine.receive(message(TransactionRequest(number, ACTIONS)), 0)
        machine.reply(TransactionReply(number, ACTIONS), 0)
    machine.receive(message(TransactionResponseAck(ranges)), 0)
    known = [
        n
        for n in range(1, 6)
        if machine.receive(message(TransactionRequest(n, ACTIONS)), 0)[0:1] == [REPLIES[n]]
    ]
    assert set(known) == left


def test_thousands_of_ranges_of_acknowledgements_cost_little() -> None:
    machine = Transactions()
    for number in range(1, 4097):
        machine.receive(message(TransactionRequest(number, ACTIONS)), 0)
        machine.reply(TransactionReply(number, ACTIONS), 0)
    ranges = tuple((10_000_000 + 10_000 * n, 10_000_000 + 10_000 * n + 9000) for n in range(100_000))
    began = time.process_time()
    machine.receive(message(TransactionResponseAck(ranges)), 0)
    assert time.process_time() - began < 10  # each looked at for each reply: a minute and more


def test_an_acknowledgement_is_sent_when_asked_for() -> None:
    machine = Transactions()
    machine.request(ACTIONS, 0, 3)
    reply = TransactionReply(1, ACTIONS, immediate_ack=True)
    assert machine.receive(message(reply), 1) == [
        Send(TransactionResponseAck(((1, 1),))),
        ReplyReceived(reply),
    ]


def test_segments() -> None:
    machine = Transactions()
    machine.request(ACTIONS, 0, 3)
    last = TransactionReply(1, (Action(2),), segment=2, last_segment=True)
    first = TransactionReply(1, (Action(1),), segment=1)
    assert machine.receive(message(last), 1) == [Send(SegmentReply(1, 2, True))]
    assert machine.receive(message(first), 1) == [
        Send(SegmentReply(1, 1)),
        ReplyReceived(TransactionReply(1, (Action(1), Action(2)))),
    ]


def test_segments_are_bounded() -> None:
    machine = Transactions(max_segments=2)
    machine.request(ACTIONS, 0, 3)
    for number in (5, 6, 7):
        machine.receive(message(TransactionReply(1, (Action(1),), segment=number)), 1)
    assert machine.receive(message(TransactionReply(1, segment=3, last_segment=True)), 1) == [
        Send(SegmentReply(1, 3, True))
    ]
    assert machine.tick(3) == [RequestTimedOut(1)]


def test_message_errors_are_told_and_not_answered() -> None:
    error = ErrorDescriptor(406, "Version")
    assert Transactions().receive(Message(3, DeviceName("m"), error=error), 0) == [
        MessageErrorReceived(error)
    ]


def test_undecodable_messages() -> None:
    machine = Transactions()
    error = H248Error(403, transaction_id=5)
    assert machine.refused(error, 0) == [Send(TransactionReply(5, error=error.descriptor))]
    assert machine.refused(error, 0) == []
    whole = H248Error(400)
    assert machine.refused(whole, 0) == [SendError(whole.descriptor)]
    assert machine.refused(H248Error(400, answerable=False), 0) == []


def test_an_undecodable_repetition_does_not_spoil_a_request() -> None:
    machine = Transactions()
    machine.receive(message(TransactionRequest(5, ACTIONS)), 0)
    assert machine.refused(H248Error(403, transaction_id=5), 0) == []
    reply = TransactionReply(5, ACTIONS)
    assert machine.reply(reply, 0) == [Send(reply)]


def test_forgotten() -> None:
    machine = Transactions()
    machine.request(ACTIONS, 0, 3)
    machine.forget(1)
    assert machine.tick(4) == []


# On a transport that loses messages


def lossy() -> Transactions:
    return Transactions(retransmission=Retransmission(first=0.5, longest=4.0))


def test_requests_are_repeated_at_doubled_intervals_until_the_time_is_over() -> None:
    machine = lossy()
    request = machine.request(ACTIONS, 0, 10)
    sent = [tick / 10 for tick in range(100) if Send(request) in machine.tick(tick / 10)]
    assert sent == [0.5, 1.5, 3.5, 7.5]
    assert machine.tick(10) == [RequestTimedOut(1)]
    assert machine.tick(20) == []


def test_repetition_follows_the_delays_measured() -> None:
    machine = lossy()
    for start in range(20):
        number = machine.request(ACTIONS, start, 10).transaction_id
        machine.receive(message(TransactionReply(number, ACTIONS)), start + 0.2)
    request = machine.request(ACTIONS, 100, 10)
    assert machine.tick(100.19) == []
    assert machine.tick(100.4) == [Send(request)]
    machine.receive(
        message(TransactionReply(request.transaction_id, ACTIONS)), 109
    )  # tells nothing of the delay
    again = machine.request(ACTIONS, 200, 10)
    assert machine.tick(200.4) == [Send(again)]


def test_pending_ends_the_repetition() -> None:
    machine = lossy()
    machine.request(ACTIONS, 0, 3, limit=30)
    machine.receive(message(TransactionPending(1)), 0.2)
    assert machine.tick(29) == []
    assert machine.tick(30) == [RequestTimedOut(1)]


def test_reply_after_pending_is_repeated_until_it_is_acknowledged() -> None:
    machine = lossy()
    machine.receive(message(TransactionRequest(5, ACTIONS)), 0)
    assert machine.tick(1) == [Send(TransactionPending(5))]
    reply = TransactionReply(5, ACTIONS, immediate_ack=True)
    assert machine.reply(TransactionReply(5, ACTIONS), 1.2) == [Send(reply)]
    assert machine.tick(1.8) == [Send(reply)]
    assert machine.next_deadline() == 2.8
    machine.receive(message(TransactionResponseAck(((4, 6),))), 2)
    assert machine.tick(20) == []


def test_reply_that_nobody_acknowledges_is_given_up() -> None:
    machine = lossy()
    machine.receive(message(TransactionRequest(5, ACTIONS)), 0)
    machine.tick(1)
    machine.reply(TransactionReply(5, ACTIONS), 1)
    sent = [tick for tick in range(2, 100) if machine.tick(tick)]
    assert sent
    assert sent[-1] < 1 + LONG_TIMER
    assert machine.next_deadline() is None


def test_repeated_request_is_executed_once() -> None:
    machine = lossy()
    request = TransactionRequest(5, ACTIONS)
    assert machine.receive(message(request), 0) == [RequestReceived(request)]
    assert machine.receive(message(request), 0.1) == [Send(TransactionPending(5))]
    reply = TransactionReply(5, ACTIONS, immediate_ack=True)
    assert machine.reply(TransactionReply(5, ACTIONS), 0.2) == [Send(reply)]
    assert machine.receive(message(request), 0.3) == [Send(reply)]


def test_identifier_used_again_with_other_content_gets_the_first_reply() -> None:
    machine = Transactions()
    machine.receive(message(TransactionRequest(5, ACTIONS)), 0)
    reply = TransactionReply(5, ACTIONS)
    machine.reply(reply, 0)
    assert machine.receive(message(TransactionRequest(5, (Action(2),))), 1) == [Send(reply)]
    later = machine.receive(message(TransactionRequest(5, (Action(2),))), LONG_TIMER + 1)
    assert later == [RequestReceived(TransactionRequest(5, (Action(2),)))]


def test_pendings_have_an_end() -> None:
    machine = Transactions(max_pendings=2)
    machine.receive(message(TransactionRequest(5, ACTIONS)), 0)
    assert machine.tick(1) == machine.tick(2) == [Send(TransactionPending(5))]
    (output,) = machine.tick(3)
    assert isinstance(output, Send)
    assert output.transaction == TransactionReply(5, error=H248Error(ErrorCode.PENDINGS_EXCEEDED).descriptor)
    assert machine.reply(TransactionReply(5, ACTIONS), 4) == []
