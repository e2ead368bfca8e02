"""The transaction machine, with time in the test's hands."""

from __future__ import annotations

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.transactions import (
    LONG_TIMER,
    MessageErrorReceived,
    PendingReceived,
    ReplyReceived,
    RequestReceived,
    RequestTimedOut,
    Send,
    SendError,
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
    machine = Transactions(first_transaction_id=0xFFFFFFFE)
    ids = [machine.request(ACTIONS, 0, 3).transaction_id for _ in range(4)]
    assert ids == [0xFFFFFFFE, 0xFFFFFFFF, 1, 2]
    wrapped = Transactions(first_transaction_id=2)
    wrapped.request(ACTIONS, 0, 3)
    wrapped._next_id = 2
    assert wrapped.request(ACTIONS, 0, 3).transaction_id == 3


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
