"""Erlang/OTP's megaco as a peer on Mp: tests/interop/otp_megaco/peer.escript, driven line by line."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mrf_protocols.h248 import decode
from mrf_protocols.h248.values import Message, TransactionReply

PEER = Path(__file__).parent / "interop" / "otp_megaco" / "peer.escript"
SECONDS = 60.0
INSTALLED = shutil.which("escript") is not None


class OtpFailed(Exception):
    """megaco:call gave an error."""


@dataclass
class OtpPeer:
    """A running megaco. `told` has every line that it said and nobody has asked for yet."""

    process: asyncio.subprocess.Process
    told: list[list[str]] = field(default_factory=list)
    _tags: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Collect what it says, until it ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.told.append(line.decode().split())
            self._news.set()
        self.told.append(["ended"])
        self._news.set()

    def say(self, *words: str) -> None:
        """Write a line."""
        assert self.process.stdin is not None
        self.process.stdin.write((" ".join(words) + "\n").encode())

    async def hear(self, *words: str) -> list[str]:
        """The first line that begins with these words; it is taken away."""
        async with asyncio.timeout(SECONDS):
            while True:
                for line in self.told:
                    if tuple(line[: len(words)]) == words:
                        self.told.remove(line)
                        return line
                self._news.clear()
                await self._news.wait()

    async def request(self) -> tuple[int, Message]:
        """The next request that it was asked, and its version."""
        line = await self.hear("request")
        return int(line[1]), message(line[2])

    async def ask(self, text: str) -> TransactionReply:
        """Have it send the actions of a request; raises OtpFailed when there is no reply with actions."""
        self._tags += 1
        tag = str(self._tags)
        self.say("ask", tag, encoded(text))
        async with asyncio.timeout(SECONDS):
            while True:
                for line in self.told:
                    if line[0] in {"reply", "failed"} and line[1] == tag:
                        self.told.remove(line)
                        if line[0] == "failed":
                            raise OtpFailed(base64.b64decode(line[2]).decode())
                        reply = message(line[3]).transactions[0]
                        assert isinstance(reply, TransactionReply)
                        return reply
                self._news.clear()
                await self._news.wait()

    def faults(self) -> list[str]:
        """Syntax errors, message errors and unexpected transactions that megaco has seen.

        A registration that is sent again, since its reply was late, is in the version from before they agreed on one:
        megaco counts it as a syntax error, and answered it before.
        """
        found = [base64.b64decode(line[1]).decode() for line in self.told if line[0] == "fault"]
        return [fault for fault in found if "Not negotiated version: 1 [negotiated" not in fault]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def message(word: str) -> Message:
    """A text of megaco's. What its encoder cannot write begins with "!"."""
    assert not word.startswith("!"), base64.b64decode(word[1:].strip()).decode()
    return decode(base64.b64decode(word))


@asynccontextmanager
async def otp(name: str) -> AsyncIterator[OtpPeer]:
    """Start megaco under that name."""
    process = await asyncio.create_subprocess_exec(
        "escript",
        str(PEER),
        name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    peer = OtpPeer(process)
    reader = asyncio.create_task(peer.read())
    try:
        yield peer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reader
