"""A laboratory with the page switched on, and a way to have somebody in the conference."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import CALLER, KMS_IDENTITY, Lab, Settings, tool

SECONDS = 60.0


@dataclass
class Operator:
    """What a person with a shell and a browser does."""

    lab: Lab
    url: str
    token: Path

    def ctl(self, *arguments: str, token: bool = False) -> subprocess.CompletedProcess[str]:
        """mrfc-ctl against this laboratory."""
        command = [tool("mrfc-ctl"), *arguments, "--url", self.url]
        command += ["--token-file", str(self.token)] if token else []
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    def get(self, path: str) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), dict(error.headers)

    def rows(self, what: str) -> list[dict[str, Any]]:
        """`mrfc-ctl WHAT --json`."""
        done = self.ctl(what, "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def dial_in(self, hold: float, name: str = "alice", conference: str = "meeting") -> subprocess.Popen[str]:
        """A participant who asks for floor 1 and keeps it; `name` has an account at the KMS."""
        identity = CALLER if name == "alice" else f"sip:{name}@ue.example"
        command = [tool("mrf-ue"), "dial-in", self.lab.conference(conference)]
        command += ["--proxy", self.lab.sip_address, "--local-address", "127.0.0.1", "--identity", identity]
        command += ["--kms", f"http://127.0.0.1:{self.lab.ports.kms}", "--kms-identity", KMS_IDENTITY]
        command += ["--psk-id", name, "--psk-file", str(self.lab.folder / f"{name}.psk"), "--floor", "1"]
        command += ["--hold", str(hold), "--timeout", "60"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something that others do is done."""
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}"
            time.sleep(0.05)  # processes that tell nobody


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Everything up; the page is on."""
    folder = tmp_path_factory.mktemp("operations")
    with Lab(folder, Settings(mrfc={"web": {"page": True}})) as lab:
        (folder / "carol.psk").touch(mode=0o600)
        (folder / "carol.psk").write_text(secrets.token_hex(16) + "\n")
        lab.provision("carol", "sip:carol@ue.example", folder / "carol.psk")
        lab.start()
        yield Operator(lab, f"http://127.0.0.1:{lab.ports.http}", folder / "operator.token")


@pytest.fixture
def participant(operator: Operator) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts participants who hang up at the end of the test."""
    with ExitStack() as stack:

        def start(name: str = "alice", hold: float = 600.0) -> subprocess.Popen[str]:
            process = operator.dial_in(hold, name)
            stack.callback(_hang_up, process)
            return process

        yield start
    operator.until(lambda: not operator.rows("calls"), "the last call to end")


def _hang_up(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
