"""The body of a refusal carries a message of the key management protocol, and nothing else is taken for one."""

import pytest

from mrf_protocols import sdp


@pytest.mark.parametrize("host", ["conf.example", "192.0.2.1", "2001:db8::1"])
def test_what_is_sent_is_read(host: str) -> None:
    body = sdp.serialize(sdp.refusal_with(b"\x01\x06error", host, 7))
    assert sdp.message_in_refusal(body) == b"\x01\x06error"
    assert sdp.message_in_refusal(body.encode()) == b"\x01\x06error"
    assert sdp.parse(body).media == ()


HEAD = "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\n"


def test_it_may_stand_at_the_stream() -> None:
    ordered = HEAD.replace("t=0", "c=IN IP4 192.0.2.1\r\nt=0")
    ordered += "m=application 0 TCP/TLS/BFCP *\r\na=key-mgmt:mikey AQID\r\n"
    assert sdp.message_in_refusal(ordered) == b"\x01\x02\x03"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no",
        b"\xff\xfe",
        HEAD,
        HEAD + "a=key-mgmt:other AQID\r\n",
        HEAD + "a=key-mgmt:mikey ?\r\n",
        HEAD + "a=key-mgmt:mikey\r\n",
    ],
)
def test_what_says_nothing(body: str | bytes) -> None:
    assert sdp.message_in_refusal(body) is None
