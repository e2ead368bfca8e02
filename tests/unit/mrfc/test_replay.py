"""Messages are remembered as long as their timestamps could pass."""

from hypothesis import given
from hypothesis import strategies as st

from mrfc.replay import ReplayCache


def test_a_message_is_taken_once_within_the_window() -> None:
    cache = ReplayCache(window=60)
    assert not cache.seen(b"a", now=0)
    assert cache.remember(b"a", now=0)
    assert cache.seen(b"a", now=59)
    assert not cache.remember(b"a", now=59)
    assert not cache.seen(b"a", now=60)
    assert cache.remember(b"a", now=60)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.floats(0, 10)), max_size=50))
def test_memory_is_bounded_by_the_window(steps: list[tuple[bytes, float]]) -> None:
    cache, now, live = ReplayCache(window=5), 0.0, dict[bytes, float]()
    for digest, pause in steps:
        now += pause
        live = {known: until for known, until in live.items() if until > now}
        assert cache.remember(digest, now) == (digest not in live)
        live.setdefault(digest, now + 5)
        assert len(cache) == len(live)
