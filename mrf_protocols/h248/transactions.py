"""Transactions between two H.248 entities on a reliable transport, sans-IO (RFC 3525 section 8, annex D.2).

Requests of ours end in one event: a reply, a time-out or the end of the association. Requests of the peer are given to
the user once and answered once: a repetition gets Pending while the first is being executed, and the same reply after.
Messages that are answers are never answered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from mrf_protocols.h248.errors import ErrorCode, H248Error
from mrf_protocols.h248.values import (
    Action,
    ErrorDescriptor,
    Message,
    SegmentReply,
    Transaction,
    TransactionPending,
    TransactionReply,
    TransactionRequest,
    TransactionResponseAck,
)

LONG_TIMER: Final = 30.0
"""Seconds that a reply is remembered for repeated requests (RFC 3525 D.1.4)."""
MAX_TRANSACTION_ID: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Send:
    """A transaction to put into a message to the peer."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class SendError:
    """An error about the whole message that was received, to be sent as a message of its own."""

    error: ErrorDescriptor


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """The peer asks; answer with `reply`."""

    request: TransactionRequest


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """The peer's answer to a request of ours."""

    reply: TransactionReply


@dataclass(frozen=True, slots=True)
class PendingReceived:
    """The peer is still at work on a request of ours."""

    transaction_id: int


@dataclass(frozen=True, slots=True)
class RequestTimedOut:
    """No answer in time."""

    transaction_id: int


@dataclass(frozen=True, slots=True)
class UnknownReplyReceived:
    """An answer to nothing that is open: late, repeated or invented. `reply` is None for Pending and segments."""

    transaction_id: int
    reply: TransactionReply | None = None


@dataclass(frozen=True, slots=True)
class MessageErrorReceived:
    """The peer could not read a message of ours. Never answered."""

    error: ErrorDescriptor


Output = (
    Send
    | SendError
    | RequestReceived
    | ReplyReceived
    | PendingReceived
    | RequestTimedOut
    | UnknownReplyReceived
    | MessageErrorReceived
)


@dataclass(slots=True)
class _Outgoing:
    deadline: float
    limit: float
    segments: dict[int, TransactionReply]
    last_segment: int | None = None


