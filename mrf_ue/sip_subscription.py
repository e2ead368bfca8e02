"""A subscription of this end to the conference event package (RFC 6665 4.1, RFC 4575), sans-IO.

Inputs are the user's wishes, received messages and the time (monotonic seconds); every input returns outputs in the
order in which they are to be carried out. It is refreshed in time, and anew when a document has been missed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from aiosipua import SipRequest, SipResponse

from mrf_ue.sip_dialog import (
    Dialog,
    LocalEnd,
    contact_uri,
    header_tag,
    new_response,
    remote_cseq_is_new,
    tag_of,
)
from mrf_ue.sip_transactions import ClientTransaction, Send, cseq_number

EXPIRES = 3600
EVENT = "conference"
CONTENT_TYPE = "application/conference-info+xml"
REFRESH = 0.5  # after which part of its duration a subscription is refreshed


@dataclass(frozen=True, slots=True)
class Told:
    """A NOTIFY came, and is answered; its body."""

    body: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The subscription is over, or has never stood; why."""

    reason: str


Output = Send | Told | Ended


class Subscription:
    """One subscription. `token` gives unguessable strings; `reliable` says that the transport loses nothing."""

    def __init__(
        self, uri: str, end: LocalEnd, call_id: str, token: Callable[[], str], *, reliable: bool
    ) -> None:
        self.ended = False
        self._end = end
        self._token = token
        self._reliable = reliable
        self._dialog = Dialog(call_id, f"{end.address};tag={token()}", f"<{uri}>", uri)
        self._cseq = 0
        self._remote_cseq = 0
        self._transaction: ClientTransaction | None = None
        self._refresh_at: float | None = None
        self._leaving = False

    # --- the user's wishes

    def subscribe(self, now: float) -> list[Output]:
        """Ask for the full state, now and whenever it changes; again: for the full state once more."""
        return self._ask(EXPIRES, now)

    def unsubscribe(self, now: float) -> list[Output]:
        """Ask for no more."""
        if self.ended or self._leaving:
            return []
        self._leaving = True
        return self._ask(0, now)

    # --- what the network brings

    def receive(self, message: SipRequest | SipResponse, now: float) -> list[Output]:
        """A message with the Call-ID of the subscription."""
        if isinstance(message, SipRequest):
            return self._request(message)
        transaction = self._transaction
        if transaction is None or (message.via[0].branch or "") != transaction.key[0]:
            return []
        step = transaction.receive(message, now)
        if step.response is None or step.response.status_code < 200:
            return []
        return self._answered(step.response, now)

    def tick(self, now: float) -> list[Output]:
        """Time has passed."""
        outputs: list[Output] = []
        if self._transaction is not None:
            step = self._transaction.tick(now)
            outputs += [Send(request, first=False) for request in step.send]
            if step.timed_out:
                outputs += self._over("no response to SUBSCRIBE")
        if self._refresh_at is not None and now >= self._refresh_at and not self.ended:
            outputs += self.subscribe(now)
        return outputs

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, or None."""
        times = [self._refresh_at if not self.ended else None]
        times.append(None if self._transaction is None else self._transaction.next_deadline())
        return min((at for at in times if at is not None), default=None)

    # --- inside

    def _ask(self, expires: int, now: float) -> list[Output]:
        self._cseq += 1
        self._refresh_at = None
        request = self._dialog.request("SUBSCRIBE", self._cseq, self._end, f"z9hG4bK{self._token()}")
        request.set_header("Contact", self._end.contact)
        request.set_header("Event", EVENT)
        request.set_header("Accept", CONTENT_TYPE)
        request.set_header("Expires", str(expires))
        self._transaction = ClientTransaction(request, reliable=self._reliable)
        return [Send(message) for message in self._transaction.start(now).send]

    def _answered(self, response: SipResponse, now: float) -> list[Output]:
        if response.status_code >= 300:
            return self._over(f"SUBSCRIBE: {response.status_code} {response.reason_phrase}")
        self._learn(response, response.get_header("To") or "")
        if not tag_of(self._dialog.remote) or self._leaving:
            return []
        given = (response.get_header("Expires") or "").strip()
        seconds = int(given) if given.isdecimal() and len(given) < 10 else EXPIRES
        self._refresh_at = now + max(1.0, seconds * REFRESH)
        return []

    def _learn(self, message: SipRequest | SipResponse, remote: str) -> None:
        """The dialog as the first 200 or NOTIFY tells it (RFC 6665 4.4.1): they come in any order."""
        if tag_of(self._dialog.remote):
            return
        routes = message.get_header_values("Record-Route")
        if isinstance(message, SipResponse):
            routes = list(reversed(routes))
        target = contact_uri(message) or self._dialog.target
        self._dialog = replace(self._dialog, remote=remote, target=target, routes=tuple(routes))

    def _request(self, request: SipRequest) -> list[Output]:
        if request.method == "ACK":
            return []
        ours = header_tag(request, "To") == tag_of(self._dialog.local)
        theirs = tag_of(self._dialog.remote)
        if (
            self.ended
            or request.method != "NOTIFY"
            or not ours
            or theirs not in ("", header_tag(request, "From"))
        ):
            return [Send(new_response(request, 481, "Subscription Does Not Exist"))]
        if not remote_cseq_is_new(request, self._remote_cseq):
            return [Send(new_response(request, 500, "Server Internal Error"))]
        self._learn(request, request.get_header("From") or "")
        self._remote_cseq = cseq_number(request)
        outputs: list[Output] = [Send(new_response(request, 200, "OK", contact=self._end.contact))]
        body = bytes(request.body or b"").decode(errors="replace")
        if body:
            outputs.append(Told(body))
        state, _, parameters = (request.get_header("Subscription-State") or "").partition(";")
        if state.strip().lower() == "terminated":
            outputs += self._over(parameters.strip().removeprefix("reason=") or "terminated")
        return outputs

    def _over(self, reason: str) -> list[Output]:
        if self.ended:
            return []
        self.ended = True
        self._refresh_at = None
        return [Ended(reason)]
