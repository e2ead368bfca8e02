"""One H.248 association, sans-IO: octets in, events out; actions and replies in, octets out.

A stream (TCP, TLS) is framed by TPKT: `receive` and `take`. A transport that keeps messages apart (UDP, SCTP) needs no
frame: `receive_message` and `take_messages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.text_decoder import decode
from mrf_protocols.h248.text_encoder import encode
from mrf_protocols.h248.tpkt import MAX_PAYLOAD, Deframer, frame
from mrf_protocols.h248.transactions import (
    MessageErrorReceived,
    Output,
    PendingReceived,
    ReplyReceived,
    RequestReceived,
    RequestTimedOut,
    Send,
    SendError,
    Transactions,
    UnknownReplyReceived,
)
from mrf_protocols.h248.values import Action, ErrorDescriptor, Message, MId, Transaction, TransactionReply

MAX_FAULTS: Final = 8
"""Undecodable messages in a row after which the peer is given up."""


SEGMENTS_SINCE: Final = 3
"""Protocol version that knows segments of replies."""


@dataclass(frozen=True, slots=True)
class UndecodableReceived:
    """A message that could not be decoded; it was answered as the standard wants."""

    error: H248Error


Event = (
    RequestReceived
    | ReplyReceived
    | PendingReceived
    | RequestTimedOut
    | UnknownReplyReceived
    | MessageErrorReceived
    | UndecodableReceived
)


class Association:
    """Message identifier and version of ours, the peer's identifier, the transactions of both.

    `version` is that of the messages that are written: 1 until the registration is answered.
    """

    def __init__(
        self, mid: MId, transactions: Transactions, *, version: int = 1, pretty: bool = False
    ) -> None:
        self.mid = mid
        self.version = version
        self.peer: MId | None = None
        self._pretty = pretty
        self._transactions = transactions
        self._deframer = Deframer()
        self._messages: list[bytes] = []
        self._faults = 0

    @property
    def outstanding(self) -> int:
        """Requests of ours without an answer."""
        return self._transactions.outstanding

    def take(self) -> bytes:
        """Octets to send now on a stream."""
        return b"".join([frame(message) for message in self.take_messages()])

    def take_messages(self) -> list[bytes]:
        """Messages to send now, each by itself."""
        messages, self._messages = self._messages, []
        return messages

    @property
    def executing(self) -> int:
        """Requests of the peer without an answer of ours."""
        return self._transactions.executing

    def request(
        self, actions: Sequence[Action], now: float, timeout: float, *, limit: float | None = None
    ) -> int:
        """Ask the peer; gives the transaction id. Pending extends the time to `limit`, seconds from now like `timeout`.

        Raises H248Error when the actions cannot be written.
        """
        request = self._transactions.request(
            actions, now, timeout, limit=None if limit is None else now + limit
        )
        try:
            self._write((request,))
        except H248Error:
            self._transactions.forget(request.transaction_id)
            raise
        return request.transaction_id

    def reply(self, reply: TransactionReply, now: float) -> None:
        """Answer the peer."""
        self._sort(self._transactions.reply(reply, now))

    def forget(self, transaction_id: int) -> None:
        """Give up a request of ours."""
        self._transactions.forget(transaction_id)

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Events of octets from the peer. Raises H248Error when the association must be closed."""
        events: list[Event] = []
        for payload in self._deframer.feed(data):
            events += self._receive(payload, now)
        return events

    def cut(self, data: bytes) -> list[bytes]:
        """The messages of a stream that are complete now, for `receive_message`; raises like `receive`."""
        return self._deframer.feed(data)

    def receive_message(self, payload: bytes, now: float) -> list[Event]:
        """Events of one whole message. Raises H248Error when the association must be closed."""
        return self._receive(payload, now)

    def tick(self, now: float) -> list[Event]:
        """Events of time."""
        return self._sort(self._transactions.tick(now))

    def _receive(self, payload: bytes, now: float) -> list[Event]:
        try:
            message = decode(payload)
        except H248Error as error:
            self._faults += 1
            if self._faults >= MAX_FAULTS:
                raise H248Error(
                    ErrorCode.PROTOCOL_ERROR, "Too many faulty messages", answerable=False
                ) from error
            return [UndecodableReceived(error), *self._sort(self._transactions.refused(error, now))]
        self._faults = 0
        self.peer = message.mid
        return self._sort(self._transactions.receive(message, now))

    def _sort(self, outputs: list[Output]) -> list[Event]:
        """Write what is to be sent, give back the rest."""
        events: list[Event] = []
        items: list[Transaction] = []
        for output in outputs:
            if isinstance(output, Send):
                items.append(output.transaction)
            elif isinstance(output, SendError):
                self._write_error(output.error)
            else:
                events.append(output)
        for item in items:
            self._write_one(item)
        return events

    def _write_one(self, item: Transaction) -> None:
        """Write an answer; one that cannot be written becomes an error, for the peer waits."""
        try:
            self._write((item,))
        except H248Error as error:
            if not isinstance(item, TransactionReply):
                raise
            segments = self._segments(item) if error.code == ErrorCode.RESPONSE_TOO_LARGE else ()
            if segments:
                self._messages += segments
            else:
                self._write((TransactionReply(item.transaction_id, error=error.descriptor),))

    def _segments(self, reply: TransactionReply) -> Sequence[bytes]:
        """A reply that is too long in several messages, cut between actions (H.248.1 v3 8.2.3); none: impossible."""
        if self.version < SEGMENTS_SINCE:
            return ()
        parts = [reply.actions]
        while True:
            messages = self._numbered(reply, parts)
            if messages is not None:
                return messages
            if all(len(part) < 2 for part in parts):
                return ()
            parts = [
                half for part in parts for half in (part[: len(part) // 2], part[len(part) // 2 :]) if half
            ]

    def _numbered(
        self, reply: TransactionReply, parts: Sequence[tuple[Action, ...]]
    ) -> Sequence[bytes] | None:
        messages: list[bytes] = []
        for number, part in enumerate(parts, 1):
            segment = replace(reply, actions=part, segment=number, last_segment=number == len(parts))
            octets = encode(Message(self.version, self.mid, (segment,)), pretty=self._pretty)
            if len(octets) > MAX_PAYLOAD:
                return None
            messages.append(octets)
        return messages

    def _write(self, items: tuple[Transaction, ...]) -> None:
        self._put(Message(self.version, self.mid, items))

    def _write_error(self, error: ErrorDescriptor) -> None:
        self._put(Message(self.version, self.mid, error=error))

    def _put(self, message: Message) -> None:
        octets = encode(message, pretty=self._pretty)
        if len(octets) > MAX_PAYLOAD:
            raise H248Error(ErrorCode.RESPONSE_TOO_LARGE)
        self._messages.append(octets)
