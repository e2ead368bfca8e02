"""Bodies of several parts: the session description in them, and what else they hold."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrfc.sip.bodies import session_description
from mrfc.sip.refusal import Cause, Refusal

SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
OTHER = SDP.replace("- 1 1", "- 2 2")
PART = f"Content-Type: application/sdp\r\n\r\n{SDP}"
ISUP = "Content-Type: application/isup\r\nContent-Disposition: signal; handling=optional\r\n\r\nxx"
TEXT = "Content-Type: text/plain\r\n\r\nhello"


def multipart(kind: str, *parts: str, boundary: str = "b-1") -> tuple[str, str]:
    lines = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f'multipart/{kind};boundary="{boundary}"', f"{lines}--{boundary}--\r\n"


def nested(kind: str, *parts: str) -> str:
    content_type, body = multipart(kind, *parts, boundary="inner")
    return f"Content-Type: {content_type}\r\n\r\n{body}"


FOUND: dict[str, tuple[tuple[str, str], str]] = {
    "no parts": (("application/sdp", SDP), SDP),
    "no parts, with a parameter": (("Application/SDP; charset=utf-8", SDP), SDP),
    "nothing": (("", ""), ""),
    "alone": (multipart("mixed", PART), SDP),
    "beside an optional part": (multipart("mixed", ISUP, PART), SDP),
    "with its disposition": (
        multipart("mixed", PART.replace("\r\n\r\n", "\r\nContent-Disposition: session\r\n\r\n", 1)),
        SDP,
    ),
    "in base64": (
        multipart(
            "mixed",
            "Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + base64.b64encode(SDP.encode()).decode(),
        ),
        SDP,
    ),
    "the last alternative": (multipart("alternative", PART.replace(SDP, OTHER), PART), SDP),
    "the last alternative that is understood": (multipart("alternative", TEXT, PART, TEXT), SDP),
    "an alternative among others": (multipart("mixed", ISUP, nested("alternative", TEXT, PART)), SDP),
    "mixed in an alternative": (multipart("alternative", TEXT, nested("mixed", PART, ISUP)), SDP),
    "the root of related parts": (multipart("related", PART, TEXT), SDP),
    "a kind of multipart that nobody knows": (multipart("x-new", PART), SDP),
    "no session description": (multipart("mixed", ISUP), ""),
}


@pytest.mark.parametrize("case", FOUND)
def test_found(case: str) -> None:
    given_body, wanted = FOUND[case]
    assert session_description(*given_body) == wanted


REFUSED: dict[str, tuple[tuple[str, str], Cause]] = {
    "no session description at all": (("text/plain", "hello"), Cause.UNSUPPORTED_TYPE),
    "a part that must be understood": (multipart("mixed", PART, TEXT), Cause.UNSUPPORTED_PART),
    "a required part": (
        multipart("mixed", PART, ISUP.replace("handling=optional", "handling=required")),
        Cause.UNSUPPORTED_PART,
    ),
    "a description with another purpose": (
        multipart("mixed", PART.replace("\r\n\r\n", "\r\nContent-Disposition: early-session\r\n\r\n", 1)),
        Cause.UNSUPPORTED_PART,
    ),
    "two descriptions": (multipart("mixed", PART, PART), Cause.BAD_BODY),
    "alternatives that nobody understands": (multipart("alternative", TEXT, TEXT), Cause.UNSUPPORTED_PART),
    "no boundary": (("multipart/mixed", f"--b\r\n{PART}\r\n--b--"), Cause.BAD_BODY),
    "another boundary": (('multipart/mixed;boundary="x"', multipart("mixed", PART)[1]), Cause.BAD_BODY),
    "not UTF-8 in base64": (
        multipart("mixed", "Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\n/w=="),
        Cause.BAD_BODY,
    ),
    "too many parts": (multipart("mixed", *[ISUP] * 20), Cause.BAD_BODY),
    "parts within parts without end": (
        ("multipart/mixed;boundary=a", "--a\r\nContent-Type: multipart/mixed;boundary=a\r\n\r\n" * 1000),
        Cause.BAD_BODY,
    ),
    "too long": (multipart("mixed", PART, ISUP + "x" * 70_000), Cause.BAD_BODY),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    given_body, cause = REFUSED[case]
    with pytest.raises(Refusal) as caught:
        session_description(*given_body)
    assert caught.value.cause is cause


@given(
    st.sampled_from(["mixed", "alternative", "related", ""]),
    st.lists(
        st.sampled_from(
            [PART, ISUP, TEXT, nested("mixed", PART), "", "\r\n\r\n", "--b-1--", "Content-Type: \t;"]
        )
    ),
    st.text(max_size=30),
)
def test_anything_is_a_description_or_a_refusal(kind: str, parts: list[str], more: str) -> None:
    content_type, body = multipart(kind, *parts)
    for text in (body, body + more, more + body, body.replace("-", more)):
        with contextlib.suppress(Refusal):
            session_description(content_type, text)
