"""The chaired meeting of three people of the README, each a process of its own, on real elements."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab import ROOT

SECONDS = 180.0
"""Longest wait for something that has to happen: a laboratory starts in it, too."""


class Person:
    """Somebody at a terminal, whose lines go in by a pipe."""

    def __init__(self, folder: Path, room: Path, name: str) -> None:
        self._shown = folder / f"{name}.txt"
        with self._shown.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "script" / "meeting_room.py"), name, "--folder", str(room)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def shown(self) -> str:
        """All that stands in the terminal."""
        return self._shown.read_text(errors="replace")

    def sees(self, pattern: str) -> None:
        """Wait until something stands in the terminal."""
        end = time.monotonic() + SECONDS
        while not re.search(pattern, self.shown()):
            assert self.process.poll() is None, self.shown()
            assert time.monotonic() < end, f"{pattern!r} did not come:\n{self.shown()}"
            time.sleep(0.05)  # a poll: a process that tells nobody

    def types(self, line: str) -> None:
        """A line, and Enter."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def break_off(self) -> None:
        """Ctrl-C, if it is still there: the chair ends what it has started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(SECONDS)

    def leaves(self) -> None:
        """Ends its input, and goes in good order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(SECONDS) == 0, self.shown()


@pytest.fixture
def comes(tmp_path: Path) -> Iterator[Callable[[str], Person]]:
    """Lets somebody come; nobody stays behind a test that has failed."""
    with ExitStack() as stack:

        def come(name: str) -> Person:
            person = Person(tmp_path, tmp_path / "room", name)
            stack.callback(person.break_off)
            return person

        yield come


def test_a_chaired_meeting_of_three_people(tmp_path: Path, comes: Callable[[str], Person]) -> None:
    carol = comes("carol")
    carol.sees("floor 1: free")
    alice, bob = comes("alice"), comes("bob")
    for person in (alice, bob):
        person.sees("floor 1: free")
    alice.types("ask because I have a question")
    carol.sees(r'waits for you: request 1 of user \d+ "Alice" <sip:alice@ue.example>.*"I have a question"')
    carol.types("grant")
    alice.sees("request 1 for floor 1: granted")
    bob.sees(r'floor 1: held by user \d+ "Alice" \(request 1\)')
    carol.types("revoke time is over")
    alice.sees(r"revoked \(time is over\)")
    bob.types("ask")
    carol.sees("waits for you: request 2")
    carol.types("accept")
    carol.types("grant")
    bob.sees("request 2 for floor 1: granted")
    bob.types("release")
    bob.sees("request 2 for floor 1: released")
    for person in (alice, bob, carol):
        person.leaves()
    log = (tmp_path / "room" / "mrfc.log").read_text()
    assert "floor request 1 for 1: Revoked (time is over)" in log


def test_nobody_comes_before_the_chair(comes: Callable[[str], Person]) -> None:
    early = comes("alice")
    assert early.process.wait(SECONDS) == 1
    assert "script/meeting carol" in early.shown()
