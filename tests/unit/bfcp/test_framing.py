"""The deframer: the same messages however the bytes are cut, and never more memory than one message."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.bfcp import BfcpError, Deframer, ErrorCode, FloorId, Message, Primitive, encode

HELLO = Message(Primitive.HELLO, 1, 1, 2)
REQUEST = Message(Primitive.FLOOR_REQUEST, 1, 2, 2, (FloorId(1), FloorId(2)))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(borders)]


def flat(items: list[Message | BfcpError]) -> list[object]:
    return [(item.code, item.fatal) if isinstance(item, BfcpError) else item for item in items]


@given(st.lists(st.sampled_from([HELLO, REQUEST]), max_size=6), st.lists(st.integers(0, 200), max_size=12))
def test_same_messages_however_cut(sent: list[Message], places: list[int]) -> None:
    deframer = Deframer()
    found = [item for piece in cut(b"".join(map(encode, sent)), places) for item in deframer.feed(piece)]
    assert found == sent
    assert deframer.pending == 0


@given(st.binary(max_size=120), st.lists(st.integers(0, 200), max_size=6))
def test_same_errors_however_cut(junk: bytes, places: list[int]) -> None:
    data = encode(HELLO) + junk
    whole = Deframer()
    expected = flat(whole.feed(data))
    pieces = Deframer()
    assert flat([item for piece in cut(data, places) for item in pieces.feed(piece)]) == expected
    assert (pieces.pending, pieces.closed) == (whole.pending, whole.closed)


def test_messages_before_an_error_are_given_and_nothing_after_it() -> None:
    deframer = Deframer()
    items = deframer.feed(encode(HELLO) + bytes.fromhex("40010001000010e1007b00ea0404021f") + encode(HELLO))
    assert items[0] == HELLO
    assert isinstance(items[1], BfcpError)
    assert items[1].code == ErrorCode.UNSUPPORTED_VERSION
    assert items[1].header == Message(Primitive.FLOOR_REQUEST, 4321, 123, 234)
    assert len(items) == 2
    assert deframer.closed
    assert deframer.feed(encode(HELLO)) == []
    assert deframer.pending == 0


def test_a_length_in_octets_instead_of_words_waits() -> None:
    dialect = bytearray(encode(REQUEST))
    dialect[2:4] = (8).to_bytes(2, "big")
    deframer = Deframer()
    assert deframer.feed(bytes(dialect)) == []
    assert deframer.pending == 20


def test_payload_above_the_bound_is_refused_from_its_header_on() -> None:
    deframer = Deframer(max_payload_words=1)
    assert deframer.feed(encode(REQUEST)[:11]) == []
    (error,) = deframer.feed(encode(REQUEST)[11:12])
    assert isinstance(error, BfcpError)
    assert error.code == ErrorCode.INCORRECT_MESSAGE_LENGTH
    assert error.header == Message(Primitive.FLOOR_REQUEST, 1, 2, 2)
    assert deframer.closed
