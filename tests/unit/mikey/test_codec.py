"""Every payload and message there and back, and nothing but MikeyError for octets that are no message."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.mikey import ErrorNumber, Message, MikeyError, PolicyFlag, decode, encode
from mrf_protocols.mikey.headers import EmptyMap, GenericIdMap, GenericSession, Header, SrtpIdMap, SrtpSession
from mrf_protocols.mikey.payloads import (
    DH_LENGTHS,
    HASH_LENGTHS,
    MAC_LENGTHS,
    TS_LENGTHS,
    Certificate,
    CertificateHash,
    Dh,
    ErrorPayload,
    GeneralExtension,
    Identity,
    IdentityWithRole,
    Kemac,
    KeyData,
    Payload,
    Pke,
    Rand,
    RandWithRole,
    SecurityPolicy,
    Sign,
    Timestamp,
    TimestampWithRole,
    Verification,
    decode_keys,
    encode_keys,
)
from mrf_protocols.mikey.policy import InitiatorData, Ticket, TicketPolicy, TpPayload

octet = st.integers(0, 255)
short = st.binary(max_size=20)


def sized(lengths: dict[int, int]) -> st.SearchStrategy[tuple[int, bytes]]:
    """Pairs of an algorithm number and octets of the length it implies."""
    return st.sampled_from(sorted(lengths)).flatmap(
        lambda number: st.tuples(
            st.just(number), st.binary(min_size=lengths[number], max_size=lengths[number])
        )
    )


timestamps = st.sampled_from(sorted(TS_LENGTHS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.integers(0, 256 ** TS_LENGTHS[kind] - 1))
)


@st.composite
def validity(draw: st.DrawFn) -> dict[str, Any]:
    kv = draw(st.integers(0, 2))
    return {
        "kv": kv,
        "spi": draw(short) if kv == 1 else b"",
        "valid_from": draw(short) if kv == 2 else b"",
        "valid_to": draw(short) if kv == 2 else b"",
    }


@st.composite
def key_data(draw: st.DrawFn) -> KeyData:
    kind = draw(st.integers(0, 15))
    salt = draw(short) if kind in (1, 3, 5) else b""
    return KeyData(kind, draw(st.binary(max_size=40)), salt, **draw(validity()))


plain: st.SearchStrategy[Payload] = st.one_of(
    st.builds(lambda alg, data, mac: Kemac(alg, data, *mac), octet, short, sized(MAC_LENGTHS)),
    st.builds(Pke, st.integers(0, 3), short),
    st.builds(
        lambda group, reserved, kv: Dh(group[0], group[1], reserved, **kv),
        sized(DH_LENGTHS),
        st.integers(0, 15),
        validity(),
    ),
    st.builds(lambda ts: Timestamp(*ts), timestamps),
    st.builds(lambda role, ts: TimestampWithRole(role, *ts), octet, timestamps),
    st.builds(Identity, octet, short),
    st.builds(Certificate, octet, short),
    st.builds(IdentityWithRole, octet, octet, short),
    st.builds(lambda pair: CertificateHash(*pair), sized(HASH_LENGTHS)),
    st.builds(lambda pair: Verification(*pair), sized(MAC_LENGTHS)),
    st.builds(SecurityPolicy, octet, octet, st.lists(st.tuples(octet, short), max_size=4).map(tuple)),
    st.builds(Rand, short),
    st.builds(RandWithRole, octet, short),
    st.builds(ErrorPayload, octet, st.integers(0, 0xFFFF)),
    st.builds(GeneralExtension, octet, short),
)
policies = st.builds(
    TicketPolicy,
    prf=st.integers(0, 127),
    flags=st.integers(0, 0xFFF).map(PolicyFlag),
    payloads=st.lists(plain, max_size=5).map(tuple),
    ticket_type=st.integers(0, 0xFFFF),
    subtype=octet,
    version=octet,
    reserved=st.integers(0, 31),
)
payloads = st.one_of(
    plain,
    st.builds(TpPayload, policies),
    st.builds(Ticket, policies, st.binary(max_size=60), st.binary(max_size=60)),
)
sessions = st.builds(
    GenericSession, octet, octet, st.lists(octet, max_size=5).map(tuple), short, short, st.booleans()
)
u32 = st.integers(0, 0xFFFFFFFF)
maps = st.one_of(
    st.builds(EmptyMap, octet),
    st.builds(GenericIdMap, st.lists(sessions, max_size=4).map(tuple)),
    st.builds(SrtpIdMap, st.lists(st.builds(SrtpSession, octet, u32, u32), max_size=4).map(tuple)),
)
headers = st.builds(Header, octet, u32, st.integers(0, 127), st.booleans(), maps)


@given(headers, st.lists(payloads, max_size=6), st.none() | st.builds(Sign, st.integers(0, 15), short))
def test_message_round_trip(header: Header, chain: list[Payload], sign: Sign | None) -> None:
    if sign is not None:
        chain.append(sign)
    message = Message(header, tuple(chain))
    octets = encode(message)
    again = decode(octets)
    assert again == message
    assert encode(again) == octets


@given(st.lists(key_data(), min_size=1, max_size=5))
def test_key_data_round_trip(keys: list[KeyData]) -> None:
    octets = encode_keys(keys)
    assert decode_keys(octets) == tuple(keys)


@given(sized(MAC_LENGTHS), sized(MAC_LENGTHS))
def test_initiator_data_round_trip(vi: tuple[int, bytes], vr: tuple[int, bytes]) -> None:
    data = InitiatorData(Verification(*vi), Verification(*vr))
    octets = data.encode()
    assert octets[:2] == b"\x09\x00"
    assert InitiatorData.decode(octets) == data
    assert InitiatorData.decode(b"\x09\x09" + octets[2:]) == data


@given(st.binary(max_size=120), st.booleans())
def test_initiator_data_from_any_octets(data: bytes, plausible: bool) -> None:
    octets = b"\x09\x00" + data if plausible else data
    try:
        read = InitiatorData.decode(octets)
    except MikeyError:
        return
    assert read.encode()[2:] == octets[2:]


def accepts(data: bytes) -> bool:
    """Decode; what is accepted must encode to the same octets, what is not must be a MikeyError."""
    try:
        message = decode(data)
    except MikeyError:
        return False
    assert encode(message) == data
    return True


@given(st.binary(max_size=200), st.sampled_from([b"", b"\1", b"\1\x0e\x05\x80\0\0\0\7\0\1"]))
def test_any_octets(data: bytes, start: bytes) -> None:
    accepts(start + data)


@given(headers, st.lists(payloads, max_size=5), st.data())
def test_every_truncation_of_any_message(header: Header, chain: list[Payload], data: st.DataObject) -> None:
    octets = encode(Message(header, tuple(chain)))
    cut = data.draw(st.integers(0, len(octets) - 1))
    assert not accepts(octets[:cut])
    assert not accepts(octets + b"\0")


TRANSFER_INIT = base64.b64decode(
    "AQ4FgFVmd4gBAgHxAQAAAAEBDwDoAAABAAAAAA4BEODh4uPk5ebn6Onq6+zt7u8OAQEAFHNpcDptcmZjQGltcy5leGFtcGxlCgIBABRzaXA6"
    "dWUtYkBpbXMuZXhhbXBsZREA8QAACQABAQEB1GAATg4OAwEAD2ttcy5pbXMuZXhhbXBsZQ0BAQAUc2lwOm1yZmNAaW1zLmV4YW1wbGUOAwPo"
    "AVGAAAIBABRzaXA6dWUtYkBpbXMuZXhhbXBsZQBwBQAACwDoAAAAAAAAAAEQ0NHS09TV1tfY2drb3N3e3w4BACymygwrFrX5W99hgGkTyB4F"
    "pHylM37TJJ0A1OI6hdWXOgzxEbfTFxrHnSNWcgAJBAIABXRway0xAAEdZdoT8yiiE6hjw3dBEYI0n7id0AAAAAE6nHCq1PszHyvy4J1r6V26"
    "yLFqhg=="
)


def test_every_single_octet_change_of_a_transfer_init() -> None:
    accepted = 0
    for at, value in enumerate(TRANSFER_INIT):
        for other in (0, 1, 9, 17, 127, 255, value ^ 1, value ^ 0x80):
            accepted += accepts(TRANSFER_INIT[:at] + bytes([other]) + TRANSFER_INIT[at + 1 :])
    assert accepted > len(TRANSFER_INIT)


def test_every_truncation_of_a_transfer_init() -> None:
    assert not any(accepts(TRANSFER_INIT[:cut]) for cut in range(len(TRANSFER_INIT)))


@pytest.mark.parametrize(
    ("octets", "number"),
    [
        ("01 00 16 80 00000001 00 01" + "00" * 8, ErrorNumber.UNSPECIFIED),  # IBAKE payload 22
        ("02 00 00 80 00000001 00 01", ErrorNumber.UNSPECIFIED),  # version 2
        ("01 00 00 80 00000001 00 07", ErrorNumber.UNSPECIFIED),  # unknown map type
        ("01 00 05 80 00000001 00 01 00 04 00000000", ErrorNumber.INVALID_TS),
        ("01 00 09 80 00000001 00 01 00 07 00000000", ErrorNumber.INVALID_MAC),
        ("01 00 08 80 00000001 00 01 00 07 00000000", ErrorNumber.INVALID_HA),
        ("01 00 03 80 00000001 00 01 00 07 00000000", ErrorNumber.INVALID_DH),
    ],
)
def test_what_cannot_be_skipped_is_refused_with_its_error(octets: str, number: ErrorNumber) -> None:
    with pytest.raises(MikeyError) as caught:
        decode(bytes.fromhex(octets))
    assert caught.value.number == number


def test_a_ticket_policy_cannot_hold_another_one() -> None:
    inner = TpPayload(TicketPolicy(0, PolicyFlag.H, ()))
    with pytest.raises(MikeyError):
        decode(encode(Message(Header(11, 1), (TpPayload(TicketPolicy(0, PolicyFlag.H, (inner,))),))))


@pytest.mark.parametrize(
    "payload",
    [
        Rand(bytes(256)),
        Identity(0, bytes(65536)),
        Pke(4, b""),
        Pke(0, bytes(0x4000)),
        Timestamp(3, 1 << 32),
        Verification(1, b""),
        ErrorPayload(256),
        SecurityPolicy(0, 0, ((1, bytes(256)),)),
        TpPayload(TicketPolicy(200, PolicyFlag.H, ())),
    ],
)
def test_fields_out_of_range_are_not_written(payload: Payload) -> None:
    with pytest.raises(MikeyError):
        encode(Message(Header(11, 1), (payload,)))


def test_sign_is_written_last_or_not_at_all() -> None:
    with pytest.raises(MikeyError):
        encode(Message(Header(12, 1), (Sign(0, b"x"), Rand(b"y"))))


def test_keys_do_not_show_in_text() -> None:
    key = KeyData(0, b"very secret key.", b"secret salt")
    assert "secret" not in repr(key)
    assert "secret" not in repr(Kemac(0, encode_keys((key,))))
