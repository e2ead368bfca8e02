"""a=key-mgmt: levels, order, and strict base64."""

import pytest

from mrf_protocols.sdp import (
    KeyMgmt,
    KeyMgmtLevel,
    RejectReason,
    SdpRejected,
    bfcp_media,
    parse,
    protocol_list,
)
from mrf_protocols.sdp.key_management import parse_key_mgmt

HEAD = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
MEDIA = "m=application 5000 TCP/TLS/BFCP *\r\n"


def attributes(*values: str) -> str:
    return "".join(f"a=key-mgmt:{value}\r\n" for value in values)


@pytest.mark.parametrize("value", ["mikey AQIDBA==", " mikey AQIDBA=="])
def test_value(value: str) -> None:
    assert parse_key_mgmt(value) == KeyMgmt("mikey", b"\x01\x02\x03\x04")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "mikey",
        "mikey ",
        "mikey =",
        "mikey  AQID",
        "  mikey AQID",
        "mikey\tAQID",
        "mikey AQID ",
        "mikey AQ ID",
        "mikey AQIDB",
        "mikey AQIDBA",
        "mikey AQIDBA=",
        "mikey AQIDBB==",
        "mikey AQID====",
        "mikey AQ==AQID",
        "mikey AQ-_",
        "mi/key AQID",
        "mikey AQID\u0410",
    ],
)
def test_malformed_value(value: str) -> None:
    with pytest.raises(SdpRejected) as caught:
        parse_key_mgmt(value)
    assert caught.value.reason is RejectReason.KEY_MGMT_MALFORMED
    assert (caught.value.status, caught.value.warning) == (488, 306)
    assert "AQ" not in str(caught.value)


def test_media_level_overrides_session_level() -> None:
    found = bfcp_media(parse(HEAD + attributes("mikey !!") + MEDIA + attributes("mikey AQID")), 0)
    assert found.key_mgmt == (KeyMgmt("mikey", b"\x01\x02\x03"),)
    assert found.key_mgmt_level is KeyMgmtLevel.MEDIA


def test_session_level_holds_without_media_level() -> None:
    found = bfcp_media(parse(HEAD + attributes("other AAAA", "mikey AQID") + MEDIA), 0)
    assert found.key_mgmt_level is KeyMgmtLevel.SESSION
    assert protocol_list(found.key_mgmt) == "other;mikey"


def test_protocol_identifiers_are_case_sensitive() -> None:
    found = bfcp_media(parse(HEAD + MEDIA + attributes("MIKEY AQID", "mikey AQID")), 0)
    assert protocol_list(found.key_mgmt) == "MIKEY;mikey"


def test_one_protocol_twice_is_refused() -> None:
    with pytest.raises(SdpRejected) as caught:
        bfcp_media(parse(HEAD + MEDIA + attributes("mikey AQID", "mikey AQIE")), 0)
    assert caught.value.reason is RejectReason.KEY_MGMT_MALFORMED


def test_no_attribute_at_all() -> None:
    found = bfcp_media(parse(HEAD + MEDIA), 0)
    assert (found.key_mgmt, found.key_mgmt_level) == ((), KeyMgmtLevel.MEDIA)


def test_message_is_not_shown() -> None:
    assert repr(KeyMgmt("mikey", b"secret")) == "KeyMgmt(protocol='mikey')"


@pytest.mark.parametrize(("most", "taken"), [(16, True), (17, False)])
def test_only_so_many_protocols_are_looked_at(most: int, taken: bool) -> None:
    """All m-lines of an offer share those of the session: what may be long must not be looked at again and again."""
    text = HEAD + attributes(*(f"p{number} AQID" for number in range(most))) + MEDIA
    if taken:
        assert len(bfcp_media(parse(text), 0).key_mgmt) == most
        return
    with pytest.raises(SdpRejected) as caught:
        bfcp_media(parse(text), 0)
    assert caught.value.reason is RejectReason.KEY_MGMT_MALFORMED
