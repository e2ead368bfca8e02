"""What the focus reads from URIs and route lists."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrfc.sip import uri


@pytest.mark.parametrize(
    ("text", "user", "host"),
    [
        ("sip:meeting@example.com", "meeting", "example.com"),
        ("sip:meeting@Example.COM:5070;transport=tcp", "meeting", "example.com"),
        ("sips:a:secret@[2001:DB8::1]:5061?Subject=x", "a", "[2001:db8::1]"),
        ("sip:example.com", "", "example.com"),
        (" SIP:x@y ", "x", "y"),
    ],
)
def test_parts_of_a_sip_uri(text: str, user: str, host: str) -> None:
    assert (uri.user_of(text), uri.host_of(text)) == (user, host)


@pytest.mark.parametrize("text", ["", "tel:+4930", "sip:", "sip:a@b@c", "sip:a@", "sip:a@[::1", "http://x"])
def test_not_a_sip_uri(text: str) -> None:
    with pytest.raises(uri.UriError):
        uri.user_of(text)


@given(st.text(max_size=200))
def test_any_text_is_a_uri_or_refused(text: str) -> None:
    with contextlib.suppress(uri.UriError):
        assert uri.user_of(text) in text


def test_routes_are_split_outside_of_brackets_and_quotes() -> None:
    values = ('"Proxy, one" <sip:p1;lr>;x=1, <sip:p2;lr;maddr=a,b>', "<sip:p3>")
    assert uri.split_routes(values) == ('"Proxy, one" <sip:p1;lr>;x=1', "<sip:p2;lr;maddr=a,b>", "<sip:p3>")
    assert uri.split_routes(("", " , ")) == ()


def test_address_and_strictness_of_a_route() -> None:
    assert uri.address_of("<sip:p1;lr>;x=1") == "sip:p1;lr"
    assert uri.address_of("sip:p1;x=1") == "sip:p1"
    assert not uri.is_strict_router("<sip:p1;lr>")
    assert not uri.is_strict_router("<sip:p1;lr=on>")
    assert uri.is_strict_router("<sip:p1;lrx=1>")
    assert uri.is_strict_router("<sip:p1>;lr")  # a parameter of the header, not of the URI


@pytest.mark.parametrize("text", ["sip:a@h", "sip:a@h:5060;transport=TCP", "sip:a@[::1]:65535;lr"])
def test_who_can_be_called(text: str) -> None:
    assert uri.request_uri(f" {text} ") == text


@pytest.mark.parametrize(
    "text",
    [
        "sips:a@h",
        "sip:a@h;transport=foo",
        "sip:a@h:0",
        "sip:a@h:65536",
        "sip:a@h:99999",
        "sip:a@h?x=y",
        "sip:a b@h",
    ],
)
def test_who_cannot_be_called(text: str) -> None:
    with pytest.raises(uri.UriError):
        uri.request_uri(text)
