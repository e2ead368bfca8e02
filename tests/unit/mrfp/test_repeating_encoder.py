"""What is encoded once for many must be the same as what is encoded for each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.bfcp import Attribute, FloorId, Message, Primitive, encode
from mrfp_agent.repeating_encoder import RepeatingEncoder

VIEWS: tuple[tuple[Attribute, ...], ...] = ((), (FloorId(1),), (FloorId(1),), (FloorId(2),))

messages = st.builds(
    Message,
    st.sampled_from([Primitive.FLOOR_STATUS]),
    st.integers(1, 2),
    st.integers(0, 1),
    st.integers(1, 0xFFFF),
    st.sampled_from(VIEWS),
)


@given(st.lists(messages, max_size=8))
def test_the_same_octets(sent: list[Message]) -> None:
    encoder = RepeatingEncoder()
    assert [encoder.encode(message) for message in sent] == [encode(message) for message in sent]
