"""TPKT framing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.h248.errors import H248Error
from mrf_protocols.h248.tpkt import MAX_PAYLOAD, Deframer, frame


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 20))
def test_any_cut(payloads: list[bytes], size: int) -> None:
    stream = b"".join(map(frame, payloads))
    deframer = Deframer()
    found: list[bytes] = []
    for start in range(0, len(stream), size):
        found += deframer.feed(stream[start : start + size])
    assert found == payloads
    assert deframer.pending == 0


def test_octets() -> None:
    assert frame(b"abc") == b"\x03\x00\x00\x07abc"
    assert Deframer().feed(frame(b"x" * MAX_PAYLOAD)) == [b"x" * MAX_PAYLOAD]


@pytest.mark.parametrize("payload", [b"", b"x" * (MAX_PAYLOAD + 1)])
def test_unframable(payload: bytes) -> None:
    with pytest.raises(H248Error):
        frame(payload)


@pytest.mark.parametrize("header", [b"\x02\x00\x00\x10", b"\x03\x00\x00\x00", b"\x03\x00\x00\x04", b"GET "])
def test_headers_that_cannot_be_true(header: bytes) -> None:
    with pytest.raises(H248Error) as caught:
        Deframer().feed(header)
    assert not caught.value.answerable


def test_bound() -> None:
    with pytest.raises(H248Error):
        Deframer(max_payload=10).feed(frame(b"x" * 11)[:4])


def test_what_came_before_a_false_header_is_lost_with_the_connection() -> None:
    with pytest.raises(H248Error):
        Deframer().feed(frame(b"fine") + b"junk")
