"""Messages that try a SIP parser: those of RFC 4475 by name, and our own with the same quirks.

The texts of RFC 4475 are not here. Its table says what a running MRFC answers to each; 0 is nothing. What differs
from what the RFC asks for has a reason. The user part of their URIs is none of our conferences, so 404 is what an
INVITE gets that was understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

UNREADABLE = "Kamailio cannot read it, and drops it"
NOT_OURS = "understood, but nobody we know"
NO_REGISTRAR = "understood, but we are no registrar"
IGNORED = "a response to nothing"


@dataclass(frozen=True)
class Judged:
    """One message of RFC 4475: its section, what it has, what we answer, and why if the RFC asks for something else."""

    section: str
    quirk: str
    status: int
    why: str = ""


RFC_4475 = {
    "wsinv": Judged("3.1.1.1", "all kinds of folding and short forms", 0, f"{UNREADABLE}: it folds CSeq"),
    "intmeth": Judged(
        "3.1.1.2", "every character that a token may have", 0, f"{UNREADABLE}: the name of the last field"
    ),
    "esc01": Judged("3.1.1.3", "escapes in URIs", 404, NOT_OURS),
    "escnull": Judged("3.1.1.4", "%00 in URIs", 405, NO_REGISTRAR),
    "esc02": Judged("3.1.1.5", "% that is no escape", 0, f"{UNREADABLE}: a field name with %"),
    "lwsdisp": Judged("3.1.1.6", "no space between display name and <", 200),
    "longreq": Judged("3.1.1.7", "long values", 404, NOT_OURS),
    "dblreq": Judged("3.1.1.8", "a second request behind the first in a datagram", 405, NO_REGISTRAR),
    "semiuri": Judged("3.1.1.9", "; in the user part", 200),
    "transports": Judged("3.1.1.10", "five transports in Via", 200),
    "mpart01": Judged("3.1.1.11", "binary parts in a body", 405, "understood, but MESSAGE is not served"),
    "unreason": Judged("3.1.1.12", "a reason phrase that is not ASCII", 0, IGNORED),
    "noreason": Judged("3.1.1.13", "an empty reason phrase", 0, IGNORED),
    "badinv01": Judged("3.1.2.1", "separators without anything between them", 0, f"{UNREADABLE}: its Via"),
    "clerr": Judged("3.1.2.2", "a Content-Length beyond the datagram", 400),
    "ncl": Judged("3.1.2.3", "a negative Content-Length", 0, UNREADABLE),
    "scalar02": Judged("3.1.2.4", "numbers out of their range", 400),
    "scalarlg": Judged("3.1.2.5", "the same in a response", 0, IGNORED),
    "quotbal": Judged("3.1.2.6", "a quote that does not end", 0, UNREADABLE),
    "ltgtruri": Judged("3.1.2.7", "<> around the Request-URI", 400),
    "lwsruri": Judged("3.1.2.8", "a space in the Request-URI", 0, UNREADABLE),
    "lwsstart": Judged("3.1.2.9", "two spaces in the request line", 0, UNREADABLE),
    "trws": Judged(
        "3.1.2.10",
        "spaces at the end of the request line",
        200,
        "read as if they were not there, which the RFC allows",
    ),
    "escruri": Judged("3.1.2.11", "headers in the Request-URI", 404, NOT_OURS),
    "baddate": Judged("3.1.2.12", "a Date that is not in GMT", 404, "nobody here reads Date"),
    "regbadct": Judged("3.1.2.13", "a Contact with ? and without <>", 405, NO_REGISTRAR),
    "badaspec": Judged("3.1.2.14", "spaces within an addr-spec", 200, "nobody has to read this To to answer"),
    "baddn": Judged(
        "3.1.2.15", "display names that want quotes", 200, "nobody has to read this name to answer"
    ),
    "badvers": Judged("3.1.2.16", "SIP/7.0", 0, f"{UNREADABLE}: its Via"),
    "mismatch01": Judged("3.1.2.17", "CSeq of another method", 400),
    "mismatch02": Judged("3.1.2.18", "the same with an unknown method", 400),
    "bigcode": Judged("3.1.2.19", "a status code beyond 32 bits", 0),
    "badbranch": Judged("3.2.1", "a branch that is the magic cookie alone", 200),
    "insuf": Judged(
        "3.3.1", "no Call-ID, From or To", 0, f"{UNREADABLE}: what a response has to carry is not there"
    ),
    "unkscm": Judged("3.3.2", "a scheme that nobody knows", 416),
    "novelsc": Judged("3.3.3", "a scheme that is none of SIP's", 416),
    "unksm2": Judged("3.3.4", "the same in other fields", 400),
    "bext01": Judged("3.3.5", "Require and Proxy-Require of the unknown", 420),
    "invut": Judged("3.3.6", "a body of an unknown type", 404, NOT_OURS),
    "regaut01": Judged("3.3.7", "credentials of an unknown scheme", 405, NO_REGISTRAR),
    "multi01": Judged("3.3.8", "single fields several times", 0, UNREADABLE),
    "mcl01": Judged("3.3.9", "two Content-Lengths", 0, UNREADABLE),
    "bcast": Judged("3.3.10", "a response by way of a broadcast address", 0),
    "zeromf": Judged("3.3.11", "Max-Forwards 0", 483),
    "cparam01": Judged("3.3.12", "an unknown parameter of Contact", 405, NO_REGISTRAR),
    "cparam02": Judged("3.3.13", "an unknown parameter of its URI", 405, NO_REGISTRAR),
    "regescrt": Judged("3.3.14", "an escaped header in Contact", 405, NO_REGISTRAR),
    "sdp01": Judged("3.3.15", "an Accept without SDP", 404, NOT_OURS),
    "inv2543": Judged("3.4.1", "no tags and no Content-Length", 404, NOT_OURS),
}

_FIRST_VIA = re.compile(
    rb"^((?:via|v)\s*:\s*SIP\s*/\s*[\d.]+\s*/\s*\w+\s+)[^\s;,]+", re.IGNORECASE | re.MULTILINE
)


def answered_to(message: bytes, port: int) -> bytes:
    """A message whose first Via leads back to a port of loopback."""
    return _FIRST_VIA.sub(lambda found: found[1] + b"127.0.0.1:%d" % port, message, count=1)


Edit = Callable[[bytes], bytes]


def _sub(old: bytes, new: bytes) -> Edit:
    def edit(message: bytes) -> bytes:
        assert old in message
        return message.replace(old, new, 1)

    return edit


AUDIO = b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
"""An offer that was understood gets 488: it has no BFCP stream."""


def plain(method: str, uri: str, number: int, body: bytes = b"") -> bytes:
    """A request without any quirk."""
    kind = "Content-Type: application/sdp\r\n" if body is AUDIO else ""
    head = (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKown{number}\r\nMax-Forwards: 70\r\n"
        f'From: "Tester" <sip:tester@ue.example>;tag=t{number}\r\nTo: <{uri}>\r\nCall-ID: own-{number}@192.0.2.7\r\n'
        f"CSeq: 7 {method}\r\nContact: <sip:tester@192.0.2.7>\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True)
class Own:
    """A message of ours: what it has, how it comes from a plain one, and the final status, 0 for none."""

    quirk: str
    method: str
    edit: Edit
    status: int
    body: bytes = b""


OWN = (
    Own("nothing", "OPTIONS", bytes, 200),
    Own(
        "short forms and folding",
        "OPTIONS",
        lambda m: m.replace(b"From:", b"f  :\r\n ").replace(b"Call-ID", b"i"),
        200,
    ),
    Own("escapes in the user part", "INVITE", _sub(b"meeting", b"%6eobody%00%40"), 404),
    Own("a display name of one quote and no end", "OPTIONS", _sub(b'"Tester"', b'"Tester'), 400),
    Own("a field name with %", "OPTIONS", _sub(b"Contact:", b"C%6Fntact:"), 0),
    Own("no space before <", "OPTIONS", _sub(b'"Tester" <', b"Tester<"), 200),
    Own("8 kB of display name", "OPTIONS", _sub(b"Tester", b"long " * 1600), 200),
    Own(
        "more octets than Content-Length says", "OPTIONS", lambda m: m + b"OPTIONS sip:x SIP/2.0\r\n\r\n", 200
    ),
    Own(
        "fewer octets than Content-Length says",
        "OPTIONS",
        _sub(b"Content-Length: 0", b"Content-Length: 900"),
        400,
    ),
    Own("Content-Length -1", "OPTIONS", _sub(b"Content-Length: 0", b"Content-Length: -1"), 0),
    Own(
        "Content-Length twice",
        "OPTIONS",
        _sub(b"Content-Length: 0", b"Content-Length: 0\r\nContent-Length: 5"),
        0,
    ),
    Own("CSeq beyond 2^31", "OPTIONS", _sub(b"CSeq: 7 ", b"CSeq: 36893488147419103232 "), 400),
    Own("CSeq of another method", "OPTIONS", _sub(b"7 OPTIONS", b"7 INVITE"), 400),
    Own("CSeq twice", "OPTIONS", _sub(b"CSeq: 7", b"CSeq: 8 OPTIONS\r\nCSeq: 7"), 0),
    Own("<> around the Request-URI", "INVITE", lambda m: re.sub(rb"^INVITE (\S+)", rb"INVITE <\1>", m), 400),
    Own(
        "a space in the Request-URI",
        "INVITE",
        lambda m: m.replace(b" SIP/2.0\r\n", b"; lr SIP/2.0\r\n", 1),
        0,
    ),
    Own("two spaces in the request line", "INVITE", lambda m: m.replace(b"INVITE ", b"INVITE  ", 1), 0),
    Own("SIP/3.0", "OPTIONS", lambda m: m.replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n", 1), 0),
    Own(
        "a scheme that nobody knows",
        "OPTIONS",
        lambda m: re.sub(rb"^OPTIONS \S+", b"OPTIONS gopher://h/x", m),
        416,
    ),
    Own("Require of the unknown", "INVITE", _sub(b"Max-F", b"Require: levitation\r\nMax-F"), 420),
    Own("Max-Forwards 0", "OPTIONS", _sub(b"Max-Forwards: 70", b"Max-Forwards: 0"), 483),
    Own("Max-Forwards -1", "OPTIONS", _sub(b"Max-Forwards: 70", b"Max-Forwards: -1"), 483),
    Own(
        "a body of an unknown type",
        "INVITE",
        _sub(b"Max-F", b"Content-Type: text/x-poem\r\nMax-F"),
        415,
        b"roses\r\n",
    ),
    Own("a method that nobody knows", "LEVITATE", bytes, 405),
    Own("no Call-ID", "OPTIONS", lambda m: re.sub(rb"Call-ID: [^\r]*\r\n", b"", m), 0),
    Own("no To", "OPTIONS", lambda m: re.sub(rb"To: [^\r]*\r\n", b"", m), 0),
    Own("no From tag", "INVITE", lambda m: re.sub(rb">;tag=t\d+", b">", m), 488, AUDIO),
    Own("a nul in a field", "OPTIONS", _sub(b"Tester", b"Tes\0ter"), 400),
    Own("octets that are not UTF-8", "INVITE", _sub(b"Tester", b"T\xe4ster"), 488, AUDIO),
    Own("octets that are not UTF-8 in a URI", "INVITE", _sub(b"tester@ue", b"t\xe4ster@ue"), 400),
    Own("an empty Via", "OPTIONS", lambda m: re.sub(rb"Via: [^\r]*", b"Via: ;;,;,,", m), 0),
    Own("a response to nothing", "OPTIONS", lambda m: re.sub(rb"^[^\r]*", b"SIP/2.0 200 OK", m), 0),
    Own(
        "a response of status 4294967301",
        "OPTIONS",
        lambda m: re.sub(rb"^[^\r]*", b"SIP/2.0 4294967301 X", m),
        0,
    ),
    Own("two empty lines and nothing else", "OPTIONS", lambda m: b"\r\n\r\n", 0),
    Own("60,000 octets of one field", "OPTIONS", _sub(b"Max-F", b"X: " + b"x" * 60_000 + b"\r\nMax-F"), 200),
    Own("3,000 fields", "OPTIONS", _sub(b"Max-F", b"X: y\r\n" * 3000 + b"Max-F"), 200),
    Own(
        "500 Vias", "OPTIONS", _sub(b"Max-F", b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n" * 500 + b"Max-F"), 200
    ),
    Own(
        "500 Record-Routes",
        "INVITE",
        _sub(b"Max-F", b"Record-Route: <sip:h;lr>\r\n" * 500 + b"Max-F"),
        488,
        AUDIO,
    ),
    Own("a line end hidden in a display name", "INVITE", _sub(b"Tester", b"T\r\n X-Evil: 1\r\n y"), 400),
)
