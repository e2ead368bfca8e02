"""Transactions between two H.248 entities, sans-IO (RFC 3525 section 8, annex D).

Requests of ours end in one event: a reply, a time-out or the end of the association. Requests of the peer are given to
the user once and answered once: a repetition gets Pending while the first is being executed, and the same reply after.
Messages that are answers are never answered.

On a transport that loses messages (D.1) requests are repeated until something answers them, at intervals that double
and follow the delays measured; a reply that Pending went before asks for an acknowledgement and is repeated until it
comes. On a reliable transport (D.2) nothing is ever repeated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
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


class TransactionIds:
    """Transaction identifiers of one H.248 entity: all its associations take them from here.

    `first` is the entity's own choice; a random one keeps a restarted entity away from identifiers that its peers may
    still remember (RFC 3525 D.1.1).
    """

    def __init__(self, first: int = 1) -> None:
        self._next = first

    def take(self) -> int:
        """The next identifier, 1 to 4294967295."""
        number = self._next
        self._next = number % MAX_TRANSACTION_ID + 1
        return number


def _exactly(seconds: float) -> float:
    return seconds


@dataclass(frozen=True, slots=True)
class Retransmission:
    """How requests are repeated on a transport that loses messages (RFC 3525 D.1.2); seconds.

    `first`: until the first repetition, before any delay has been measured. `longest`: between repetitions.
    `spread` gives an interval with its random part.
    """

    first: float = 0.5
    longest: float = 4.0
    spread: Callable[[float], float] = _exactly


class _Delays:
    """Average acknowledgement delay and its deviation (RFC 3525 D.1.2)."""

    def __init__(self, settings: Retransmission) -> None:
        self._settings = settings
        self._average: float | None = None
        self._deviation = 0.0

    def measured(self, delay: float) -> None:
        """A request was answered without being repeated."""
        if self._average is None:
            self._average, self._deviation = delay, delay / 2
            return
        self._deviation += (abs(delay - self._average) - self._deviation) / 4
        self._average += (delay - self._average) / 8

    def first_interval(self) -> float:
        """Seconds to the first repetition."""
        interval = self._settings.first
        if self._average is not None:
            interval = max(self._average + 4 * self._deviation, _SHORTEST)
        return self._settings.spread(min(interval, self._settings.longest))

    def next_interval(self, interval: float) -> float:
        """Seconds to the repetition after the one that `interval` led to."""
        return self._settings.spread(min(2 * interval, self._settings.longest))


_SHORTEST: Final = 0.1
"""Seconds below which no repetition comes, however quick the peer is."""


@dataclass(slots=True)
class _Outgoing:
    request: TransactionRequest
    began: float
    deadline: float
    limit: float
    segments: dict[int, TransactionReply]
    last_segment: int | None = None
    interval: float = 0.0
    repeat_at: float | None = None
    repeated: bool = False


@dataclass(slots=True)
class _Executing:
    pending_at: float
    pendings: int = 0


@dataclass(slots=True)
class _Unacknowledged:
    """A reply that asked for an acknowledgement (RFC 3525 D.1.4)."""

    reply: TransactionReply
    interval: float
    repeat_at: float
    end: float


class _Within:
    """Whether a number is within one of some ranges, which may overlap."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        ordered = sorted(ranges)
        self._firsts = [first for first, _ in ordered]
        self._lasts = list(accumulate((last for _, last in ordered), max))  # the farthest so far

    def __call__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number)
        return place > 0 and number <= self._lasts[place - 1]


