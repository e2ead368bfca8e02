"""Client transactions of SIP (RFC 3261 17.1), sans-IO.

A transaction takes responses and the time (monotonic seconds) and gives the requests to send and the
responses to hand up. It never sends an ACK for a 2xx: that belongs to the call (RFC 3261 13.2.2.4).
"""

import enum
from dataclasses import dataclass

from aiosipua import SipRequest, SipResponse

T1 = 0.5
T2 = 4.0
T4 = 5.0
TRANSACTION_TIMEOUT = 64 * T1
INVITE_LINGER = 32.0


class TransactionState(enum.Enum):
    """States of RFC 3261 figures 5 and 6."""

    CALLING = "calling"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Send:
    """What machines of this element give: send this message; `first` is False for a retransmission."""

    message: SipRequest | SipResponse
    first: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """What one input led to: requests to send, a response to hand up, or the end by Timer B or F."""

    send: tuple[SipRequest, ...] = ()
    response: SipResponse | None = None
    timed_out: bool = False


NOTHING = Step()


class ClientTransaction:
    """One request and its responses.

    `reliable` says that the transport loses nothing (TCP, TLS): then nothing is retransmitted.
    """

    def __init__(self, request: SipRequest, *, reliable: bool) -> None:
        self.request = request
        self.state = TransactionState.CALLING
        self._reliable = reliable
        self._invite = request.method == "INVITE"
        self._resend_at: float | None = None
        self._interval = T1
        self._ends_at: float | None = None
        self._ack: SipRequest | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Branch and method, by which responses find their transaction (RFC 3261 17.1.3)."""
        return self.request.via[0].branch or "", self.request.method

    def start(self, now: float) -> Step:
        """Send the request for the first time."""
        self._ends_at = now + TRANSACTION_TIMEOUT
        if not self._reliable:
            self._resend_at = now + self._interval
        return Step(send=(self.request,))

    def cancelled(self, now: float) -> None:
        """Its CANCEL is sent: without a final response in 64*T1 it is over all the same (RFC 3261 9.1)."""
        if self.state in (TransactionState.CALLING, TransactionState.PROCEEDING):
            self._ends_at = now + TRANSACTION_TIMEOUT

    def receive(self, response: SipResponse, now: float) -> Step:
        """A response with this transaction's branch and method."""
        if response.status_code < 200:
            return self._provisional(response)
        if self.state is TransactionState.COMPLETED:
            # the final response again: an INVITE's is ACKed again, others were retransmitted by mistake
            return Step(send=(self._ack,)) if self._ack else NOTHING
        if self.state is TransactionState.TERMINATED:
            return NOTHING
        return self._final(response, now)

    def _provisional(self, response: SipResponse) -> Step:
        if self.state not in (TransactionState.CALLING, TransactionState.PROCEEDING):
            return NOTHING
        self.state = TransactionState.PROCEEDING
        if self._invite:
            self._resend_at = None  # Timer A stops
            self._ends_at = None  # and so does Timer B: ringing may last
        else:
            self._interval = T2
        return Step(response=response)

    def _final(self, response: SipResponse, now: float) -> Step:
        self._resend_at = None
        if not self._invite:
            self._complete(now, 0.0 if self._reliable else T4)
            return Step(response=response)
        if response.status_code < 300:
            self.state = TransactionState.TERMINATED
            self._ends_at = None
            return Step(response=response)
        self._ack = ack_for_failure(self.request, response)
        self._complete(now, 0.0 if self._reliable else INVITE_LINGER)
        return Step(send=(self._ack,), response=response)

    def _complete(self, now: float, linger: float) -> None:
        self.state = TransactionState.COMPLETED if linger else TransactionState.TERMINATED
        self._ends_at = now + linger if linger else None

    def tick(self, now: float) -> Step:
        """Time has passed: retransmit, give up, or forget."""
        if self._ends_at is not None and now >= self._ends_at:
            timed_out = self.state is not TransactionState.COMPLETED
            self.state = TransactionState.TERMINATED
            self._ends_at = self._resend_at = None
            return Step(timed_out=timed_out)
        if self._resend_at is None or now < self._resend_at:
            return NOTHING
        # Timer A doubles without a limit, Timer E up to T2
        self._interval = self._interval * 2 if self._invite else min(self._interval * 2, T2)
        self._resend_at = now + self._interval
        return Step(send=(self.request,))

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, or None."""
        return min((at for at in (self._resend_at, self._ends_at) if at is not None), default=None)


def ack_for_failure(invite: SipRequest, response: SipResponse) -> SipRequest:
    """The ACK of a 3xx-6xx: same branch, Request-URI and routes as the INVITE (RFC 3261 17.1.1.3)."""
    ack = SipRequest(method="ACK", uri=invite.uri)
    copy_header(invite, ack, "Via", first_only=True)
    for name in ("From", "Call-ID", "Route"):
        copy_header(invite, ack, name)
    copy_header(response, ack, "To")
    ack.set_header("CSeq", f"{cseq_number(invite)} ACK")
    ack.set_header("Max-Forwards", "70")
    return ack


def cancel_of(invite: SipRequest) -> SipRequest:
    """The CANCEL of a pending INVITE (RFC 3261 9.1)."""
    cancel = SipRequest(method="CANCEL", uri=invite.uri)
    copy_header(invite, cancel, "Via", first_only=True)
    for name in ("From", "To", "Call-ID", "Route"):
        copy_header(invite, cancel, name)
    cancel.set_header("CSeq", f"{cseq_number(invite)} CANCEL")
    cancel.set_header("Max-Forwards", "70")
    return cancel


def copy_header(
    source: SipRequest | SipResponse,
    target: SipRequest | SipResponse,
    name: str,
    *,
    first_only: bool = False,
) -> None:
    """Copy all values of a header (or the topmost one) from one message to another."""
    values = source.get_header_values(name)
    for value in values[:1] if first_only else values:
        target.add_header(name, value)


def cseq_number(message: SipRequest | SipResponse) -> int:
    """The number in CSeq; 0 if the header is missing or malformed."""
    number = (message.get_header("CSeq") or "").split(None, 1)[:1]
    return int(number[0]) if number and number[0].isdecimal() else 0


def cseq_method(message: SipRequest | SipResponse) -> str:
    """The method in CSeq; empty if the header is missing or malformed."""
    parts = (message.get_header("CSeq") or "").split()
    return parts[1] if len(parts) == 2 else ""