class Transactions:
    """The transactions of one association. Times are seconds of a monotonic clock that the caller reads.

    * `pending_after`: an own reply that takes longer is preceded by Pending.
    * `reply_lifetime`, `max_replies`: how long and how many replies are kept for repeated requests.
    * `max_open`: requests of the peer that may be in execution at once; more are refused with 511.
    """

    def __init__(
        self,
        *,
        first_transaction_id: int = 1,
        pending_after: float = 1.0,
        reply_lifetime: float = LONG_TIMER,
        max_replies: int = 4096,
        max_open: int = 4096,
        max_segments: int = 64,
    ) -> None:
        self._next_id = first_transaction_id
        self._pending_after = pending_after
        self._reply_lifetime = reply_lifetime
        self._max_replies = max_replies
        self._max_open = max_open
        self._max_segments = max_segments
        self._outgoing: dict[int, _Outgoing] = {}
        self._executing: dict[int, float] = {}
        self._replies: OrderedDict[int, tuple[float, TransactionReply]] = OrderedDict()

    @property
    def outstanding(self) -> int:
        """Requests of ours without an answer."""
        return len(self._outgoing)

    def request(
        self, actions: Sequence[Action], now: float, timeout: float, *, limit: float | None = None
    ) -> TransactionRequest:
        """Open a transaction: send what is returned. Pending extends its time to `limit`."""
        number = self._next_id
        while number in self._outgoing:
            number = number % MAX_TRANSACTION_ID + 1
        self._next_id = number % MAX_TRANSACTION_ID + 1
        end = now + timeout
        self._outgoing[number] = _Outgoing(end, end if limit is None else max(end, limit), {})
        return TransactionRequest(number, tuple(actions))

    def forget(self, transaction_id: int) -> None:
        """Give up a request of ours; its answer will be an unknown one."""
        self._outgoing.pop(transaction_id, None)

    def receive(self, message: Message, now: float) -> list[Output]:
        """What a message leads to."""
        if message.error is not None:
            return [MessageErrorReceived(message.error)]
        outputs: list[Output] = []
        for item in message.transactions:
            if isinstance(item, TransactionRequest):
                outputs += self._request_received(item, now)
            elif isinstance(item, TransactionReply):
                outputs += self._reply_received(item)
            elif isinstance(item, TransactionPending):
                outputs += self._pending_received(item)
            elif isinstance(item, TransactionResponseAck):
                self._acknowledged(item)
        return outputs

    def refused(self, error: H248Error, now: float) -> list[Output]:
        """What an undecodable message leads to: a reply, an error, or nothing when it was itself an answer."""
        if error.transaction_id is not None:
            number = error.transaction_id
            if number in self._executing or number in self._replies:
                return []
            reply = TransactionReply(number, error=error.descriptor)
            self._remember(reply, now)
            return [Send(reply)]
        return [SendError(error.descriptor)] if error.answerable else []

    def reply(self, reply: TransactionReply, now: float) -> list[Output]:
        """Answer a request of the peer. A second answer, or one to nothing, is dropped."""
        if self._executing.pop(reply.transaction_id, None) is None:
            return []
        self._remember(reply, now)
        return [Send(reply)]

    def tick(self, now: float) -> list[Output]:
        """What is due."""
        outputs: list[Output] = []
        for number in [n for n, entry in self._outgoing.items() if entry.deadline <= now]:
            del self._outgoing[number]
            outputs.append(RequestTimedOut(number))
        for number in [n for n, due in self._executing.items() if due <= now]:
            self._executing[number] = now + self._pending_after
            outputs.append(Send(TransactionPending(number)))
        while self._replies and next(iter(self._replies.values()))[0] <= now:
            self._replies.popitem(last=False)
        return outputs

    def next_deadline(self) -> float | None:
        """When to call `tick` next."""
        times = [entry.deadline for entry in self._outgoing.values()]
        times += self._executing.values()
        if self._replies:
            times.append(next(iter(self._replies.values()))[0])
        return min(times, default=None)

    def _request_received(self, request: TransactionRequest, now: float) -> list[Output]:
        number = request.transaction_id
        if number in self._executing:
            return [Send(TransactionPending(number))]
        known = self._replies.get(number)
        if known is not None and known[0] > now:
            return [Send(known[1])]
        if len(self._executing) >= self._max_open:
            error = H248Error(ErrorCode.TEMPORARILY_BUSY)
            return [Send(TransactionReply(number, error=error.descriptor))]
        self._executing[number] = now + self._pending_after
        return [RequestReceived(request)]

    def _reply_received(self, reply: TransactionReply) -> list[Output]:
        number = reply.transaction_id
        entry = self._outgoing.get(number)
        outputs: list[Output] = []
        if reply.segment is not None:
            outputs.append(Send(SegmentReply(number, reply.segment, reply.last_segment)))
            if entry is None:
                return [*outputs, UnknownReplyReceived(number)]
            whole = self._segment(entry, reply)
            if whole is None:
                return outputs
            reply = whole
        if reply.immediate_ack:
            outputs.append(Send(TransactionResponseAck(((number, number),))))
        if entry is None:
            return [*outputs, UnknownReplyReceived(number, reply)]
        del self._outgoing[number]
        return [*outputs, ReplyReceived(reply)]

    def _segment(self, entry: _Outgoing, reply: TransactionReply) -> TransactionReply | None:
        """Keep a segment; the whole reply once all are there (H.248.1 v3 8.2.3)."""
        segment = reply.segment or 0
        if len(entry.segments) < self._max_segments:
            entry.segments[segment] = reply
        if reply.last_segment:
            entry.last_segment = segment
        last = entry.last_segment
        if last is None or len(entry.segments) < last:
            return None
        if any(number not in entry.segments for number in range(1, last + 1)):
            return None
        parts = [entry.segments[number] for number in range(1, last + 1)]
        actions = tuple(action for part in parts for action in part.actions)
        error = next((part.error for part in parts if part.error is not None), None)
        return replace(reply, actions=actions, error=error, segment=None, last_segment=False)

    def _pending_received(self, pending: TransactionPending) -> list[Output]:
        entry = self._outgoing.get(pending.transaction_id)
        if entry is None:
            return [UnknownReplyReceived(pending.transaction_id)]
        entry.deadline = entry.limit
        return [PendingReceived(pending.transaction_id)]

    def _acknowledged(self, ack: TransactionResponseAck) -> None:
        for first, last in ack.ranges:
            if last - first < len(self._replies):
                for number in range(first, last + 1):
                    self._replies.pop(number, None)
            else:
                for number in [n for n in self._replies if first <= n <= last]:
                    del self._replies[number]

    def _remember(self, reply: TransactionReply, now: float) -> None:
        self._replies.pop(reply.transaction_id, None)
        self._replies[reply.transaction_id] = (now + self._reply_lifetime, reply)
        while len(self._replies) > self._max_replies:
            self._replies.popitem(last=False)
