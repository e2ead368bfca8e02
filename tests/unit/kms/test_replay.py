"""The replay cache: once per window, also across a restart."""

from pathlib import Path

import pytest

from mrf_kms import replay
from mrf_kms.replay import ReplayCache

ONE, TWO = b"1" * 20, b"2" * 32


def test_a_message_is_new_once_per_window() -> None:
    cache = ReplayCache(120.0)
    assert cache.first_time(ONE, 1000.0)
    assert not cache.first_time(ONE, 1000.0)
    assert not cache.first_time(ONE, 1120.0)
    assert cache.first_time(TWO, 1120.0)
    assert cache.first_time(ONE, 1120.1)
    assert len(cache) == 2


def test_it_forgets_what_is_over() -> None:
    cache = ReplayCache(10.0)
    for second in range(1000):
        assert cache.first_time(second.to_bytes(20), float(second))
    assert len(cache) <= 12


def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kms.replay"
    cache = ReplayCache(120.0, path, 1000.0)
    assert cache.first_time(ONE, 1000.0)
    assert cache.first_time(TWO, 1100.0)
    cache.close()
    path.write_bytes(path.read_bytes() + b"cut by a crash")
    again = ReplayCache(120.0, path, 1130.0)
    assert not again.first_time(TWO, 1130.0)
    assert again.first_time(ONE, 1130.0)
    again.close()


def test_the_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_COMPACT_AT", 4000)
    path = tmp_path / "kms.replay"
    cache = ReplayCache(5.0, path, 0.0)
    for second in range(2000):
        assert cache.first_time(second.to_bytes(20), float(second))
        assert path.stat().st_size <= 4040
    assert not cache.first_time((1999).to_bytes(20), 1999.0)
    cache.close()
