"""Changes of a session within a call that stands: re-INVITE in both directions, and UPDATE of the far end (RFC 3261 14,
RFC 3311), sans-IO. A part of the machines of `sip_call` and `sip_incoming_call`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiosipua import SipRequest, SipResponse

from mrf_ue.sip_dialog import ALLOW, Dialog, LocalEnd, new_response
from mrf_ue.sip_transactions import (
    T1,
    T2,
    TRANSACTION_TIMEOUT,
    ClientTransaction,
    Send,
    cseq_method,
    cseq_number,
)


@dataclass(frozen=True, slots=True)
class Modified:
    """Our re-INVITE got its final response; a 2xx is acknowledged already."""

    response: SipResponse


@dataclass(frozen=True, slots=True)
class ModifyTimeout:
    """Our re-INVITE got no response in 64*T1."""


@dataclass(frozen=True, slots=True)
class Reoffered:
    """The far end wants to change the session; `answer` is due."""

    request: SipRequest


Output = Send | Modified | ModifyTimeout | Reoffered


def is_change(request: SipRequest) -> bool:
    """Whether a request within a dialog may change the session: INVITE, or UPDATE with an offer."""
    return request.method == "INVITE" or (request.method == "UPDATE" and bool(request.body))


class Owner(Protocol):
    """The call that is changed."""

    dialog: Dialog | None

    def next_cseq(self) -> int:
        """The number of another request of ours."""

    def credentials(self, request: SipRequest, response: SipResponse) -> tuple[str, str] | None:
        """The header that answers a challenge, if there is one."""


@dataclass(slots=True)
class _Answered:
    """A final response of ours to a re-INVITE, which waits for its ACK."""

    response: SipResponse
    resend_at: float
    give_up_at: float
    interval: float = T1


class Modifications:
    """Re-INVITEs of one call. `branch` gives branch parameters; `reliable`: the transport loses nothing."""

    def __init__(self, owner: Owner, end: LocalEnd, branch: Callable[[], str], *, reliable: bool) -> None:
        self._owner = owner
        self._end = end
        self._branch = branch
        self._reliable = reliable
        self._ours: ClientTransaction | None = None
        self._body = b""
        self._retried = False
        self._past: dict[tuple[str, str], ClientTransaction] = {}
        self._acks: dict[tuple[str, str], SipRequest] = {}
        self._theirs: SipRequest | None = None
        self._answered: dict[int, _Answered] = {}

    @property
    def busy(self) -> bool:
        """Whether a change is under way, ours or the far end's."""
        return self._ours is not None or self._theirs is not None

    # ours

    def offer(self, sdp: bytes, now: float) -> list[Output]:
        """Send a re-INVITE with an offer; nothing happens while another change is under way."""
        if self.busy:
            return []
        self._body, self._retried = sdp, False
        return self._invite(now, None)

    def response(self, response: SipResponse, now: float) -> list[Output] | None:
        """A response; None when it is none to a re-INVITE of ours."""
        vias = response.via
        key = (vias[0].branch or "" if vias else "", cseq_method(response))
        if key in self._acks and 200 <= response.status_code < 300:
            return [Send(self._acks[key], first=False)]
        transaction = self._ours if self._ours is not None and self._ours.key == key else self._past.get(key)
        if transaction is None:
            return None
        step = transaction.receive(response, now)
        outputs: list[Output] = [Send(request, first=step.response is not None) for request in step.send]
        if step.response is not None and step.response.status_code >= 200:
            outputs += self._final(transaction, step.response, now)
        return outputs

    def _invite(self, now: float, credentials: tuple[str, str] | None) -> list[Output]:
        if self._owner.dialog is None:
            return []
        invite = self._owner.dialog.request("INVITE", self._owner.next_cseq(), self._end, self._branch())
        invite.set_header("Contact", self._end.contact)
        invite.set_header("Allow", ALLOW)
        invite.set_header("Content-Type", "application/sdp")
        invite.body = self._body
        if credentials:
            invite.set_header(*credentials)
        self._ours = ClientTransaction(invite, reliable=self._reliable)
        return [Send(message) for message in self._ours.start(now).send]

    def _final(self, transaction: ClientTransaction, response: SipResponse, now: float) -> list[Output]:
        if transaction is not self._ours:
            return []
        self._past[transaction.key] = transaction
        self._ours = None
        if response.status_code in (401, 407) and not self._retried:
            credentials = self._owner.credentials(transaction.request, response)
            if credentials is not None:
                self._retried = True
                return self._invite(now, credentials)
        outputs: list[Output] = []
        if response.status_code < 300 and self._owner.dialog is not None:
            number = cseq_number(transaction.request)
            ack = self._owner.dialog.request("ACK", number, self._end, self._branch())
            for name in ("Authorization", "Proxy-Authorization"):
                value = transaction.request.get_header(name)
                if value:
                    ack.set_header(name, value)
            self._acks[transaction.key] = ack
            outputs.append(Send(ack))
        return [*outputs, Modified(response)]

    # the far end's

    def request(self, request: SipRequest) -> list[Output]:
        """An INVITE or UPDATE within the dialog, in its turn by CSeq."""
        if self._ours is not None:
            return [Send(new_response(request, 491, "Request Pending"))]
        if self._theirs is not None:
            busy = new_response(request, 500, "Server Internal Error")
            busy.set_header("Retry-After", "1")
            return [Send(busy)]
        self._theirs = request
        return [Reoffered(request)]

    def answer(
        self,
        status: int,
        reason: str,
        sdp: bytes,
        now: float,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> list[Output]:
        """The final response to what `Reoffered` told last."""
        request, self._theirs = self._theirs, None
        if request is None:
            return []
        response = new_response(request, status, reason, contact=self._end.contact if status < 300 else "")
        for name, value in headers:
            response.set_header(name, value)
        if sdp:
            response.set_header("Content-Type", "application/sdp")
            response.body = sdp
        if request.method == "INVITE" and status < 300:
            self._answered[cseq_number(request)] = _Answered(response, now + T1, now + TRANSACTION_TIMEOUT)
        return [Send(response)]

    def acknowledged(self, ack: SipRequest) -> None:
        """An ACK came."""
        self._answered.pop(cseq_number(ack), None)

    # time

    def tick(self, now: float) -> list[Output]:
        """Time has passed."""
        outputs: list[Output] = []
        if self._ours is not None:
            step = self._ours.tick(now)
            outputs += [Send(request, first=False) for request in step.send]
            if step.timed_out:
                self._ours = None
                outputs.append(ModifyTimeout())
        for number, waiting in list(self._answered.items()):
            if now >= waiting.give_up_at:
                del self._answered[number]
            elif now >= waiting.resend_at:  # on every transport (RFC 3261 13.3.1.4)
                waiting.interval = min(2 * waiting.interval, T2)
                waiting.resend_at = now + waiting.interval
                outputs.append(Send(waiting.response, first=False))
        return outputs

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, or None."""
        deadlines = [waiting.resend_at for waiting in self._answered.values()]
        ours = self._ours.next_deadline() if self._ours is not None else None
        return min([*deadlines, *([] if ours is None else [ours])], default=None)
