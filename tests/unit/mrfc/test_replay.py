"""Messages are remembered as long as their timestamps could pass."""

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrfc.keys import replay
from mrfc.keys.replay import ReplayCache


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


def test_a_restart_within_the_window_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "replay"
    cache = ReplayCache(120.0, path, 1000.0)
    assert cache.remember(b"1" * 20, 1000.0)
    assert cache.remember(b"2" * 32, 1100.0)
    cache.close()
    path.write_bytes(path.read_bytes() + b"cut by a crash")
    again = ReplayCache(120.0, path, 1130.0)
    assert again.seen(b"2" * 32, 1130.0)
    assert not again.remember(b"2" * 32, 1130.0)
    assert again.remember(b"1" * 20, 1130.0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again.close()


def test_a_clock_set_back_does_not_keep_messages_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "replay"
    cache = ReplayCache(120.0, path, 1e9)
    cache.remember(b"1" * 20, 1e9)
    cache.close()
    assert not ReplayCache(120.0, path, 1000.0).seen(b"1" * 20, 1000.0)


def test_the_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_COMPACT_AT", 4000)
    path = tmp_path / "replay"
    cache = ReplayCache(5.0, path, 0.0)
    for second in range(2000):
        assert cache.remember(second.to_bytes(20), float(second))
        assert path.stat().st_size <= 4050
    cache.close()
    assert ReplayCache(5.0, path, 1999.5).seen((1999).to_bytes(20), 1999.5)


def test_a_disk_that_is_full_later_is_no_reason_to_refuse(tmp_path: Path) -> None:
    cache = ReplayCache(5.0, tmp_path / "replay", 0.0)
    os.close(cache._fd)
    cache._fd = os.open("/dev/full", os.O_WRONLY)
    assert cache.remember(b"1" * 20, 1.0)
    assert not cache.remember(b"1" * 20, 1.0)
    cache.close()


def test_what_a_full_disk_takes_of_a_record_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "replay"
    cache = ReplayCache(5.0, path, 0.0)
    write, room = os.write, [41, 10, 0, 41]  # octets that the disk takes of each record
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: room.pop(0)]))
    for number in range(4):
        assert cache.remember(bytes([number]) * 20, 1.0)
    cache.close()
    monkeypatch.undo()
    again = ReplayCache(5.0, path, 2.0)
    assert [again.seen(bytes([number]) * 20, 2.0) for number in range(4)] == [True, False, False, True]
    again.close()


@pytest.mark.parametrize("room", [0, 10])
def test_a_disk_that_is_full_at_the_start_costs_nothing_that_was_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """No room at all is told by the system as an error, a little room by what it has taken."""
    path = tmp_path / "replay"
    before = ReplayCache(5.0, path, 0.0)
    before.remember(b"1" * 20, 1.0)
    before.close()

    def full(fd: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[:room])

    write = os.write
    monkeypatch.setattr(os, "write", full)
    started = ReplayCache(5.0, path, 2.0)
    monkeypatch.undo()
    assert started.seen(b"1" * 20, 2.0)
    assert started.remember(b"2" * 20, 2.0)
    started.close()
    assert [file.name for file in tmp_path.iterdir()] == ["replay"]
    again = ReplayCache(5.0, path, 3.0)
    assert again.seen(b"1" * 20, 3.0)
    assert again.seen(b"2" * 20, 3.0)
    again.close()


def test_tickets_are_remembered_until_they_end(tmp_path: Path) -> None:
    used = ReplayCache.of_tickets(tmp_path / "replay", 1000.0)
    assert used.remember(b"short", 1000.0, 1010.0)
    assert used.remember(b"long", 1000.0, 2000.0)
    assert used.remember(b"without end", 1000.0)
    assert not used.remember(b"short", 1009.0, 1010.0)
    assert not used.seen(b"short", 1010.0)
    used.close()
    again = ReplayCache.of_tickets(tmp_path / "replay", 1500.0)
    assert again.seen(b"long", 1500.0)
    assert again.seen(b"without end", 1500.0)
    assert not again.seen(b"without end", 1000.0 + replay.LONGEST_LIFE)
    again.close()
    assert not (tmp_path / "replay").exists(), "messages have a file of their own"


def test_the_number_of_tickets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MAX_TICKETS", 3)
    used = ReplayCache.of_tickets(None, 0.0)
    for number, ends in enumerate((50.0, 20.0, 40.0, 30.0)):
        assert used.remember(bytes([number]), 1.0, ends)
    assert len(used) == 3
    assert [used.seen(bytes([number]), 2.0) for number in range(4)] == [True, False, True, True]


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="replay"):
        ReplayCache(5.0, tmp_path / "missing" / "replay", 0.0)
