"""The circuit breaker of the client: when a server is worth asking."""

from mrf_kms.breaker import Breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(threshold=3)
    for now in range(10):
        breaker.failed(float(now), probe=False)
        breaker.failed(float(now), probe=False)
        assert breaker.admits(float(now))
        breaker.succeeded()
    for _ in range(3):
        breaker.failed(20.0, probe=False)
    assert breaker.is_open
    assert not breaker.admits(20.5)


def test_one_probe_at_a_time_and_longer_pauses() -> None:
    breaker = Breaker(threshold=1, pause=1.0, longest_pause=4.0)
    now = 100.0
    assert breaker.failed(now, probe=False)
    for pause in (1.0, 2.0, 4.0, 4.0):
        assert not breaker.admits(now + pause - 0.01)
        now += pause
        assert breaker.admits(now)
        assert not breaker.admits(now)
        assert not breaker.failed(now, probe=True)
    assert breaker.admits(now + 4.0)
    breaker.gave_up(probe=True)
    assert breaker.admits(now + 4.0)
    breaker.succeeded()
    assert not breaker.is_open
    breaker.failed(now, probe=False)
    assert breaker.admits(now + 1.0)


def test_who_failed_is_asked_last_for_a_while() -> None:
    breaker = Breaker(longest_pause=30.0)
    assert not breaker.is_suspect(0.0)
    breaker.failed(0.0, probe=False)
    assert breaker.is_suspect(29.0)
    assert not breaker.is_suspect(31.0)
    breaker.failed(40.0, probe=False)
    breaker.succeeded()
    assert not breaker.is_suspect(41.0)


def test_many_that_fail_at_once_open_it_once_and_for_the_first_pause() -> None:
    breaker = Breaker(threshold=3, pause=1.0, longest_pause=30.0)
    opened = [breaker.failed(0.0, probe=False) for _ in range(50)]
    assert opened.count(True) == 1
    assert not breaker.admits(0.99)
    assert breaker.admits(1.0)
    breaker.gave_up(probe=False)  # one of the old ones; the probe goes on
    assert not breaker.failed(1.5, probe=False)
    assert not breaker.admits(1.5)
    breaker.succeeded()
    assert breaker.admits(1.6)
