"""`mrf-ue` in a terminal and on a pipe, as a process of its own."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mrfp_agent.floor_control import Floor

if TYPE_CHECKING:
    from functional.ue.conftest import FakeKms, Focus

SECONDS = 60.0


@dataclass
class Terminal:
    """A pseudo-terminal with mrf-ue in it."""

    process: asyncio.subprocess.Process
    descriptor: int
    output: str = ""

    def readable(self) -> None:
        try:
            self.output += os.read(self.descriptor, 65536).decode()
        except OSError:  # the far side is closed
            asyncio.get_running_loop().remove_reader(self.descriptor)

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self.descriptor, line.encode() + b"\n")

    async def sees(self, words: str) -> None:
        """Wait until something stands in the terminal."""
        try:
            async with asyncio.timeout(SECONDS):
                while words not in self.output:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{words!r} did not come:\n{self.output}") from None

    async def ends(self) -> int:
        """The exit code."""
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()


def command(focus: Focus, kms: FakeKms, psk_file: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "mrf_ue.cli", "dial-in", focus.uri, "--identity", "sip:alice@example"),
        *("--kms", kms.url, "--psk-id", "alice", "--psk-file", str(psk_file), *more),
    ]


Open = Callable[..., Awaitable[Terminal]]


@pytest.fixture
async def open_terminal(focus: Focus, kms: FakeKms, psk_file: Path) -> AsyncIterator[Open]:
    opened: list[Terminal] = []

    async def open_it(*more: str) -> Terminal:
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *command(focus, kms, psk_file, *more), stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        terminal = Terminal(process, ours)
        asyncio.get_running_loop().add_reader(ours, terminal.readable)
        opened.append(terminal)
        return terminal

    yield open_it
    for terminal in opened:
        if terminal.process.returncode is None:
            terminal.process.kill()
            await terminal.process.wait()
        asyncio.get_running_loop().remove_reader(terminal.descriptor)
        os.close(terminal.descriptor)


async def test_a_user_asks_and_releases_by_hand(focus: Focus, open_terminal: Open) -> None:
    terminal = await open_terminal("--interactive")
    await terminal.sees("floor 2: free")
    terminal.type("dance")
    await terminal.sees("dance is no command")
    terminal.type("ask 1 because I have a question")
    await terminal.sees("request 1 for floor 1: granted")
    terminal.type("floors")
    await terminal.sees("floor 1: held by you (request 1)")
    terminal.type("release")
    await terminal.sees("request 1 for floor 1: released")
    terminal.type("help")
    await terminal.sees("leave the conference")
    assert "FloorRequestStatus" not in terminal.output  # messages are for --json, scripts and traces
    terminal.type("quit")
    await terminal.sees("all went well")
    assert await terminal.ends() == 0
    assert focus.requests == ["INVITE", "ACK", "BYE"]


async def test_the_end_of_input_leaves(focus: Focus, open_terminal: Open) -> None:
    terminal = await open_terminal("--interactive")
    await terminal.sees("floor 2: free")
    os.write(terminal.descriptor, b"\x04")  # Ctrl-D
    assert await terminal.ends() == 0
    assert focus.requests == ["INVITE", "ACK", "BYE"]


async def test_ctrl_c_hangs_up(focus: Focus, open_terminal: Open) -> None:
    terminal = await open_terminal("--interactive")
    await terminal.sees("floor 2: free")
    terminal.process.send_signal(2)
    assert await terminal.ends() == 130
    assert focus.requests == ["INVITE", "ACK", "BYE"]


async def test_a_script_that_succeeds_and_one_that_does_not(
    focus: Focus, open_terminal: Open, tmp_path: Path
) -> None:
    focus.floors = (Floor(1),)
    script = tmp_path / "script"
    script.write_text("ask\nexpect granted\n# enough\nrelease\nexpect revoked 0.1\n")
    terminal = await open_terminal("--script", str(script))
    await terminal.sees("the request was not revoked in 0.1 s: it is released")
    assert await terminal.ends() == 7
    assert "<- FloorRequestStatus Granted" in terminal.output


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--chair",), "--chair goes with"),
        (("--script", "/nowhere"), "No such file"),
    ],
)
async def test_wrong_usage(open_terminal: Open, more: tuple[str, ...], words: str) -> None:
    terminal = await open_terminal(*more)
    await terminal.sees(words)
    assert await terminal.ends() == 2


async def test_commands_from_a_pipe(focus: Focus, kms: FakeKms, psk_file: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *command(focus, kms, psk_file, "--interactive", "--json"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate(b"ask\nexpect granted\nrelease")
    assert process.returncode == 0
    assert b"request 1 for floor 1: released" in output


async def test_commands_from_a_file_as_input(
    focus: Focus, kms: FakeKms, psk_file: Path, tmp_path: Path
) -> None:
    lines = tmp_path / "lines"
    lines.write_text("ask 2\nexpect granted\nquit\nask 1\n")
    with lines.open("rb") as source:
        process = await asyncio.create_subprocess_exec(
            *command(focus, kms, psk_file, "--interactive"), stdin=source, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    assert process.returncode == 0
    assert b"request 1 for floor 2: granted" in output
    assert b"floor 1: held" not in output
