"""One call that this end makes: INVITE, ACK, CANCEL and BYE (RFC 3261 9, 13, 15), sans-IO.

Inputs are the user's wishes, received messages and the time (monotonic seconds); every input returns outputs
in the order in which they are to be carried out. Nothing is acknowledged by itself: the ACK for a 2xx waits
for `ack`, so that the answer can be judged first, and is repeated from then on for each repeated 2xx.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from aiosipua import (
    SipDigestAuth,
    SipRequest,
    SipResponse,
    build_credentials,
    parse_auth,
    parse_uri,
    stringify_auth,
    stringify_uri,
)

from mrf_ue import sip_modify
from mrf_ue.sip_dialog import (
    ALLOW,
    Dialog,
    LocalEnd,
    dialog_of_answer,
    header_tag,
    in_dialog_reply,
    new_request,
    new_response,
    remote_cseq_is_new,
    tag_of,
)
from mrf_ue.sip_transactions import (
    ClientTransaction,
    Send,
    Step,
    cancel_of,
    cseq_method,
    cseq_number,
)


class CallState(enum.Enum):
    """Where the call is; ANSWERED means a 2xx came that was not acknowledged yet."""

    IDLE = "idle"
    CALLING = "calling"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Progress:
    """A provisional response came."""

    response: SipResponse


@dataclass(frozen=True, slots=True)
class Answered:
    """The first 2xx to the INVITE came; `ack` is due."""

    response: SipResponse


@dataclass(frozen=True, slots=True)
class Refused:
    """The INVITE ended with a 3xx-6xx."""

    response: SipResponse


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A request got no response in 64*T1."""

    method: str


@dataclass(frozen=True, slots=True)
class HungUp:
    """The far end sent BYE; it is answered already."""

    request: SipRequest


@dataclass(frozen=True, slots=True)
class Released:
    """Our BYE was answered."""

    response: SipResponse


Output = Send | Progress | Answered | Refused | NoAnswer | HungUp | Released | sip_modify.Output


@dataclass(frozen=True, slots=True)
class Callee:
    """Whom to call: the Request-URI, and whom To names (the same URI without transport parameters)."""

    uri: str

    @property
    def address(self) -> str:
        """The URI as it stands in To: no port, no transport parameter."""
        uri = parse_uri(self.uri)
        uri.port = None
        uri.params = {}
        uri.headers = {}
        return stringify_uri(uri)