class Transactions:
    """The transactions of one association. Times are seconds of a monotonic clock that the caller reads.

    * `ids`: where identifiers come from; shared by the associations of an entity.
    * `pending_after`: an own reply that takes longer is preceded by Pending, again and again.
    * `max_pendings`: after so many the request is answered with 506 (RFC 3525 8.2.3, pending limit).
    * `reply_lifetime`, `max_replies`: how long and how many replies are kept for repeated requests.
    * `max_open`: requests of the peer that may be in execution at once; more are refused with 511.
    * `retransmission`: for a transport that loses messages, None for a reliable one.
    """

    def __init__(
        self,
        *,
        ids: TransactionIds | None = None,
        pending_after: float = 1.0,
        max_pendings: int = 30,
        reply_lifetime: float = LONG_TIMER,
        max_replies: int = 4096,
        max_open: int = 4096,
        max_segments: int = 64,
        retransmission: Retransmission | None = None,
    ) -> None:
        self._ids = ids or TransactionIds()
        self._pending_after = pending_after
        self._max_pendings = max_pendings
        self._reply_lifetime = reply_lifetime
        self._max_replies = max_replies
        self._max_open = max_open
        self._max_segments = max_segments
        self._delays = None if retransmission is None else _Delays(retransmission)
        self._outgoing: dict[int, _Outgoing] = {}
        self._executing: dict[int, _Executing] = {}
        self._replies: OrderedDict[int, tuple[float, TransactionReply]] = OrderedDict()
        self._unacknowledged: dict[int, _Unacknowledged] = {}

    @property
    def outstanding(self) -> int:
        """Requests of ours without an answer."""
        return len(self._outgoing)

    @property
    def executing(self) -> int:
        """Requests of the peer without an answer of ours."""
        return len(self._executing)

    def request(
        self, actions: Sequence[Action], now: float, timeout: float, *, limit: float | None = None
    ) -> TransactionRequest:
        """Open a transaction: send what is returned. Pending extends its time to `limit`."""
        number = self._ids.take()
        while number in self._outgoing:
            number = self._ids.take()
        end = now + timeout
        request = TransactionRequest(number, tuple(actions))
        entry = _Outgoing(request, now, end, end if limit is None else max(end, limit), {})
        if self._delays is not None:
            entry.interval = self._delays.first_interval()
            entry.repeat_at = now + entry.interval
        self._outgoing[number] = entry
        return request

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
                outputs += self._reply_received(item, now)
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
        entry = self._executing.pop(reply.transaction_id, None)
        if entry is None:
            return []
        if self._delays is not None and entry.pendings:
            reply = replace(reply, immediate_ack=True)
            interval = self._delays.first_interval()
            self._unacknowledged[reply.transaction_id] = _Unacknowledged(
                reply, interval, now + interval, now + self._reply_lifetime
            )
        self._remember(reply, now)
        return [Send(reply)]

    def tick(self, now: float) -> list[Output]:
        """What is due."""
        outputs: list[Output] = []
        for number in [n for n, entry in self._outgoing.items() if entry.deadline <= now]:
            del self._outgoing[number]
            outputs.append(RequestTimedOut(number))
        for number in [n for n, item in self._executing.items() if item.pending_at <= now]:
            outputs += self._pending_due(number, now)
        if self._delays is not None:
            outputs += self._repeat(self._delays, now)
        while self._replies and next(iter(self._replies.values()))[0] <= now:
            self._replies.popitem(last=False)
        return outputs

    def next_deadline(self) -> float | None:
        """When to call `tick` next."""
        times = [entry.deadline for entry in self._outgoing.values()]
        times += [entry.repeat_at for entry in self._outgoing.values() if entry.repeat_at is not None]
        times += [item.pending_at for item in self._executing.values()]
        times += [item.repeat_at for item in self._unacknowledged.values()]
        if self._replies:
            times.append(next(iter(self._replies.values()))[0])
        return min(times, default=None)

    def _pending_due(self, number: int, now: float) -> list[Output]:
        item = self._executing[number]
        if item.pendings >= self._max_pendings:
            error = H248Error(ErrorCode.PENDINGS_EXCEEDED)
            return self.reply(TransactionReply(number, error=error.descriptor), now)
        item.pendings += 1
        item.pending_at = now + self._pending_after
        return [Send(TransactionPending(number))]

    def _repeat(self, delays: _Delays, now: float) -> list[Output]:
        outputs: list[Output] = []
        for entry in self._outgoing.values():
            if entry.repeat_at is not None and entry.repeat_at <= now:
                entry.interval = delays.next_interval(entry.interval)
                entry.repeat_at = now + entry.interval
                entry.repeated = True
                outputs.append(Send(entry.request))
        for number, item in list(self._unacknowledged.items()):
            if item.end <= now:
                del self._unacknowledged[number]
            elif item.repeat_at <= now:
                item.interval = delays.next_interval(item.interval)
                item.repeat_at = now + item.interval
                outputs.append(Send(item.reply))
        return outputs

    def _request_received(self, request: TransactionRequest, now: float) -> list[Output]:
        number = request.transaction_id
        executing = self._executing.get(number)
        if executing is not None:
            executing.pendings += 1
            return [Send(TransactionPending(number))]
        known = self._replies.get(number)
        if known is not None and known[0] > now:
            return [Send(known[1])]
        if len(self._executing) >= self._max_open:
            error = H248Error(ErrorCode.TEMPORARILY_BUSY)
            return [Send(TransactionReply(number, error=error.descriptor))]
        self._executing[number] = _Executing(now + self._pending_after)
        return [RequestReceived(request)]

    def _reply_received(self, reply: TransactionReply, now: float) -> list[Output]:
        number = reply.transaction_id
        entry = self._outgoing.get(number)
        outputs: list[Output] = []
        if reply.segment is not None:
            outputs.append(Send(SegmentReply(number, reply.segment, reply.last_segment)))
            if entry is None:
                return [*outputs, UnknownReplyReceived(number)]
            entry.repeat_at = None
            whole = self._segment(entry, reply)
            if whole is None:
                return outputs
            reply = whole
        if reply.immediate_ack:
            outputs.append(Send(TransactionResponseAck(((number, number),))))
        if entry is None:
            return [*outputs, UnknownReplyReceived(number, reply)]
        if self._delays is not None and not entry.repeated and entry.repeat_at is not None:
            self._delays.measured(now - entry.began)
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
        entry.repeat_at = None  # it is there; RFC 3525 D.1.4 has us wait now
        return [PendingReceived(pending.transaction_id)]

    def _acknowledged(self, ack: TransactionResponseAck) -> None:
        named = sum(last - first + 1 for first, last in ack.ranges if first <= last)
        numbers: Iterable[int]
        if named <= len(self._replies):
            numbers = [number for first, last in ack.ranges for number in range(first, last + 1)]
        else:  # a message may hold thousands of ranges: what is kept is gone through once, not once for each
            numbers = list(filter(_Within(ack.ranges), [*self._replies, *self._unacknowledged]))
        for number in numbers:
            self._replies.pop(number, None)
            self._unacknowledged.pop(number, None)

    def _remember(self, reply: TransactionReply, now: float) -> None:
        self._replies.pop(reply.transaction_id, None)
        self._replies[reply.transaction_id] = (now + self._reply_lifetime, reply)
        while len(self._replies) > self._max_replies:
            self._replies.popitem(last=False)
