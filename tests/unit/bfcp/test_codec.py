"""The BFCP codec against vectors, hostile bytes and what peers are known to send."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.bfcp import (
    BeneficiaryId,
    BeneficiaryInformation,
    BfcpError,
    ErrorCode,
    ErrorCodeAttribute,
    ErrorInfo,
    FloorId,
    FloorRequestId,
    FloorRequestInformation,
    FloorRequestStatus,
    Message,
    OverallRequestStatus,
    ParticipantProvidedInfo,
    Primitive,
    Priority,
    PriorityAttribute,
    RequestedByInformation,
    RequestStatus,
    RequestStatusAttribute,
    SupportedAttributes,
    SupportedPrimitives,
    UnknownAttribute,
    decode,
    encode,
)

CONFERENCE = 4321


def request_status(
    status: RequestStatus, position: int = 0, *, request: int = 789, floor: int = 543
) -> FloorRequestInformation:
    return FloorRequestInformation(
        request,
        OverallRequestStatus(request, RequestStatusAttribute(status, position)),
        (FloorRequestStatus(floor),),
    )


def in_floor_status(request: int, position: int, user: int, status: RequestStatus) -> FloorRequestInformation:
    return FloorRequestInformation(
        request,
        OverallRequestStatus(request, RequestStatusAttribute(status, position)),
        (FloorRequestStatus(543),),
        BeneficiaryInformation(user),
    )


def message(primitive: Primitive, transaction: int, user: int, *attributes: object) -> Message:
    return Message(primitive, CONFERENCE, transaction, user, attributes)  # type: ignore[arg-type] # any mix


VECTORS = {
    "20010001000010e1007b00ea0404021f": message(Primitive.FLOOR_REQUEST, 123, 234, FloorId(543)),
    "20010005000010e1007c00ea0404021f020400eb100674616c6b000008046000": message(
        Primitive.FLOOR_REQUEST,
        124,
        234,
        FloorId(543),
        BeneficiaryId(235),
        ParticipantProvidedInfo("talk"),
        PriorityAttribute(Priority.HIGH),
    ),
    "20040004000010e1007b00ea1e100315240803150a0401002204021f": message(
        Primitive.FLOOR_REQUEST_STATUS, 123, 234, request_status(RequestStatus.PENDING)
    ),
    "20040004000010e1000000ea1e100315240803150a0402012204021f": message(
        Primitive.FLOOR_REQUEST_STATUS, 0, 234, request_status(RequestStatus.ACCEPTED, 1)
    ),
    "20040004000010e1000000ea1e100315240803150a0403002204021f": message(
        Primitive.FLOOR_REQUEST_STATUS, 0, 234, request_status(RequestStatus.GRANTED)
    ),
    "20020001000010e1009a00ea06040315": message(Primitive.FLOOR_RELEASE, 154, 234, FloorRequestId(789)),
    "20040004000010e1009a00ea1e100315240803150a0406002204021f": message(
        Primitive.FLOOR_REQUEST_STATUS, 154, 234, request_status(RequestStatus.RELEASED)
    ),
    "20030001000010e1009b00ea06040315": message(Primitive.FLOOR_REQUEST_QUERY, 155, 234, FloorRequestId(789)),
    "20050001000010e1009c00ea0204007c": message(Primitive.USER_QUERY, 156, 234, BeneficiaryId(124)),
    "2006000c000010e1009c00ea1c1c007c1805426f620000001a0d7369703a626f6240612e620000001e1402fc240802fc"
    "0a0402012204021f1c04007c": message(
        Primitive.USER_STATUS,
        156,
        234,
        BeneficiaryInformation(124, "Bob", "sip:bob@a.b"),
        in_floor_status(764, 1, 124, RequestStatus.ACCEPTED),
    ),
    "20070001000010e1010100ea0404021f": message(Primitive.FLOOR_QUERY, 257, 234, FloorId(543)),
    "20070000000010e1010200ea": message(Primitive.FLOOR_QUERY, 258, 234),
    "2008000b000010e1010100ea0404021f1e1402fc240802fc0a0402012204021f1c04007c1e14027b2408027b0a040202"
    "2204021f1c04009a": message(
        Primitive.FLOOR_STATUS,
        257,
        234,
        FloorId(543),
        in_floor_status(764, 1, 124, RequestStatus.ACCEPTED),
        in_floor_status(635, 2, 154, RequestStatus.ACCEPTED),
    ),
    "20090003000010e1030101651e0c027b2208021f0a040300": message(
        Primitive.CHAIR_ACTION,
        769,
        357,
        FloorRequestInformation(
            635, floors=(FloorRequestStatus(543, RequestStatusAttribute(RequestStatus.GRANTED)),)
        ),
    ),
    "200a0000000010e103010165": message(Primitive.CHAIR_ACTION_ACK, 769, 357),
    "200b0000000010e1000100ea": message(Primitive.HELLO, 1, 234),
    "200c0009000010e1000100ea160f0102030405060708090a0b0c0d00"
    "1414020406080a0c0e10121416181a1c1e202224": message(
        Primitive.HELLO_ACK,
        1,
        234,
        SupportedPrimitives(tuple(range(1, 14))),
        SupportedAttributes(tuple(range(1, 19))),
    ),
    "200d0005000010e1000700ea0c0404fc0e0e756e6b6e6f776e20617474720000": message(
        Primitive.ERROR,
        7,
        234,
        ErrorCodeAttribute(ErrorCode.UNKNOWN_MANDATORY_ATTRIBUTE, bytes((126 << 1,))),
        ErrorInfo("unknown attr"),
    ),
    "200d0001000010e1000800ea0c030900": message(
        Primitive.ERROR, 8, 234, ErrorCodeAttribute(ErrorCode.USE_TLS)
    ),
}


@pytest.mark.parametrize("octets", VECTORS)
def test_vectors_are_written_and_read(octets: str) -> None:
    assert encode(VECTORS[octets]).hex() == octets
    assert decode(bytes.fromhex(octets)) == VECTORS[octets]


def test_vectors_of_a_public_library() -> None:
    octets = bytes.fromhex("2001000401020304fedcba9804040001020400021003580008044000")
    read = decode(octets)
    assert read == Message(
        Primitive.FLOOR_REQUEST,
        0x01020304,
        0xFEDC,
        0xBA98,
        (
            FloorId(1),
            BeneficiaryId(2),
            ParticipantProvidedInfo("X"),
            PriorityAttribute(Priority.NORMAL),
        ),
    )
    assert encode(read) == octets
    octets = bytes.fromhex("2004000400000001000100011e100001240800010a04030022040002")
    read = decode(octets)
    assert read.floor_request == request_status(RequestStatus.GRANTED, request=1, floor=2)
    assert read.name == "FloorRequestStatus Granted"
    assert encode(read) == octets


def test_enums_come_out_of_the_decoder() -> None:
    read = decode(bytes.fromhex("20040004000010e1000000ea1e100315240803150a0402012204021f"))
    assert isinstance(read.primitive, Primitive)
    assert read.floor_request is not None
    assert isinstance(read.floor_request.status, RequestStatus)
    assert read.floor_request.queue_position == 1
    assert read.floor_request.floor_ids == (543,)
    assert read.floor_request_id == 789


# What peers send


def test_mandatory_bit_on_known_attributes_is_accepted() -> None:
    plain = bytearray.fromhex("20010005000010e1007c00ea0404021f020400eb100674616c6b000008046000")
    for offset in (12, 16, 20, 28):
        plain[offset] |= 1
    assert decode(bytes(plain)) == VECTORS["20010005000010e1007c00ea0404021f020400eb100674616c6b000008046000"]


def test_reserved_bits_flags_and_padding_are_ignored() -> None:
    octets = bytearray.fromhex("20010005000010e1007c00ea0404021f020400eb100674616c6b000008046000")
    octets[0] |= 0x1F
    octets[26:28] = b"\xff\xff"
    octets[31] = 0xFF
    assert (
        decode(bytes(octets)) == VECTORS["20010005000010e1007c00ea0404021f020400eb100674616c6b000008046000"]
    )


def test_request_status_zero_is_read_and_not_written() -> None:
    read = decode(bytes.fromhex("20040005000010e1000000ea1e140315240803150a0403002208021f0a040000"))
    assert read.floor_request is not None
    assert read.floor_request.status == RequestStatus.GRANTED
    assert read.floor_request.floors[0].status == RequestStatusAttribute(0)
    with pytest.raises(BfcpError):
        encode(read)


@pytest.mark.parametrize(("wire", "meant"), [(4, 4), (5, 4), (7, 4), (0, 0)])
def test_priorities_above_highest_are_highest(wire: int, meant: int) -> None:
    read = decode(bytes.fromhex("20010002000010e1007b00ea0404021f0804") + bytes((wire << 5, 0)))
    assert read.priority is Priority(meant)


def test_reserved_bits_of_attributes_are_sent_as_zero_and_ignored() -> None:
    """Those of PRIORITY (RFC 8855 5.2.4) and of each octet of SUPPORTED-ATTRIBUTES (5.2.10)."""
    asked = decode(bytes.fromhex("20010002000010e1007b00ea0404021f0804") + b"\x7f\xff")
    assert asked.priority is Priority.HIGH
    assert encode(asked)[-2:] == b"\x60\x00"
    types = SupportedAttributes(tuple(range(1, 19)))
    octets = bytearray(encode(message(Primitive.HELLO_ACK, 1, 234, SupportedPrimitives((1,)), types)))
    assert not any(octet & 1 for octet in octets[18:36])
    octets[18:36] = bytes(octet | 1 for octet in octets[18:36])
    assert decode(bytes(octets)).first(SupportedAttributes) == types


def test_group_whose_length_leaves_out_the_padding_of_its_last_child() -> None:
    # BENEFICIARY-INFORMATION with Length 9: its header and a display name of Length 5.
    read = decode(bytes.fromhex("20060003000010e1009c00ea1c09007c1805426f62000000"))
    assert read.first(BeneficiaryInformation) == BeneficiaryInformation(124, "Bob")


def test_misplaced_known_attribute_in_a_group_is_dropped_and_the_first_of_two_counts() -> None:
    # FLOOR-REQUEST-INFORMATION { FLOOR-REQUEST-STATUS, BENEFICIARY-ID, PRIORITY 3, PRIORITY 1 }
    read = decode(bytes.fromhex("20040005000010e1000000ea1e1403152204021f020400eb0804600008042000"))
    assert read.floor_request == FloorRequestInformation(
        789, floors=(FloorRequestStatus(543),), priority=Priority.HIGH
    )


def test_broken_utf8_is_replaced() -> None:
    read = decode(bytes.fromhex("20010003000010e1007b00ea0404021f1006ffe4286b0000"))
    assert read.participant_info == "��(k"


def test_unknown_error_code_is_read() -> None:
    read = decode(bytes.fromhex("200d0001000010e1000800ea0c03c800"))
    assert read.first(ErrorCodeAttribute) == ErrorCodeAttribute(200)


def test_unknown_primitive_is_read_and_not_written() -> None:
    read = decode(bytes.fromhex("20630000000010e1000100ea"))
    assert read.primitive == 99
    assert not isinstance(read.primitive, Primitive)
    assert read.name == "primitive 99"
    with pytest.raises(BfcpError) as caught:
        encode(read)
    assert caught.value.code == ErrorCode.UNKNOWN_PRIMITIVE


def test_unknown_attributes_are_kept_and_written_again() -> None:
    octets = bytes.fromhex("20010004000010e1007b00ea0404021f5105aabbcc00000052040102")
    read = decode(octets)
    assert read.attributes[1:] == (
        UnknownAttribute(40, True, b"\xaa\xbb\xcc"),
        UnknownAttribute(41, False, b"\x01\x02"),
    )
    assert read.unknown_mandatory() == (40,)
    assert encode(read) == octets


def test_unknown_mandatory_attributes_are_found_at_any_depth_once() -> None:
    inner = UnknownAttribute(50, True, b"")
    deep = message(
        Primitive.CHAIR_ACTION,
        1,
        2,
        FloorRequestInformation(
            1,
            OverallRequestStatus(1, extensions=(inner,)),
            (FloorRequestStatus(2, extensions=(UnknownAttribute(51, True, b"abc"),)),),
            BeneficiaryInformation(3, extensions=(UnknownAttribute(52, False, b""),)),
            extensions=(inner, UnknownAttribute(53, True, b"")),
        ),
    )
    read = decode(encode(deep))
    assert read == deep
    assert sorted(read.unknown_mandatory()) == [50, 51, 53]


# What must not be read


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        ("", 13),
        ("20010001000010e1007b00", 13),
        ("20010001000010e1007b00ea", 13),
        ("20010000000010e1007b00ea0404021f", 13),
        ("40010001000010e1007b00ea0404021f", 12),
        ("00010001000010e1007b00ea0404021f", 12),
        ("20010001000010e1007b00ea0408021f", 13),
        ("20010001000010e1007b00ea04000000", 13),
        ("20010001000010e1007b00ea04010000", 13),
        ("20010001000010e1007b00ea0403021f", 10),
        ("20010002000010e1007b00ea0408021f00000000", 10),
        ("20040001000010e1007b00ea1e020000", 10),
        ("20040002000010e1007b00ea1e0803152208021f", 10),
        ("20040002000010e1007b00ea1e08031522000000", 10),
        ("200d0001000010e1000800ea0c020000", 10),
    ],
)
def test_lengths_that_lie(octets: str, code: int) -> None:
    with pytest.raises(BfcpError) as caught:
        decode(bytes.fromhex(octets))
    assert caught.value.code == code
    assert caught.value.fatal
    if len(octets) >= 24:
        assert caught.value.header is not None
        assert (caught.value.header.transaction_id, caught.value.header.user_id) == (
            int(octets[16:20], 16),
            234,
        )
        assert caught.value.header.version == 1


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    with contextlib.suppress(BfcpError):
        decode(data)


@given(st.sampled_from(sorted(VECTORS)), st.data())
def test_changed_bytes_raise_nothing_else(octets: str, data: st.DataObject) -> None:
    changed = bytearray.fromhex(octets)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode(bytes(changed))
    except BfcpError:
        return
    assert read.conference_id == int.from_bytes(changed[4:8], "big")


# What must not be written


@pytest.mark.parametrize(
    "wrong",
    [
        message(Primitive.FLOOR_REQUEST, 1, 2),
        message(Primitive.FLOOR_REQUEST, 1, 2, BeneficiaryId(3), FloorId(1)),
        message(Primitive.FLOOR_REQUEST, 1, 2, FloorId(1), BeneficiaryId(3), BeneficiaryId(3)),
        message(Primitive.FLOOR_REQUEST, 1, 2, FloorId(0x10000)),
        message(Primitive.FLOOR_REQUEST, 1, 0x10000, FloorId(1)),
        message(Primitive.FLOOR_REQUEST, 1, 2, FloorId(-1)),
        message(Primitive.FLOOR_REQUEST, 1, 2, UnknownAttribute(90, False, b""), FloorId(1)),
        message(Primitive.FLOOR_REQUEST, 1, 2, FloorId(1), UnknownAttribute(2, False, b"")),
        message(Primitive.FLOOR_REQUEST, 1, 2, FloorId(1), UnknownAttribute(128, False, b"")),
        message(Primitive.FLOOR_REQUEST, 1, 2, FloorId(1), UnknownAttribute(90, False, bytes(254))),
        message(Primitive.FLOOR_RELEASE, 1, 2),
        message(Primitive.FLOOR_RELEASE, 1, 2, FloorRequestId(1), FloorRequestId(2)),
        message(Primitive.FLOOR_STATUS, 1, 2, FloorId(1), FloorId(2)),
        message(Primitive.HELLO_ACK, 1, 2, SupportedPrimitives((1,))),
        message(Primitive.HELLO_ACK, 1, 2, SupportedPrimitives((256,)), SupportedAttributes(())),
        message(Primitive.HELLO_ACK, 1, 2, SupportedPrimitives((1,)), SupportedAttributes((128,))),
        message(Primitive.ERROR, 1, 2, ErrorInfo("?")),
        message(Primitive.ERROR, 1, 2, ErrorCodeAttribute(0)),
        message(Primitive.ERROR, 1, 2, ErrorCodeAttribute(256)),
        message(Primitive.ERROR, 1, 2, ErrorCodeAttribute(5, b"\x02")),
        message(Primitive.FLOOR_REQUEST_STATUS, 1, 2, FloorRequestInformation(1)),
        message(Primitive.FLOOR_REQUEST_STATUS, 1, 2, request_status(RequestStatus.GRANTED, 1)),
        message(Primitive.FLOOR_REQUEST_STATUS, 1, 2, request_status(RequestStatus.ACCEPTED, 256)),
        message(Primitive.GOODBYE, 1, 2),
        message(Primitive.FLOOR_STATUS_ACK, 1, 2),
        Message(Primitive.HELLO, 1, 1, 2, version=1, responder=True),
        Message(Primitive.HELLO, 1, 1, 2, version=3),
        Message(Primitive.FLOOR_QUERY, 1, 1, 2, (FloorId(1),) * 65536),
    ],
)
def test_encode_refuses(wrong: Message) -> None:
    with pytest.raises(BfcpError):
        encode(wrong)


def test_unreliable_primitives_in_version_2() -> None:
    goodbye = Message(Primitive.GOODBYE, 7, 3, 2, version=2)
    assert encode(goodbye).hex() == "40100000000000070003" + "0002"
    assert decode(encode(goodbye), version=2) == goodbye
    ack = goodbye.response(Primitive.GOODBYE_ACK)
    assert encode(ack).hex() == "50110000000000070003" + "0002"
    assert decode(encode(ack), version=2) == ack
    with pytest.raises(BfcpError) as caught:
        decode(bytes.fromhex("481000000000000700030002"), version=2)
    assert caught.value.code == ErrorCode.UNABLE_TO_PARSE_MESSAGE


# Text and groups at their limits


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a" * 253, 253), ("a" * 254, 253), ("é" * 127, 252), ("a" + "€" * 84, 253), ("😀" * 64, 252)],
)
def test_text_is_cut_on_the_border_of_a_character(text: str, kept: int) -> None:
    read = decode(encode(message(Primitive.ERROR, 1, 2, ErrorCodeAttribute(14), ErrorInfo(text))))
    info = read.first(ErrorInfo)
    assert info is not None
    assert text.startswith(info.text)
    assert len(info.text.encode()) == kept


def full(name: str | None = "n" * 300, uri: str | None = "sip:" + "u" * 100) -> FloorRequestInformation:
    return FloorRequestInformation(
        9,
        OverallRequestStatus(9, RequestStatusAttribute(RequestStatus.ACCEPTED, 3), "why " * 90),
        (FloorRequestStatus(1, RequestStatusAttribute(RequestStatus.ACCEPTED, 3), "what " * 90),),
        BeneficiaryInformation(4, name, uri),
        RequestedByInformation(5, name, uri),
        Priority.LOW,
        "info " * 90,
    )


def test_what_only_humans_read_goes_first_when_a_group_overflows() -> None:
    octets = encode(message(Primitive.FLOOR_REQUEST_STATUS, 0, 2, full()))
    read = decode(octets).floor_request
    assert octets[13] <= 255
    assert read is not None
    assert read.overall == OverallRequestStatus(9, RequestStatusAttribute(RequestStatus.ACCEPTED, 3))
    assert read.floors[0].status == RequestStatusAttribute(RequestStatus.ACCEPTED, 3)
    assert read.floors[0].info is None
    assert (read.beneficiary, read.requested_by) == (BeneficiaryInformation(4), RequestedByInformation(5))
    assert read.priority == Priority.LOW
    assert read.participant_info is not None
    assert ("info " * 90).startswith(read.participant_info)
    assert len(read.participant_info) > 150


def test_as_many_floors_as_a_group_can_hold() -> None:
    status = RequestStatusAttribute(RequestStatus.ACCEPTED, 1)
    floors = tuple(FloorRequestStatus(floor, status, "text") for floor in range(60))
    request = FloorRequestInformation(9, OverallRequestStatus(9, status), floors)
    read = decode(encode(message(Primitive.FLOOR_REQUEST_STATUS, 0, 2, request))).floor_request
    assert read is not None
    assert read.floor_ids == tuple(range(60))
    assert read.status == RequestStatus.ACCEPTED
    more = FloorRequestInformation(9, OverallRequestStatus(9, status), (*floors, FloorRequestStatus(60)))
    with pytest.raises(BfcpError):
        encode(message(Primitive.FLOOR_REQUEST_STATUS, 0, 2, more))


def test_display_name_is_cut_and_uri_is_whole_or_left_out() -> None:
    user = BeneficiaryInformation(4, "n" * 300, "sip:" + "u" * 100)
    read = decode(encode(message(Primitive.USER_STATUS, 1, 2, user))).first(BeneficiaryInformation)
    assert read is not None
    assert read.uri == user.uri
    assert read.display_name == "n" * 138
    user = BeneficiaryInformation(4, "Bob", "sip:" + "u" * 300)
    read = decode(encode(message(Primitive.USER_STATUS, 1, 2, user))).first(BeneficiaryInformation)
    assert read == BeneficiaryInformation(4, "Bob")


# Round trip of anything that may be said

numbers = st.integers(0, 0xFFFF)
texts = st.text("a b\x00é€😀", max_size=10)
unknown = st.builds(UnknownAttribute, st.integers(19, 127), st.booleans(), st.binary(max_size=9))
unknowns = st.lists(unknown, max_size=2).map(tuple)
statuses = st.one_of(
    st.builds(RequestStatusAttribute, st.sampled_from(RequestStatus)),
    st.builds(RequestStatusAttribute, st.just(RequestStatus.ACCEPTED), st.integers(0, 255)),
)
optional_text = st.none() | texts
floor_status = st.builds(FloorRequestStatus, numbers, st.none() | statuses, optional_text, unknowns)
overall = st.builds(OverallRequestStatus, numbers, st.none() | statuses, optional_text)
beneficiary = st.builds(BeneficiaryInformation, numbers, st.none() | st.text("ab", max_size=9), optional_text)
requester = st.builds(RequestedByInformation, numbers, st.none() | st.text("ab", max_size=9), st.none())
information = st.builds(
    FloorRequestInformation,
    numbers,
    st.none() | overall,
    st.lists(floor_status, min_size=1, max_size=1).map(tuple),
    st.none() | beneficiary,
    st.none() | requester,
    st.none() | st.sampled_from(Priority),
    st.none() | st.text("xyz", max_size=5),
)
bodies = {
    Primitive.FLOOR_REQUEST: st.tuples(st.builds(FloorId, numbers), st.builds(BeneficiaryId, numbers)),
    Primitive.FLOOR_RELEASE: st.tuples(st.builds(FloorRequestId, numbers)),
    Primitive.FLOOR_REQUEST_QUERY: st.tuples(st.builds(FloorRequestId, numbers)),
    Primitive.FLOOR_REQUEST_STATUS: st.tuples(information),
    Primitive.USER_QUERY: st.lists(st.builds(BeneficiaryId, numbers), max_size=1).map(tuple),
    Primitive.USER_STATUS: st.tuples(beneficiary, information, information),
    Primitive.FLOOR_QUERY: st.lists(st.builds(FloorId, numbers), max_size=5).map(tuple),
    Primitive.FLOOR_STATUS: st.tuples(st.builds(FloorId, numbers), information, information),
    Primitive.CHAIR_ACTION: st.tuples(information),
    Primitive.HELLO_ACK: st.tuples(
        st.builds(SupportedPrimitives, st.lists(st.integers(0, 255), max_size=20).map(tuple)),
        st.builds(SupportedAttributes, st.lists(st.integers(0, 127), max_size=20).map(tuple)),
    ),
    Primitive.ERROR: st.tuples(
        st.builds(
            ErrorCodeAttribute, st.just(4), st.lists(st.integers(19, 127).map(lambda n: n << 1)).map(bytes)
        ),
        st.builds(ErrorInfo, texts),
    ),
}


@st.composite
def messages(draw: st.DrawFn) -> Message:
    primitive = draw(st.sampled_from(Primitive))
    body = draw(bodies.get(primitive, st.just(())))
    version = 2 if primitive >= Primitive.FLOOR_REQUEST_STATUS_ACK else draw(st.sampled_from([1, 2]))
    responder = version == 2 and draw(st.booleans())
    conference = draw(st.integers(0, 0xFFFFFFFF))
    return Message(
        primitive, conference, draw(numbers), draw(numbers), (*body, *draw(unknowns)), version, responder
    )


@given(messages())
def test_round_trip(sent: Message) -> None:
    octets = encode(sent)
    assert len(octets) % 4 == 0
    assert decode(octets, sent.version) == sent
