"""The steps that scenarios of the trunk test share, sans-IO: requests that are awaited, calls that come up and are hung
up, findings."""

import copy
from collections.abc import Callable

from aiosipua import (
    SipRequest,
    SipResponse,
    build_credentials,
    parse_auth,
    stringify_auth,
)

from mrf_protocols import sdp
from mrf_protocols.sdp import SessionDescription
from mrf_ue.sip_call import Callee
from mrf_ue.sip_dialog import (
    ALLOW,
    dialog_of_answer,
    header_tag,
    in_dialog_reply,
    new_request,
    new_response,
    tag_of,
)
from mrf_ue.sip_transactions import cancel_of, cseq_number
from mrf_ue.trunk.actions import (
    Action,
    Closed,
    Emit,
    Event,
    GetKeys,
    Keys,
    Message,
    NoKeys,
    Play,
    Quiet,
    Received,
    Transact,
    Wait,
)
from mrf_ue.trunk.judgement import Judgement
from mrf_ue.trunk.messages import branch_of, line, method_of
from mrf_ue.trunk.offers import Described, OfferKind, describe, make_offer
from mrf_ue.trunk.setting import Challenged, Knowledge, Leg, Setting
from mrf_ue.trunk.verdict import Verdict

SDP = "application/sdp"
TIDY_SECONDS = 4.0
"""What hanging up may take, beyond the time of the case."""


_FEATURES = ("Server", "User-Agent", "Allow", "Supported", "Accept", "Allow-Events")


