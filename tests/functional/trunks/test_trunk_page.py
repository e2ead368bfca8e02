"""docs/trunk-test.md: its commands run as they stand there, and its report is what comes."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from trunk_support import PASSWORD, PBX, TrunkLab

from lab import ROOT, tool
from mrf_ue.trunk.cases import NAMES

PAGE = (ROOT / "docs" / "trunk-test.md").read_text()
LONGEST = 180.0
REPORTED = ("options", "bfcp", "everything", "audio", "hold", "lost-ack")


def commands() -> Iterator[str]:
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()


def here(command: str, lab: TrunkLab, folder: Path) -> list[str]:
    """The command with the names and places of the laboratory."""
    password = folder / "pbx.password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    home = ["--proxy", lab.sip_address]
    places = {
        "sip:conf@trunk.example": [lab.conference(), *home],
        "sip:conf@mrf.example": [lab.conference(), *home],
        "sip:conf@pbx.example": [lab.conference(), *home, "--local-address", PBX],
        "alice.psk": [str(lab.folder / "alice.psk")],
        "http://127.0.0.1:8088": [f"http://127.0.0.1:{lab.ports.kms}"],
        "pbx.password": [str(password)],
    }
    program, *words = shlex.split(command)
    return [tool(program), *(each for word in words for each in places.get(word, [word]))]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=LONGEST)


@pytest.mark.parametrize("command", list(commands()))
async def test_commands(trunks: TrunkLab, tmp_path: Path, command: str) -> None:
    """Each finds nothing wrong with ourselves."""
    words = here(command, trunks, tmp_path)
    if "--case" not in words and "--list" not in words:  # all cases are run elsewhere
        words += ["--case", "options", "--case", "bfcp"]
    done = await asyncio.to_thread(run, words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


async def test_the_report_is_what_comes(trunks: TrunkLab, tmp_path: Path) -> None:
    """But for times, ports, identifiers, and names."""
    blocks = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
    [shown] = [block for kind, block in blocks if not kind and "FAIL " not in block]
    [command] = [each for each in commands() if "alice.psk" in each]
    words = here(command, trunks, tmp_path)
    done = await asyncio.to_thread(run, [*words, *(word for name in REPORTED for word in ("--case", name))])
    assert shape(done.stdout) == shape(shown)


def shape(text: str) -> str:
    """Without what differs from run to run, and what the MRFC will say when it has learnt more."""
    text = " ".join(re.sub(r"\d+(\.\d+)?", "N", text).split())
    text = re.sub(r"trunk test of \S+", "trunk test", text)
    text = re.sub(r"[\w.-]+\.example", "HOST", text)
    text = re.sub(r"(Allow|Accept|Supported): [^\[]+", r"\1: ", text)
    text = re.sub(r"what it says of itself .* m-lines", "what it says of itself m-lines", text)
    return re.sub(r"(application TCP/TLS/BFCP: port N), [^\[]+?(?= \[| audio, | N cases)", r"\1", text)


def test_every_case_is_in_the_table() -> None:
    assert tuple(re.findall(r"^\| `([\w-]+)` \| .* \| \S+ .* \|$", PAGE, re.MULTILINE)) == NAMES
