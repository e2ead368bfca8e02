"""sipp, a SIP stack that is not ours, with the scenarios of configs/sipp and the command lines of their README."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kernel_tables import is_bound

from lab import CALLEE, ROOT, Lab, tool
from loopback_ports import free_ports

LONGEST = 120.0
SIPP = ROOT / "configs" / "sipp"
TRANSPORTS = {"udp": "u1", "tcp": "t1"}


def commands() -> Iterator[list[str]]:
    """The command lines of the README."""
    for block in re.findall(r"```sh\n(.*?)```", (SIPP / "README.md").read_text(), re.DOTALL):
        yield from (shlex.split(line) for line in block.splitlines())


COMMANDS = {
    words[words.index("-sf") + 1]: words for words in commands() if words[0] == "sipp" and "-l" not in words
}
OPTIONS = ["-recv_timeout", "60000", "-nostdin", "-trace_err", "-error_file", "errors.log"]


@dataclass(frozen=True)
class SippBench:
    """An installation, and a folder to run in."""

    lab: Lab
    folder: Path
    host: str = "127.0.0.1"
    """Where sipp is."""

    def words(self, words: list[str], transport: str, **more: str) -> list[str]:
        """A command line of the README for this installation."""
        own = {
            "mrf-ue": tool("mrf-ue"),
            "192.0.2.10:5060": self.lab.sip_address,
            "sip:conf@mrf.example": self.lab.conference(),
            "alice.psk": str(self.lab.folder / "alice.psk"),
            "u1": TRANSPORTS[transport],
            **more,
        }
        own |= {path.name: str(path) for path in SIPP.glob("*.xml")}
        return [own.get(word, word) for word in words]

    def offers(self) -> None:
        """Make the file with the offers, as the README says."""
        [words] = [words for words in commands() if words[-1] == "offers.csv"]
        made = subprocess.run(
            self.words(words[:-2], "udp"), check=True, capture_output=True, text=True, timeout=LONGEST
        )
        (self.folder / "offers.csv").write_text(made.stdout)

    def call(self, scenario: str, transport: str, **more: str) -> None:
        """Run a scenario; fails unless every call went as it says."""
        words = self.words(COMMANDS[scenario], transport, **more)
        done = subprocess.run(
            [*words, *OPTIONS, "-i", self.host],
            check=False,
            capture_output=True,
            cwd=self.folder,
            timeout=LONGEST,
            env={**os.environ, "TERM": "dumb"},
        )
        assert done.returncode == 0, self.told() or done.stdout.decode(errors="replace")[-2000:]

    @contextmanager
    def waiting(self, scenario: str, transport: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """sipp waits for calls; gives it, and the URI to call."""
        [port] = free_ports(1)
        words = self.words(COMMANDS[scenario], transport, **{"5070": str(port)})
        with subprocess.Popen(
            [*words, *OPTIONS, "-i", self.host],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TERM": "dumb"},
        ) as called:
            end = time.monotonic() + LONGEST
            while not is_bound(transport, port):
                assert called.poll() is None, self.told()
                assert time.monotonic() < end, "sipp does not listen"
                time.sleep(0.02)  # a poll: sipp tells nobody when it listens
            try:
                yield called, f"{CALLEE}:{port}" + ("" if transport == "udp" else ";transport=tcp")
            finally:
                if called.poll() is None:
                    called.terminate()

    def told(self) -> str:
        """What sipp says that went wrong."""
        errors = self.folder / "errors.log"
        return errors.read_text(errors="replace") if errors.exists() else ""


def calls_of(scenario: str) -> int:
    """How many calls the README has a scenario make."""
    words = COMMANDS[scenario]
    return int(words[words.index("-m") + 1])