class OutgoingCall:
    """One call made by this end.

    `token` gives unguessable strings for branch, tag and cnonce; `reliable` says that the transport loses
    nothing.
    """

    def __init__(
        self,
        callee: Callee,
        end: LocalEnd,
        call_id: str,
        token: Callable[[], str],
        *,
        reliable: bool,
        login: SipDigestAuth | None = None,
    ) -> None:
        self.call_id = call_id
        self.state = CallState.IDLE
        self.dialog: Dialog | None = None
        self._callee = callee
        self._end = end
        self._token = token
        self._reliable = reliable
        self._login = login
        self._cseq = 0
        self._remote_cseq = 0
        self._from = f"{end.address};tag={token()}"
        self._invite: SipRequest | None = None
        self._body = b""
        self._ack: SipRequest | None = None
        self._answer: SipResponse | None = None
        self._cancelled = False
        self._provisional = False
        self._transactions: dict[tuple[str, str], ClientTransaction] = {}
        self._strays: dict[str, SipRequest] = {}  # ACKs of forks that were refused, by To tag
        self.changes = sip_modify.Modifications(self, end, self._branch, reliable=reliable)

    # --- the user's wishes

    def invite(self, sdp: bytes, now: float) -> list[Output]:
        """Send the INVITE with an SDP offer."""
        self._body = sdp
        self.state = CallState.CALLING
        return self._send_invite(now, None)

    def ack(self, body: bytes = b"") -> list[Output]:
        """Acknowledge the 2xx; only once answered. `body`: a session description (RFC 3261 13.2.1)."""
        if self.state is not CallState.ANSWERED or self.dialog is None or self._invite is None:
            return []
        self.state = CallState.CONFIRMED
        self._ack = self.dialog.request("ACK", cseq_number(self._invite), self._end, self._branch())
        for name in ("Authorization", "Proxy-Authorization"):
            value = self._invite.get_header(name)
            if value:
                self._ack.set_header(name, value)
        if body:
            self._ack.set_header("Content-Type", "application/sdp")
            self._ack.body = body
        return [Send(self._ack)]

    def bye(self, now: float) -> list[Output]:
        """End the call; nothing happens unless it was answered."""
        if self.state not in (CallState.ANSWERED, CallState.CONFIRMED) or self.dialog is None:
            return []
        self.state = CallState.ENDING
        self._cseq += 1
        return self._start(self.dialog.request("BYE", self._cseq, self._end, self._branch()), now)

    def cancel(self, now: float) -> list[Output]:
        """Cancel the pending INVITE; sent as soon as a provisional response has come (RFC 3261 9.1)."""
        if self.state is not CallState.CALLING or self._cancelled:
            return []
        self._cancelled = True
        return self._send_cancel(now) if self._provisional else []

    # --- what changes of the session need

    def next_cseq(self) -> int:
        """The number of another request of ours."""
        self._cseq += 1
        return self._cseq

    def credentials(self, request: SipRequest, response: SipResponse) -> tuple[str, str] | None:
        """The header that answers a challenge, None without one that we can answer."""
        return self._credentials(request, response)

    # --- what the network brings

    def receive(self, message: SipRequest | SipResponse, now: float) -> list[Output]:
        """A message with this call's Call-ID."""
        if isinstance(message, SipRequest):
            return self._request(message)
        if (told := self.changes.response(message, now)) is not None:
            return [*told]
        vias = message.via
        key = (vias[0].branch or "" if vias else "", cseq_method(message))
        transaction = self._transactions.get(key)
        if transaction is None:
            return []
        if key[1] == "INVITE" and 200 <= message.status_code < 300:
            return self._success(transaction, message, now)
        return self._carry_out(transaction, transaction.receive(message, now), now)

    def tick(self, now: float) -> list[Output]:
        """Time has passed."""
        outputs: list[Output] = []
        for transaction in list(self._transactions.values()):
            step = transaction.tick(now)
            outputs += [Send(request, first=False) for request in step.send]
            if step.timed_out:
                outputs += self._timed_out(transaction)
        return [*outputs, *self.changes.tick(now)]

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, or None."""
        deadlines = [transaction.next_deadline() for transaction in self._transactions.values()]
        deadlines.append(self.changes.next_deadline())
        return min((at for at in deadlines if at is not None), default=None)

    # --- inside

    def _send_invite(self, now: float, credentials: tuple[str, str] | None) -> list[Output]:
        self._cseq += 1
        ids = (self.call_id, self._from, f"<{self._callee.address}>")
        invite = new_request(
            "INVITE", self._callee.uri, cseq=self._cseq, end=self._end, branch=self._branch(), ids=ids
        )
        invite.set_header("Contact", self._end.contact)
        invite.set_header("Allow", ALLOW)
        invite.set_header("Content-Type", "application/sdp")
        invite.body = self._body
        if credentials:
            invite.set_header(*credentials)
        self._invite = invite
        self._provisional = False
        return self._start(invite, now)

    def _send_cancel(self, now: float) -> list[Output]:
        if self._invite is None:
            return []
        self._transactions[self._invite.via[0].branch or "", "INVITE"].cancelled(now)
        return self._start(cancel_of(self._invite), now)

    def _start(self, request: SipRequest, now: float) -> list[Output]:
        transaction = ClientTransaction(request, reliable=self._reliable)
        self._transactions[transaction.key] = transaction
        return [Send(message) for message in transaction.start(now).send]

    def _carry_out(self, transaction: ClientTransaction, step: Step, now: float) -> list[Output]:
        # the ACK of a failure is repeated when the failure is
        outputs: list[Output] = [Send(request, first=step.response is not None) for request in step.send]
        response = step.response
        if response is None:
            return outputs
        method = transaction.request.method
        if response.status_code in (401, 407) and self._may_log_in(transaction.request):
            retry = self._log_in(transaction.request, response, now)
            if retry:
                return outputs + retry
        if method == "INVITE":
            return outputs + self._invite_response(response, now)
        if method == "BYE" and response.status_code >= 200:
            self.state = CallState.ENDED
            outputs.append(Released(response))
        return outputs

    def _invite_response(self, response: SipResponse, now: float) -> list[Output]:
        if response.status_code < 200:
            first = not self._provisional
            self._provisional = True
            cancel = self._send_cancel(now) if self._cancelled and first else []
            return [Progress(response), *cancel]
        self.state = CallState.ENDED
        return [Refused(response)]

    def _success(self, transaction: ClientTransaction, response: SipResponse, now: float) -> list[Output]:
        if self.dialog is None:
            transaction.receive(response, now)
            self.dialog = dialog_of_answer(transaction.request, response)
            self.state = CallState.ANSWERED
            return [Answered(response)]
        if header_tag(response, "To") == tag_of(self.dialog.remote):
            return [Send(self._ack, first=False)] if self._ack else []
        return self._refuse_fork(transaction.request, response, now)

    def _refuse_fork(self, invite: SipRequest, response: SipResponse, now: float) -> list[Output]:
        """Another branch of a forked INVITE answered too: acknowledge it and hang up (RFC 3261 13.2.2.4)."""
        tag = header_tag(response, "To")
        if tag in self._strays:
            return [Send(self._strays[tag], first=False)]
        dialog = dialog_of_answer(invite, response)
        ack = dialog.request("ACK", cseq_number(invite), self._end, self._branch())
        self._strays[tag] = ack
        bye = dialog.request("BYE", cseq_number(invite) + 1, self._end, self._branch())
        bye_transaction = ClientTransaction(bye, reliable=self._reliable)
        self._transactions[bye_transaction.key] = bye_transaction
        return [Send(ack), *(Send(message) for message in bye_transaction.start(now).send)]

    def _timed_out(self, transaction: ClientTransaction) -> list[Output]:
        method = transaction.request.method
        if method in ("INVITE", "BYE"):
            self.state = CallState.ENDED
            return [NoAnswer(method)]
        return []

    def _may_log_in(self, request: SipRequest) -> bool:
        authorised = request.get_header("Authorization") or request.get_header("Proxy-Authorization")
        return self._login is not None and not authorised and request.method in ("INVITE", "BYE")

    def _log_in(self, request: SipRequest, response: SipResponse, now: float) -> list[Output]:
        """Repeat a request with the answer to the first challenge that can be answered (RFC 3261 22.2)."""
        credentials = self._credentials(request, response)
        if credentials is None or self._cancelled:
            return []
        if self.dialog is None:
            return self._send_invite(now, credentials)
        self._cseq += 1
        bye = self.dialog.request("BYE", self._cseq, self._end, self._branch())
        bye.set_header(*credentials)
        return self._start(bye, now)

    def _credentials(self, request: SipRequest, response: SipResponse) -> tuple[str, str] | None:
        proxy = response.status_code == 407
        for challenge in response.get_header_values("Proxy-Authenticate" if proxy else "WWW-Authenticate"):
            if self._login is None:
                break
            answer = build_credentials(
                self._login, parse_auth(challenge), request.method, request.uri, cnonce=self._token()
            )
            if answer is not None:
                return "Proxy-Authorization" if proxy else "Authorization", stringify_auth(answer)
        return None

    def _request(self, request: SipRequest) -> list[Output]:
        if request.method == "ACK":
            self.changes.acknowledged(request)
            return []
        if self.dialog is None or not self.dialog.matches(request):
            return [Send(new_response(request, 481, "Call/Transaction Does Not Exist"))]
        if not remote_cseq_is_new(request, self._remote_cseq):
            return [Send(new_response(request, 500, "Server Internal Error"))]
        self._remote_cseq = cseq_number(request)
        if request.method == "BYE":
            self.state = CallState.ENDED
            return [Send(new_response(request, 200, "OK")), HungUp(request)]
        if self.state is CallState.CONFIRMED and sip_modify.is_change(request):
            return [*self.changes.request(request)]
        return [Send(in_dialog_reply(request, self._end))]

    def _branch(self) -> str:
        return f"z9hG4bK{self._token()}"
