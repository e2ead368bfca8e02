import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_ue.sip_transport import MAX_MESSAGE_OCTETS, StreamFramer

OPTIONS = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n"
INVITE = b"INVITE sip:a@b SIP/2.0\r\nl: 5\r\n\r\nhello"


@given(st.lists(st.sampled_from([OPTIONS, INVITE, b"\r\n\r\n"]), max_size=6), st.integers(1, 40))
def test_messages_come_out_whole_however_the_stream_is_cut(parts: list[bytes], size: int) -> None:
    stream = b"".join(parts)
    framer = StreamFramer()
    messages = []
    for start in range(0, len(stream), size):
        messages += framer.feed(stream[start : start + size])
    assert messages == [part for part in parts if part.strip()]


@pytest.mark.parametrize(
    "octets",
    [
        b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: -4\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 99999999\r\n\r\n",
        b"x" * (MAX_MESSAGE_OCTETS + 1),
    ],
)
def test_a_stream_that_cannot_be_cut_is_a_fault(octets: bytes) -> None:
    with pytest.raises(ValueError, match="SIP"):
        StreamFramer().feed(octets)
