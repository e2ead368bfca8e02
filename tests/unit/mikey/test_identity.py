"""KMS user identities, comparison, patterns; timestamps against Unix time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.mikey import MikeyError, PskIdentityForm, kms_user_identity
from mrf_protocols.mikey.identity import matches, same_identity
from mrf_protocols.mikey.numbers import TsRole, TsType
from mrf_protocols.mikey.timestamps import ntp_utc, to_unix, validity


@pytest.mark.parametrize(
    ("uri", "identity"),
    [
        ("sip:Alice@Home.Example", "sip:Alice@home.example"),
        ("sips:alice:secret@home.example:5061;transport=tcp?subject=x", "sip:alice@home.example"),
        ('"Al <i> ce" <sip:alice@home.example;lr>;tag=1', "sip:alice@home.example"),
        ("sip:+15551234;phone-context=x@home.example;user=phone", "sip:+15551234@home.example"),
        ("sip:alice@[2001:DB8::1]:5060", "sip:alice@[2001:db8::1]"),
        ("sip:conf.example", "sip:conf.example"),
    ],
)
def test_kms_user_identity(uri: str, identity: str) -> None:
    assert kms_user_identity(uri) == identity
    assert kms_user_identity(identity) == identity


@pytest.mark.parametrize(
    "uri", ["", "tel:+1555", "alice@home.example", "sip:@home.example", "sip:a b@x", "sip:a@"]
)
def test_what_is_no_identity(uri: str) -> None:
    with pytest.raises(MikeyError):
        kms_user_identity(uri)


@given(st.text(max_size=40))
def test_any_text_gives_an_identity_or_mikey_error(text: str) -> None:
    try:
        identity = kms_user_identity("sip:" + text)
    except MikeyError:
        return
    assert kms_user_identity(identity) == identity


def test_same_identity_in_both_forms() -> None:
    assert same_identity("sip:alice@HOME.example", "alice@home.example")
    assert not same_identity("sip:Alice@home.example", "sip:alice@home.example")
    assert not same_identity("sip:alice@home.example", "sip:alice@home.example.org")


@pytest.mark.parametrize(
    ("pattern", "identity", "fits"),
    [
        ("sip:*@conf.example", "sip:room1@conf.example", True),
        ("sip:*@conf.example", "room1@CONF.example", True),
        ("sip:*@conf.example", "sip:room1@sub.conf.example", False),
        ("sip:*@conf.example", "sip:a@b@conf.example", False),
        ("sip:room*-*@conf.example", "sip:room1-x@conf.example", True),
        ("sip:room*-*@conf.example", "sip:room1x@conf.example", False),
        ("sip:a*a@x", "sip:a@x", False),
        ("sip:alice@*.example", "sip:alice@home.example", True),
        ("*", "anything@at.all", True),
        ("sip:alice@home.example", "sip:alice@home.example", True),
        ("sip:alice@home.example", "sip:alicex@home.example", False),
    ],
)
def test_patterns(pattern: str, identity: str, fits: bool) -> None:
    assert matches(pattern, identity) is fits


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("{csb_id:08x}.{cs_id}", "0a667788.1"),
        ("{csb_id:08X}.{cs_id:02X}", "0A667788.01"),
        ("{csb_id}", "174487432"),
        ("mikey/{csb_id:x}/{cs_id:x}", "mikey/a667788/1"),
        ("{ticket}", "ab" * 16),
        ("{{{csb_id:X}}}", "{A667788}"),
    ],
)
def test_psk_identities_in_other_forms(template: str, written: str) -> None:
    assert PskIdentityForm(template).write(0x0A667788, 1, b"\xab" * 32) == written


@pytest.mark.parametrize(
    "template",
    [
        "",
        "everybody",
        "{cs_id}",
        "{csb_id",
        "{csb_id:>100}",
        "{csb_id!r}",
        "{csb_id.real}",
        "{ticket:x}",
        "{0}",
        "{}",
        "{tek}",
        "{csb_id}" + "x" * 120,
        "{csb_id}\n",
        "{csb_id}é",
    ],
)
def test_what_is_no_form_of_psk_identities(template: str) -> None:
    with pytest.raises(ValueError, match=r"PSK identity|expected '}'"):
        PskIdentityForm(template)


@given(st.floats(0, 4_200_000_000))
def test_timestamps_from_1970_to_2104(now: float) -> None:
    timestamp = ntp_utc(now)
    assert abs(to_unix(timestamp.type, timestamp.value) - now) < 1e-5
    whole = validity(TsRole.TR_E, now)
    assert (whole.type, to_unix(whole.type, whole.value)) == (TsType.NTP_UTC_32, float(int(now)))


def test_timestamp_of_the_second_era() -> None:
    assert to_unix(TsType.NTP_UTC_32, 0) == 2_085_978_496.0
    assert to_unix(TsType.NTP_UTC_32, 0x80000000) == -61_505_152.0
