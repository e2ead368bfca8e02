"""One association: octets in and out, versions, faults."""

from __future__ import annotations

import pytest

from mrf_protocols.h248 import H248Error, decode, encode, tpkt
from mrf_protocols.h248.association import MAX_FAULTS, Association, UndecodableReceived
from mrf_protocols.h248.transactions import ReplyReceived, RequestReceived, RequestTimedOut, Transactions
from mrf_protocols.h248.values import (
    Action,
    Command,
    CommandKind,
    DeviceName,
    LocalControl,
    MediaDescriptor,
    Message,
    Property,
    Stream,
    TransactionReply,
)

AUDIT = Action(5, (Command(CommandKind.AUDIT_VALUE, ("a/1",)),))


def pair() -> tuple[Association, Association]:
    return Association(DeviceName("mg"), Transactions()), Association(DeviceName("mgc"), Transactions())


def test_request_and_reply_over_octets() -> None:
    one, two = pair()
    number = one.request((AUDIT,), 0, 3)
    (event,) = two.receive(one.take(), 0)
    assert isinstance(event, RequestReceived)
    assert two.peer == DeviceName("mg")
    two.reply(TransactionReply(event.request.transaction_id, (AUDIT,)), 0)
    octets = two.take()
    assert decode(octets[4:]).version == 1
    assert one.receive(octets, 0) == [ReplyReceived(TransactionReply(number, (AUDIT,)))]
    assert two.take() == b""


def test_version_of_what_is_written() -> None:
    one, _ = pair()
    one.version = 3
    one.request((AUDIT,), 0, 3)
    assert decode(one.take()[4:]).version == 3


def test_time_out() -> None:
    one, _ = pair()
    number = one.request((AUDIT,), 0, 3)
    assert one.outstanding == 1
    assert one.tick(3) == [RequestTimedOut(number)]


def test_faulty_messages_are_answered_and_counted() -> None:
    one, _ = pair()
    for _ in range(MAX_FAULTS - 1):
        (event,) = one.receive(tpkt.frame(b"nonsense"), 0)
        assert isinstance(event, UndecodableReceived)
        error = decode(one.take()[4:]).error
        assert error is not None
        assert error.code == 400
    with pytest.raises(H248Error):
        one.receive(tpkt.frame(b"nonsense"), 0)


def test_a_good_message_clears_the_count() -> None:
    one, two = pair()
    for _ in range(3 * MAX_FAULTS):
        one.receive(tpkt.frame(b"nonsense"), 0)
        two.request((AUDIT,), 0, 3)
        one.receive(two.take(), 0)


def test_two_sides_do_not_answer_each_others_errors() -> None:
    one, two = pair()
    one.receive(tpkt.frame(b"!/9 mgc T=1{C=1{S=a}}"), 0)
    error = one.take()
    assert b"ER=406" in error
    two.receive(error, 0)
    assert two.take() == b""


def test_what_cannot_be_written_is_not_open() -> None:
    one, _ = pair()
    with pytest.raises(H248Error):
        one.request((AUDIT, _unwritable()), 0, 3)
    assert one.outstanding == 0
    assert one.take() == b""


def _unwritable() -> Action:
    control = LocalControl(properties=(Property("a/b", ("\n",)),))
    return Action(1, (Command(CommandKind.ADD, ("$",), (MediaDescriptor((Stream(1, control),)),)),))


def test_message_error_is_an_event_only() -> None:
    one, _ = pair()
    message = Message(3, DeviceName("mgc"), error=H248Error(500).descriptor)
    assert len(one.receive(tpkt.frame(encode(message)), 0)) == 1
    assert one.take() == b""


def test_a_reply_that_cannot_be_written_becomes_an_error() -> None:
    one, two = pair()
    number = one.request((AUDIT,), 0, 3)
    two.receive(one.take(), 0)
    two.reply(TransactionReply(number, (_unwritable(),)), 0)
    (event,) = one.receive(two.take(), 0)
    assert isinstance(event, ReplyReceived)
    assert event.reply.error is not None
    assert event.reply.error.code == 500


def test_a_reply_that_is_too_long_becomes_an_error() -> None:
    one, two = pair()
    number = one.request((AUDIT,), 0, 3)
    two.receive(one.take(), 0)
    two.reply(TransactionReply(number, (AUDIT,) * 10000), 0)
    (event,) = one.receive(two.take(), 0)
    assert isinstance(event, ReplyReceived)
    assert event.reply.error is not None
    assert event.reply.error.code == 533


def test_error_texts_are_made_fit() -> None:
    error = H248Error(510, 'no "port" left\n\u20ac').descriptor
    written = encode(Message(3, DeviceName("m"), error=error))
    assert written.endswith(b'ER=510{"no ?port? left??"}')


def test_a_reply_that_is_too_long_goes_in_segments() -> None:
    one, two = pair()
    one.version = two.version = 3
    names = tuple(f"bfcp/{number}" for number in range(400))
    contexts = tuple(
        Action(context, (Command(CommandKind.AUDIT_VALUE, names, context_audit=True),))
        for context in range(1, 60)
    )
    number = one.request((AUDIT,), 0, 3)
    two.receive(one.take(), 0)
    two.reply(TransactionReply(number, contexts), 0)
    messages = two.take_messages()
    assert len(messages) > 2
    assert max(map(len, messages)) <= tpkt.MAX_PAYLOAD
    events = [event for message in messages for event in one.receive_message(message, 1)]
    assert events == [ReplyReceived(TransactionReply(number, contexts))]
    assert len(one.take_messages()) == len(messages)  # each is confirmed


def test_what_cannot_be_cut_is_refused() -> None:
    for version, actions in ((2, 3), (3, 1)):
        one, two = pair()
        one.version = two.version = version
        names = tuple(f"bfcp/{number}" for number in range(9000))
        many = (Action(1, (Command(CommandKind.AUDIT_VALUE, names, context_audit=True),)),) * actions
        number = one.request((AUDIT,), 0, 3)
        two.receive(one.take(), 0)
        two.reply(TransactionReply(number, many), 0)
        (event,) = one.receive(two.take(), 1)
        assert isinstance(event, ReplyReceived)
        assert event.reply.error is not None
        assert event.reply.error.code == 533
