"""Bodies of several parts (RFC 2046 5.1, RFC 5621): which part is the session description, and what the others demand.

A part that nobody here understands is passed over when its handling is optional, and refused when it is required, which
is the default (RFC 3261 20.11). Of alternatives the last that is understood counts (RFC 2046 5.1.4), of related parts
the first (RFC 2387). Unknown kinds of multipart are read as mixed (RFC 5621 4).
"""

from __future__ import annotations

import email
from collections.abc import Iterator
from email.message import Message
from typing import TypeVar

import msgspec

from mrfc.jobs import RequestJob
from mrfc.sip.refusal import Cause, Refusal

SDP = "application/sdp"
_Request = TypeVar("_Request", bound=RequestJob)
MULTIPART = "multipart/"
ALTERNATIVE = "multipart/alternative"
RELATED = "multipart/related"
LONGEST_BODY = 65_536  # octets; a job does not hold more either
MOST_PARTS = 16


def is_multipart(content_type: str) -> bool:
    """Whether a body has parts."""
    return content_type.strip().lower().startswith(MULTIPART)


def session_description(content_type: str, body: str) -> str:
    """The session description that a body is or has, "" without one. Raises Refusal for what cannot be understood."""
    if not body:
        return ""
    if is_multipart(content_type):
        return _of_parts(read(content_type, body, Cause.BAD_BODY))
    if content_type.partition(";")[0].strip().lower() != SDP:
        raise Refusal(Cause.UNSUPPORTED_TYPE)
    return body


def plain(job: _Request) -> _Request:
    """The request with its session description alone, where it has a body of several parts. Raises Refusal."""
    if not is_multipart(job.content_type):
        return job
    body = session_description(job.content_type, job.body)
    return msgspec.structs.replace(job, content_type=SDP if body else "", body=body)


def read(content_type: str, body: str, cause: Cause) -> Message:
    """A body taken apart. Raises Refusal with `cause` when it is too long or has too many parts, however nested."""
    if len(body) > LONGEST_BODY:
        raise Refusal(cause, "the body is too long")
    if (
        body.lower().count("content-type:") > 2 * MOST_PARTS
    ):  # bounds also how deep multiparts can stand in multiparts
        raise Refusal(cause, "too many body parts")
    head = f"Content-Type: {' '.join(content_type.split())}\r\n\r\n"
    message = email.message_from_bytes((head + body).encode())
    if len(list(message.walk())) > MOST_PARTS + 1:
        raise Refusal(cause, "too many body parts")
    return message


def text_of(part: Message, cause: Cause) -> str:
    """The text of a part without its transfer encoding. Raises Refusal with `cause`."""
    data = part.get_payload(decode=True)
    try:
        text = data.decode() if isinstance(data, bytes) else ""
    except UnicodeDecodeError:
        raise Refusal(cause, "a body part is not UTF-8") from None
    return text if text.endswith("\n") or not text else f"{text}\r\n"  # the last line end is the boundary's


def must_be_understood(part: Message) -> bool:
    """Whether a part may not be passed over (RFC 3261 20.11)."""
    return part.get_param("handling", header="Content-Disposition") != "optional"


def _of_parts(message: Message) -> str:
    found = list(_descriptions(message))
    if len(found) > 1:
        raise Refusal(Cause.BAD_BODY, "more than one session description")
    return found[0] if found else ""


def _descriptions(message: Message) -> Iterator[str]:
    """The session descriptions that count in a part and all that it holds."""
    kind = message.get_content_type()
    if not kind.startswith(MULTIPART):
        yield from _of_leaf(message, kind)
        return
    if not message.is_multipart():
        raise Refusal(Cause.BAD_BODY, "a body with parts has none")
    parts = [part for part in message.get_payload() if isinstance(part, Message)]
    if kind == ALTERNATIVE:
        yield from _of_alternatives(parts)
        return
    for part in parts[:1] if kind == RELATED else parts:
        yield from _descriptions(part)


def _of_alternatives(parts: list[Message]) -> Iterator[str]:
    refused: Refusal | None = None
    for part in reversed(parts):
        try:
            found = list(_descriptions(part))
        except Refusal as refusal:
            refused = refusal
            continue
        if found:
            yield from found
            return
    if refused is not None:
        raise refused


def _of_leaf(part: Message, kind: str) -> Iterator[str]:
    disposition = part.get_content_disposition()
    if kind == SDP and disposition in (None, "session"):
        yield text_of(part, Cause.BAD_BODY)
    elif must_be_understood(part):
        raise Refusal(Cause.UNSUPPORTED_PART, f"{kind} as {disposition or 'render'}")