class Stage(Judgement):
    """One case being played."""

    def __init__(
        self, setting: Setting, knowledge: Knowledge, token: Callable[[], str], now: float = 0.0
    ) -> None:
        super().__init__()
        self.setting = setting
        self.knowledge = knowledge
        self.now = now
        self.times: dict[str, float] = {}
        self.notified: list[SipRequest] = []
        """NOTIFYs that came; they are answered already."""
        self.invited: list[SipRequest] = []
        """INVITEs that came outside our dialogs; they are refused already."""
        self.provisionals: list[SipResponse] = []
        """Provisional responses of the INVITE under way, without 100."""
        self.closed = ""
        """Why the connection is gone, "" while it is not."""
        self.sent: SipRequest
        """The last request that a transaction was made for."""
        self._token = token
        self._began = now
        self._ends = now + setting.seconds
        self._first_sent: float | None = None
        self._legs: list[Leg] = []
        self.leg = self.new_leg()

    # --- requests

    def new_leg(self, to: str = "") -> Leg:
        """Another Call-ID, outside of every dialog."""
        callee = Callee(to or self.setting.target).address
        leg = Leg(self._token(), f"<{self.setting.identity}>;tag={self._token()}", f"<{callee}>")
        self._legs.append(leg)
        return leg

    def request(
        self, method: str, *headers: tuple[str, str], body: bytes = b"", leg: Leg | None = None, uri: str = ""
    ) -> SipRequest:
        """A request of the dialog, or outside of one while the leg has none; with the next CSeq number."""
        leg = leg or self.leg
        leg.cseq += 1
        if leg.dialog is not None:
            made = leg.dialog.request(method, leg.cseq, self.setting.end, self.branch())
        else:
            ids = (leg.call_id, leg.from_, leg.to)
            target = uri or self.setting.target
            made = new_request(
                method, target, cseq=leg.cseq, end=self.setting.end, branch=self.branch(), ids=ids
            )
        if method not in ("BYE", "PRACK"):
            made.set_header("Contact", self.setting.end.contact)
        if body:
            made.set_header("Content-Type", SDP)
            made.body = body
        for name, value in headers:
            made.set_header(name, value)
        return made

    def branch(self) -> str:
        """A new Via branch."""
        return f"z9hG4bK{self._token()}"

    def ask(self, request: SipRequest, seconds: float | None = None) -> Play[SipResponse]:
        """Send a request and give its final response; a challenge is answered once. Stops without one."""
        response = yield from self._exchange(request, seconds)
        if response is not None and response.status_code in (401, 407):
            again = self._logged_in(request, response)
            if again is not None:
                response = yield from self._exchange(again, seconds)
        if response is None and self.closed:
            text = f"no final response to {request.method}, the connection is gone: {self.closed}"
            self.stop(Verdict.FAIL, text, "RFC 3261 18.4")
        if response is None:
            waited = min(seconds or self.setting.seconds, self.setting.seconds)
            self.stop(
                Verdict.FAIL, f"no final response to {request.method} in {waited:g} s", "RFC 3261 8.1.1, 17"
            )
        if response.status_code in (401, 407):
            what = "our credentials are not taken" if self.setting.login else "it wants --username"
            self.stop(Verdict.NOT_RUN, f"{line(response)}: {what}", "RFC 3261 22")
        self._learn(response)
        return response

    def _exchange(self, request: SipRequest, seconds: float | None) -> Play[SipResponse | None]:
        yield from self.transact(request)
        return (yield from self.final(request, seconds))

    def transact(self, request: SipRequest) -> Play[None]:
        """Send a request; its response is not waited for."""
        self.sent, self.closed = request, ""
        known = self._credentials(request)
        if known is not None and not request.get_header(known[0]):
            request.set_header(*known)
        if self._first_sent is None:
            self._first_sent = self.now
        if request.method == "INVITE":
            self.provisionals.clear()
            leg = self._leg_of(request)
            if leg is not None:
                leg.pending = request
                leg.invite = leg.invite or request
        yield from self.do(Transact(request))

    def final(self, request: SipRequest, seconds: float | None = None) -> Play[SipResponse | None]:
        """The final response to a request that was sent, None when none comes in time."""
        branch = request.via[0].branch

        def answers(message: Message) -> bool:
            return (
                isinstance(message, SipResponse)
                and message.status_code >= 200
                and branch_of(message) == branch
                and method_of(message) == request.method
            )

        found = yield from self.until(answers, seconds)
        if not isinstance(found, SipResponse):
            return None
        if request.method == "INVITE":
            self.settled(request, found)
        return found

    def finals(self, *requests: SipRequest) -> Play[list[SipResponse | None]]:
        """The final responses to several requests under way, in the order of the requests; each 2xx to an INVITE is
        acknowledged."""
        found: dict[tuple[str, str], SipResponse] = {}
        keys = [(request.via[0].branch or "", request.method) for request in requests]

        def answers(message: Message) -> bool:
            key = (branch_of(message), method_of(message))
            final = isinstance(message, SipResponse) and message.status_code >= 200
            return final and key in keys and key not in found

        while len(found) < len(keys):
            response = yield from self.until(answers)
            if not isinstance(response, SipResponse):
                break
            key = (branch_of(response), method_of(response))
            found[key] = response
            request = requests[keys.index(key)]
            if request.method == "INVITE":
                self.settled(request, response)
                if response.status_code < 300:
                    yield from self.ack(self._leg_of(request))
        return [found.get(key) for key in keys]

    def settled(self, invite: SipRequest, response: SipResponse) -> None:
        """The final response to an INVITE has come."""
        leg = self._leg_of(invite)
        if leg is None:
            return
        leg.pending = None
        if response.status_code >= 300:
            return
        leg.invite, leg.answer, leg.acknowledged = invite, response, None
        if leg.dialog is None or not leg.up:
            leg.dialog = dialog_of_answer(invite, response)
            leg.up = True

    def until(self, wanted: Callable[[Message], bool], seconds: float | None = None) -> Play[Message | None]:
        """The first message that fits, None when none comes in time; requests of the far end are answered."""
        ends = min(self._ends, self.now + (self.setting.seconds if seconds is None else seconds))
        while self.now < ends:
            event = yield from self.do(Wait(ends - self.now))
            if isinstance(event, Received):
                yield from self._attend(event.message)
                if wanted(event.message):
                    return event.message
            elif isinstance(event, Closed):
                self.closed = event.reason
                break
            elif isinstance(event, Quiet):
                break
        return None

    def pause(self, seconds: float) -> Play[list[Message]]:
        """Let time pass; gives what came."""
        came: list[Message] = []

        def keep(message: Message) -> bool:
            came.append(message)
            return False

        yield from self.until(keep, seconds)
        return came

    def do(self, action: Action) -> Play[Event]:
        """One action; the clock goes on."""
        event = yield action
        self.now = event.at
        return event

    # --- calls

    def offer(self, kind: OfferKind, *, keyed: bool = True) -> Play[SessionDescription]:
        """An offer; with keys where they can be had and belong. Stops when the KMS gives none."""
        keys: tuple[sdp.KeyMgmt, ...] = ()
        if keyed and self.setting.keyed and kind not in (OfferKind.AUDIO, OfferKind.BFCP_UDP):
            event = yield from self.do(GetKeys())
            if isinstance(event, NoKeys):
                self.stop(Verdict.NOT_RUN, event.text)
            if isinstance(event, Keys):
                keys = event.offered
        return make_offer(kind, self.setting.end.host, self.number(), keys)

    def number(self) -> int:
        """A session identifier for o= (RFC 8866 5.2)."""
        return int.from_bytes(self._token().encode()[:7], "big")

    def invite(
        self, offer: SessionDescription | None, *headers: tuple[str, str], uri: str = ""
    ) -> SipRequest:
        """An INVITE of the current leg."""
        body = sdp.encode(offer) if offer is not None else b""
        self.leg.offer = offer
        return self.request("INVITE", ("Allow", ALLOW), *headers, body=body, uri=uri)

    def call(self, *headers: tuple[str, str], ack: bool = True) -> Play[Leg]:
        """A call that is up, by whichever offer the trunk takes. Stops when it takes none."""
        response = yield from self.dial(*headers)
        if response.status_code >= 300:
            self.stop(Verdict.NOT_RUN, f"no call came up to try it in: {line(response)}")
        if ack:
            yield from self.ack()
        return self.leg

    def dial(self, *headers: tuple[str, str]) -> Play[SipResponse]:
        """The final response to an INVITE with an offer that is taken, or to the last of those that are not."""
        known = self.knowledge.offer
        for kind in (known,) if known else (OfferKind.BFCP, OfferKind.EVERYTHING, OfferKind.AUDIO):
            self.leg = self.new_leg()
            offer = yield from self.offer(kind)
            response = yield from self.ask(self.invite(offer, *headers))
            if response.status_code < 300:
                self.knowledge.offer = kind
                self.described(offer, response)
            if response.status_code not in (415, 488, 606):
                break
        return response

    def described(self, offer: SessionDescription, response: SipResponse) -> Described:
        """What the answer in a 2xx says; the leg keeps it."""
        self.leg.described = describe(offer, response.body)
        return self.leg.described

    def ack(self, leg: Leg | None = None, body: bytes = b"") -> Play[None]:
        """Acknowledge the 2xx."""
        leg = leg or self.leg
        if leg.dialog is None or leg.invite is None:
            return
        made = leg.dialog.request("ACK", cseq_number(leg.invite), self.setting.end, self.branch())
        for name in ("Authorization", "Proxy-Authorization"):
            if value := leg.invite.get_header(name):
                made.set_header(name, value)
        if body:
            made.set_header("Content-Type", SDP)
            made.body = body
        leg.acknowledged = made
        yield from self.do(Emit(made))

    def bye(self, leg: Leg | None = None) -> Play[SipResponse | None]:
        """Hang up; gives the response, None when the far end was first."""
        leg = leg or self.leg
        if not leg.up:
            return None
        leg.up = False
        return (yield from self.ask(self.request("BYE", leg=leg)))

    def tidy(self) -> Play[None]:
        """Leave nothing behind: cancel and hang up what the scenario has left."""
        self._ends = self.now + TIDY_SECONDS
        for leg in self._legs:
            if leg.pending is not None:
                invite = leg.pending
                yield from self.transact(cancel_of(invite))
                yield from self.final(invite)
                leg.pending = None
            if leg.up:
                if leg.acknowledged is None:
                    yield from self.ack(leg)
                leg.up = False
                yield from self._exchange(self.request("BYE", leg=leg), None)

    # --- inside

    def _leg_of(self, message: Message) -> Leg | None:
        return next((leg for leg in self._legs if leg.call_id == message.call_id), None)

    def _logged_in(self, request: SipRequest, response: SipResponse) -> SipRequest | None:
        """The request once more, with the answer to a challenge (RFC 3261 22.2); the challenge is kept."""
        proxy, leg = response.status_code == 407, self._leg_of(request)
        for value in response.get_header_values("Proxy-Authenticate" if proxy else "WWW-Authenticate"):
            self.knowledge.challenge = Challenged(proxy, parse_auth(value))
            credentials = self._credentials(request)
            if credentials is not None and leg is not None:
                leg.cseq += 1
                again = copy.deepcopy(request)
                again.set_header("Via", self.setting.end.via(self.branch()))
                again.set_header("CSeq", f"{leg.cseq} {request.method}")
                again.set_header(*credentials)
                return again
        self.knowledge.challenge = None
        return None

    def _credentials(self, request: SipRequest) -> tuple[str, str] | None:
        """The answer to the last challenge for this request, as a header field (RFC 7616 3.4)."""
        challenge, login = self.knowledge.challenge, self.setting.login
        if challenge is None or login is None or request.method in ("ACK", "CANCEL"):
            return None
        challenge.used += 1
        answer = build_credentials(
            login,
            challenge.value,
            request.method,
            request.uri,
            nonce_count=challenge.used,
            cnonce=self._token(),
        )
        name = "Proxy-Authorization" if challenge.proxy else "Authorization"
        return None if answer is None else (name, stringify_auth(answer))

    def log_in(self) -> Play[None]:
        """Learn a challenge before a request whose first response tells something."""
        if self.setting.login is not None and self.knowledge.challenge is None:
            yield from self.ask(self.request("OPTIONS", leg=self.new_leg()))

    def _attend(self, message: Message) -> Play[None]:
        """What every scenario does with what comes: notes times, answers requests, acknowledges a repeated 2xx."""
        if isinstance(message, SipRequest):
            yield from self._answer(message)
            return
        self._note(message)
        leg = self._leg_of(message)
        again = method_of(message) == "INVITE" and 200 <= message.status_code < 300
        if again and leg is not None and leg.acknowledged is not None and _repeated(leg, message):
            yield from self.do(Emit(leg.acknowledged))

    def _note(self, response: SipResponse) -> None:
        since = (self.now - (self._first_sent or self._began)) * 1000
        status, invite = response.status_code, method_of(response) == "INVITE"
        self.times.setdefault("response", round(since, 1))
        if invite and 100 < status < 300:
            self.times.setdefault("ringing", round(since, 1))
        if invite and 200 <= status < 300:
            self.times.setdefault("answer", round(since, 1))
        if invite and 100 < status < 200:
            self.provisionals.append(response)

    def _learn(self, response: SipResponse) -> None:
        for name in _FEATURES:
            if values := response.get_header_values(name):
                self.knowledge.features.setdefault(name, ", ".join(values))
        for contact in response.get_header_values("Contact"):
            features = contact.partition(">")[2].strip(";")
            if features and method_of(response) in ("INVITE", "OPTIONS"):
                self.knowledge.features.setdefault("Contact", features)

    def _answer(self, request: SipRequest) -> Play[None]:
        leg = self._leg_of(request)
        dialog = leg.dialog if leg is not None else None
        if request.method == "ACK" or leg is None:
            if request.method == "INVITE":
                self.invited.append(request)
            if request.method != "ACK":
                status = (486, "Busy Here") if request.method == "INVITE" else (481, "Call Does Not Exist")
                yield from self._reply(new_response(request, *status, to_tag=self._token()))
            return
        if request.method == "NOTIFY":
            self.notified.append(request)
            yield from self._reply(new_response(request, 200, "OK"))
        elif request.method == "BYE" and dialog is not None and dialog.matches(request):
            leg.up = False
            yield from self._reply(new_response(request, 200, "OK"))
        elif request.method == "INVITE" and leg.pending is not None:
            yield from self._reply(new_response(request, 491, "Request Pending"))
        else:
            yield from self._reply(in_dialog_reply(request, self.setting.end))

    def _reply(self, response: SipResponse) -> Play[None]:
        yield from self.do(Emit(response))


def _repeated(leg: Leg, response: SipResponse) -> bool:
    return (
        leg.invite is not None
        and cseq_number(response) == cseq_number(leg.invite)
        and leg.dialog is not None
        and header_tag(response, "To") == tag_of(leg.dialog.remote)
    )
