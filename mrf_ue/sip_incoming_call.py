"""One call that this end receives: INVITE, 2xx with its repetition, ACK, CANCEL, BYE (RFC 3261 13.3), sans-IO.

Same conventions as `sip_call`: inputs with the time in monotonic seconds, outputs in the order of their execution.
"""

from collections.abc import Callable
from dataclasses import dataclass

from aiosipua import SipRequest, SipResponse

from mrf_ue import sip_modify
from mrf_ue.sip_call import CallState, HungUp, NoAnswer, Released
from mrf_ue.sip_dialog import (
    Dialog,
    LocalEnd,
    dialog_of_invite,
    in_dialog_reply,
    new_response,
    remote_cseq_is_new,
)
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
class Acknowledged:
    """The ACK for our 2xx came."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller gave up before our final response; it is answered with 487 already."""


@dataclass(frozen=True, slots=True)
class NotAcknowledged:
    """No ACK for our final response in 64*T1."""


Output = Send | Acknowledged | Cancelled | NotAcknowledged | HungUp | Released | NoAnswer | sip_modify.Output


class IncomingCall:
    """One call from the far end.

    `token` gives unguessable strings for tag and branch; `reliable` says that the transport loses nothing, so
    that only a 2xx has to be repeated (RFC 3261 13.3.1.4).
    """

    def __init__(
        self, invite: SipRequest, end: LocalEnd, token: Callable[[], str], *, reliable: bool
    ) -> None:
        self.invite = invite
        self.call_id = invite.call_id or ""
        self.state = CallState.CALLING
        self._end = end
        self._token = token
        self._reliable = reliable
        self._tag = token()
        self.dialog: Dialog | None = dialog_of_invite(invite, self._tag)
        self._cseq = 0
        self._remote_cseq = cseq_number(invite)
        self._final: SipResponse | None = None
        self._interval = T1
        self._resend_at: float | None = None
        self._give_up_at: float | None = None
        self._bye: ClientTransaction | None = None
        self.changes = sip_modify.Modifications(self, end, self._branch, reliable=reliable)

    # --- the user's wishes

    def ring(self) -> list[Output]:
        """180 Ringing."""
        if self.state is not CallState.CALLING:
            return []
        return [Send(self._response(180, "Ringing"))]

    def accept(self, sdp: bytes, now: float) -> list[Output]:
        """200 with an SDP answer, repeated until its ACK."""
        if self.state is not CallState.CALLING:
            return []
        self.state = CallState.ANSWERED
        response = self._response(200, "OK")
        response.set_header("Content-Type", "application/sdp")
        response.body = sdp
        return self._finally(response, now)

    def refuse(
        self,
        status: int,
        reason: str,
        now: float,
        headers: tuple[tuple[str, str], ...] = (),
        sdp: bytes = b"",
    ) -> list[Output]:
        """A final response that ends the call; `sdp` is its body."""
        if self.state is not CallState.CALLING:
            return []
        self.state = CallState.ENDED
        response = self._response(status, reason)
        for name, value in headers:
            response.set_header(name, value)
        if sdp:
            response.set_header("Content-Type", "application/sdp")
            response.body = sdp
        return self._finally(response, now)

    def bye(self, now: float) -> list[Output]:
        """End the call; nothing happens unless it was answered.

        Who was called sends no BYE before the ACK has come, or is given up (RFC 3261 15).
        """
        if self.state not in (CallState.ANSWERED, CallState.CONFIRMED) or self.dialog is None:
            return []
        waits = self.state is CallState.ANSWERED and self._give_up_at is not None
        self.state = CallState.ENDING
        return [] if waits else self._send_bye(now)

    def _send_bye(self, now: float) -> list[Output]:
        if self.dialog is None:
            return []
        self._quiet()
        self._cseq += 1
        bye = self.dialog.request("BYE", self._cseq, self._end, self._branch())
        self._bye = ClientTransaction(bye, reliable=self._reliable)
        return [Send(message) for message in self._bye.start(now).send]

    # --- what changes of the session need

    def next_cseq(self) -> int:
        """The number of another request of ours."""
        self._cseq += 1
        return self._cseq

    def credentials(self, request: SipRequest, response: SipResponse) -> tuple[str, str] | None:
        """Challenges are not answered by who was called."""
        return None

    # --- what the network brings

    def receive(self, message: SipRequest | SipResponse, now: float) -> list[Output]:
        """A message with this call's Call-ID."""
        if isinstance(message, SipResponse):
            told = self.changes.response(message, now)
            return self._bye_response(message, now) if told is None else [*told]
        if message.method == "ACK":
            self.changes.acknowledged(message)
            return self._acknowledged(now)
        if message.method == "CANCEL":
            return self._cancelled(message, now)
        if message.method == "INVITE" and cseq_number(message) == cseq_number(self.invite):
            return [Send(self._final, first=False)] if self._final else []
        return self._in_dialog(message)

    def tick(self, now: float) -> list[Output]:
        """Time has passed."""
        outputs: list[Output] = []
        if self._bye is not None:
            step = self._bye.tick(now)
            outputs += [Send(request, first=False) for request in step.send]
            if step.timed_out:
                self.state = CallState.ENDED
                outputs.append(NoAnswer("BYE"))
        if self._give_up_at is not None and now >= self._give_up_at:
            self._quiet()
            late = self._send_bye(now) if self.state is CallState.ENDING and self._bye is None else []
            return [*outputs, NotAcknowledged(), *late, *self.changes.tick(now)]
        if self._final is not None and self._resend_at is not None and now >= self._resend_at:
            self._interval = min(self._interval * 2, T2)
            self._resend_at = now + self._interval
            outputs.append(Send(self._final, first=False))
        return [*outputs, *self.changes.tick(now)]

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, or None."""
        bye = self._bye.next_deadline() if self._bye is not None else None
        deadlines = (bye, self._resend_at, self._give_up_at, self.changes.next_deadline())
        return min((at for at in deadlines if at is not None), default=None)

    # --- inside

    def _branch(self) -> str:
        return f"z9hG4bK{self._token()}"

    def _response(self, status: int, reason: str) -> SipResponse:
        contact = self._end.contact if 100 < status < 300 else ""
        return new_response(self.invite, status, reason, to_tag=self._tag, contact=contact)

    def _finally(self, response: SipResponse, now: float) -> list[Output]:
        self._final = response
        self._give_up_at = now + TRANSACTION_TIMEOUT
        if response.status_code < 300 or not self._reliable:
            self._resend_at = now + self._interval
        return [Send(response)]

    def _quiet(self) -> None:
        self._resend_at = self._give_up_at = None

    def _acknowledged(self, now: float) -> list[Output]:
        waited = self._give_up_at is not None
        self._quiet()
        if self.state is CallState.ENDING and waited and self._bye is None:
            return self._send_bye(now)
        if self.state is not CallState.ANSWERED:
            return []
        self.state = CallState.CONFIRMED
        return [Acknowledged()]

    def _cancelled(self, cancel: SipRequest, now: float) -> list[Output]:
        outputs: list[Output] = [Send(new_response(cancel, 200, "OK", to_tag=self._tag))]
        if self.state is CallState.CALLING:
            outputs += self.refuse(487, "Request Terminated", now)
            outputs.append(Cancelled())
        return outputs

    def _in_dialog(self, request: SipRequest) -> list[Output]:
        if self.dialog is None or not self.dialog.matches(request):
            return [Send(new_response(request, 481, "Call/Transaction Does Not Exist"))]
        if not remote_cseq_is_new(request, self._remote_cseq):
            return [Send(new_response(request, 500, "Server Internal Error"))]
        self._remote_cseq = cseq_number(request)
        if request.method == "BYE":
            self.state = CallState.ENDED
            self._quiet()
            return [Send(new_response(request, 200, "OK")), HungUp(request)]
        if self.state is CallState.CONFIRMED and sip_modify.is_change(request):
            return [*self.changes.request(request)]
        return [Send(in_dialog_reply(request, self._end))]

    def _bye_response(self, response: SipResponse, now: float) -> list[Output]:
        if self._bye is None or cseq_method(response) != "BYE":
            return []
        step = self._bye.receive(response, now)
        if step.response is None or step.response.status_code < 200:
            return []
        self.state = CallState.ENDED
        return [Released(step.response)]
