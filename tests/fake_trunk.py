"""A SIP trunk in memory, for scenarios of the trunk test: it answers as it is told, on a clock of its own."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aiosipua import SipRequest, SipResponse

from mrf_protocols import sdp
from mrf_ue.sip_dialog import LocalEnd, header_tag, new_response
from mrf_ue.sip_transactions import cseq_number
from mrf_ue.trunk.actions import (
    Action,
    Done,
    Emit,
    Event,
    GetKeys,
    Message,
    NoKeys,
    Octets,
    Pong,
    Quiet,
    Received,
    Transact,
    Wait,
)
from mrf_ue.trunk.cases import CASES, play
from mrf_ue.trunk.setting import Knowledge, Setting
from mrf_ue.trunk.stage import Stage

TARGET = "sip:conf@trunk.example"
END = LocalEnd("sip:kit@ue.example", "192.0.2.1", 5070, "tcp")
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS"
GONE = 481, "Call Does Not Exist"


@dataclass(frozen=True)
class Answer:
    """One response: its status, header fields, body, and seconds after the request."""

    status: int
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    after: float = 0.01


Handler = Callable[[SipRequest], list[Answer]]


def says(status: int, reason: str = "", *headers: tuple[str, str]) -> Handler:
    """Always this answer."""
    return lambda _: [Answer(status, reason, headers)]


def silent(_: SipRequest) -> list[Answer]:
    """Never answers."""
    return []


@dataclass
class FakeTrunk:
    """A trunk that keeps the rules; `handlers` by method say where it does not.

    `repeats`: when it repeats a 200, in seconds after it, while no ACK comes. `takes`: media types it serves.
    """

    handlers: dict[str, Handler] = field(default_factory=dict)
    takes: frozenset[str] = frozenset({"application"})
    repeats: tuple[float, ...] = (0.5, 1.5, 3.5)
    headers: tuple[tuple[str, str], ...] = ()
    pong: bool = True
    seen: list[Message] = field(default_factory=list)
    up: set[str] = field(default_factory=set)
    _acked: set[str] = field(default_factory=set)
    _cseq: dict[str, int] = field(default_factory=dict)
    _answered: dict[str, SipResponse] = field(default_factory=dict)

    def methods(self) -> list[str]:
        """The requests that came."""
        return [each.method for each in self.seen if isinstance(each, SipRequest)]

    def receive(self, message: Message) -> Iterator[tuple[float, Message]]:
        """What it sends for a message, and after how many seconds."""
        self.seen.append(message)
        if not isinstance(message, SipRequest):
            return
        if message.method == "ACK":
            self._acked.add(message.call_id or "")
            return
        for answer in self.handlers.get(message.method, self._by_the_book)(message):
            yield answer.after, self.respond(message, answer)
        yield from self._repetitions(message)

    def respond(self, request: SipRequest, answer: Answer) -> SipResponse:
        """The response on the wire."""
        response = new_response(request, answer.status, answer.reason, to_tag=f"trunk-{request.call_id}")
        response.remove_header("Allow")
        response.remove_header("User-Agent")
        if 100 < answer.status < 300:
            response.set_header("Contact", "<sip:conf@192.0.2.9>;isfocus")
        for name, value in (*self.headers, *answer.headers):
            response.set_header(name, value)
        if answer.body:
            response.set_header("Content-Type", "application/sdp")
            response.body = answer.body
        return response

    def _repetitions(self, request: SipRequest) -> Iterator[tuple[float, Message]]:
        known = self._answered.get(request.call_id or "")
        if request.method == "INVITE" and known is not None and not header_tag(request, "To"):
            for after in self.repeats:
                yield after, known

    def _by_the_book(self, request: SipRequest) -> list[Answer]:
        if request.get_header("Require"):
            unknown = request.get_header("Require") or ""
            return [Answer(420, "Bad Extension", (("Unsupported", unknown),))]
        if request.get_header("Max-Forwards") == "0":
            return [Answer(483, "Too Many Hops")]
        if (request.get_header("CSeq") or "").split()[1] != request.method:
            return [Answer(400, "Bad Request")]
        if "nobody" in request.uri:
            return [Answer(404, "Not Found")]
        if header_tag(request, "To") and request.call_id not in self.up:
            return [Answer(*GONE)]
        if request.method == "OPTIONS":
            about = (
                ("Allow", ALLOW),
                ("Accept", "application/sdp"),
                ("Supported", "timer"),
                ("Server", "fake"),
            )
            return [Answer(200, "OK", about)]
        if request.method == "BYE":
            self.up.discard(request.call_id or "")
            return [Answer(200, "OK")]
        if request.method == "CANCEL":
            return [Answer(*GONE)]
        if request.method == "INVITE":
            return self._invited(request)
        return [Answer(405, "Method Not Allowed", (("Allow", ALLOW),))]

    def _invited(self, request: SipRequest) -> list[Answer]:
        call, number = request.call_id or "", cseq_number(request)
        kind = request.content_type or ""
        if request.body and not kind.startswith("application/sdp"):
            return [Answer(415, "Unsupported Media Type", (("Accept", "application/sdp"),))]
        if call in self.up and number < self._cseq[call]:
            return [Answer(500, "Server Internal Error")]
        if call in self.up and number == self._cseq[call]:
            return [] if header_tag(request, "To") == "" else [Answer(500, "Server Internal Error")]
        body = self.answer(request.body)
        if body is None:
            return [Answer(488, "Not Acceptable Here")]
        self.up.add(call)
        self._cseq[call] = number
        final = Answer(200, "OK", body=body, after=0.05)
        self._answered[call] = self.respond(request, final)
        return [Answer(100, "Trying"), final]

    def answer(self, offer: bytes) -> bytes | None:
        """The answer to an offer, or an offer where there is none; None to refuse it."""
        origin, connection = sdp.Origin.of("192.0.2.9", 1), sdp.Connection.of("192.0.2.9")
        if not offer:
            media = sdp.MediaDescription("application", 9, "TCP/TLS/BFCP", ("*",))
            return sdp.encode(sdp.SessionDescription(origin, connection=connection, media=(media,)))
        received = sdp.parse(offer)
        taken = {
            at: _mirrored(media)
            for at, media in enumerate(received.media)
            if media.media in self.takes and not media.proto.startswith("UDP")
        }
        return sdp.encode(sdp.answer(received, origin, connection, taken)) if taken else None


def _mirrored(media: sdp.MediaDescription) -> sdp.MediaDescription:
    attributes = tuple(
        sdp.Attribute("recvonly") if each.name == "sendonly" else each for each in media.attributes
    )
    return sdp.MediaDescription(media.media, 30000, media.proto, media.formats, attributes=attributes)


def try_case(
    name: str, trunk: FakeTrunk, setting: Setting | None = None, knowledge: Knowledge | None = None
) -> Stage:
    """Play a case against the trunk; time goes as fast as nothing happens."""
    counter = itertools.count(1)
    chosen = setting or Setting(TARGET, "sip:kit@ue.example", END, reliable=True)
    stage = Stage(chosen, knowledge or Knowledge(), lambda: f"token{next(counter)}", now=100.0)
    scenario = play(next(case for case in CASES if case.name == name), stage)
    line = _Line(trunk)
    try:
        action = next(scenario)
        while True:
            action = scenario.send(line.carry_out(action))
    except StopIteration:
        return stage


class _Line:
    """Time and what is under way."""

    def __init__(self, trunk: FakeTrunk) -> None:
        self._trunk = trunk
        self._now = 100.0
        self._order = itertools.count()
        self._coming: list[tuple[float, int, Message | None]] = []

    def carry_out(self, action: Action) -> Event:
        match action:
            case Transact(message) | Emit(message):
                for after, response in self._trunk.receive(message):
                    heapq.heappush(self._coming, (self._now + after, next(self._order), response))
            case Octets():
                if self._trunk.pong:
                    heapq.heappush(self._coming, (self._now + 0.01, next(self._order), None))
            case GetKeys():
                return NoKeys(self._now, "no KMS here")
            case Wait(seconds):
                return self._wait(self._now + seconds)
        return Done(self._now)

    def _wait(self, ends: float) -> Event:
        while self._coming and self._coming[0][0] <= ends:
            self._now, _, message = heapq.heappop(self._coming)
            if message is None:
                return Pong(self._now)
            if not self._given_up(message):
                return Received(self._now, message)
        self._now = ends
        return Quiet(ends)

    def _given_up(self, message: Message) -> bool:
        """A repeated 200 whose ACK has come is not sent."""
        again = isinstance(message, SipResponse) and message in self._trunk._answered.values()
        return again and message.call_id in self._trunk._acked
