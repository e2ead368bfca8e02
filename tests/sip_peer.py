"""A SIP peer made of one UDP socket, for tests that need every octet in their own hands: it does nothing by itself
but answer what it was told to answer, and ACK failures."""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

SECONDS = 60.0
"""Longest wait for a message that has to come."""


@dataclass(frozen=True)
class Message:
    """One SIP message: start line, header fields in order (long names as sent), body."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def read(cls, data: bytes) -> Message:
        """Take a datagram apart."""
        head, _, body = data.decode().partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        pairs = tuple(
            (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        )
        return cls(start, pairs, body)

    def values(self, name: str) -> list[str]:
        """All values of a header field."""
        return [value for found, value in self.headers if found.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        return self.values(name)[0]

    @property
    def status(self) -> int:
        """The status code, 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method of a request, or of the request that a response belongs to."""
        return self["CSeq"].split()[1]

    @property
    def cseq(self) -> int:
        """The CSeq number."""
        return int(self["CSeq"].split()[0])

    @property
    def target(self) -> str:
        """The Request-URI of a request."""
        return self.start.split()[1]

    @property
    def to_tag(self) -> str:
        """The tag in To, "" without one."""
        found = re.search(r";tag=([^;>]+)", self["To"])
        return found[1] if found else ""


@dataclass
class Answer:
    """What the peer answers to requests of one method: statuses, one after the other."""

    statuses: tuple[int, ...] = (200,)
    headers: str = ""


@dataclass
class SipPeer:
    """One end. `answers` says what requests of a method get; nothing is answered without an entry."""

    server: tuple[str, int]
    user: str
    domain: str = "ue.example"
    host: str = "127.0.0.1"
    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.host, self.port))
        self.received: list[Message] = []
        self.tag = secrets.token_hex(6)
        self.last_request = ""
        self._seen: set[tuple[str, str, str]] = set()

    def __enter__(self) -> SipPeer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    @property
    def uri(self) -> str:
        """Who it says it is."""
        return f"sip:{self.user}@{self.domain}"

    @property
    def address(self) -> str:
        """The URI at which it is reached."""
        host, port = self.socket.getsockname()
        return f"sip:{self.user}@{host}:{port}"

    def request(
        self,
        method: str,
        target: str,
        *headers: str,
        call_id: str = "",
        cseq: int = 1,
        to_tag: str = "",
        content_type: str = "",
        body: str = "",
        contact: bool = True,
    ) -> str:
        """Send a request; gives its Call-ID."""
        call_id = call_id or secrets.token_hex(10)
        host, port = self.socket.getsockname()
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(8)};rport",
            "Max-Forwards: 70",
            f"From: <{self.uri}>;tag={self.tag}",
            f"To: <{target}>" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            *([f"Contact: <{self.address}>"] if contact else []),
            *headers,
            *([f"Content-Type: {content_type}"] if content_type else []),
            f"Content-Length: {len(body.encode())}",
        ]
        self.last_request = "\r\n".join(lines) + "\r\n\r\n" + body
        self.socket.sendto(self.last_request.encode(), self.server)
        return call_id

    def respond(self, request: Message, status: int, headers: str = "", body: str = "") -> None:
        """Answer a request."""
        copied = [
            f"{name}: {value}"
            for name, value in request.headers
            if name.lower() in ("via", "from", "call-id", "cseq")
        ]
        to = request["To"] if request.to_tag or status == 100 else f"{request['To']};tag={self.tag}"
        lines = [f"SIP/2.0 {status} Test", *copied, f"To: {to}", f"Contact: <{self.address}>"]
        text = "\r\n".join(lines) + f"\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}"
        self.socket.sendto(text.encode(), self.server)

    def wait(self, wanted: Callable[[Message], bool], seconds: float = SECONDS) -> Message:
        """The first message not yet given that fits; retransmissions are not given again."""
        end = time.monotonic() + seconds
        while True:
            for index, message in enumerate(self.received):
                if wanted(message):
                    return self.received.pop(index)
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                self._take(Message.read(self.socket.recv(65_535)))
            except TimeoutError:
                raise AssertionError(f"it did not come; came: {[m.start for m in self.received]}") from None

    def response(self, method: str, least: int = 200) -> Message:
        """The next response to a request of this method, final ones only without `least`."""
        return self.wait(lambda message: message.status >= least and message.method == method)

    def incoming(self, method: str, seconds: float = SECONDS) -> Message:
        """The next request of this method."""
        return self.wait(lambda message: not message.status and message.method == method, seconds)

    def nothing(self, method: str, seconds: float) -> None:
        """Fail when a request of this method comes in that time."""
        try:
            found = self.incoming(method, seconds)
        except AssertionError:
            return
        raise AssertionError(f"not expected: {found.start}")

    def _take(self, message: Message) -> None:
        if not message.status and message.method in self.answers:
            answer = self.answers[message.method]
            for status in answer.statuses:
                self.respond(message, status, answer.headers)
        key = (message.start, message["Call-ID"], message["CSeq"])
        if key not in self._seen:
            self._seen.add(key)
            self.received.append(message)
