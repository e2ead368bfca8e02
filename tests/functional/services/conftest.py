"""Elements as processes of their own, started with whatever is wrong; and a supervisor's socket to listen on."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import ROOT, SITE
from loopback_ports import free_ports, port_range

SECONDS = 60.0


@dataclass
class Started:
    """A process and what it has written."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        """All lines up to now."""
        return self.log.read_text(errors="replace")

    def ended(self) -> int:
        """Wait for the end; gives the exit status."""
        return self.process.wait(SECONDS)

    def says(self, words: str) -> str:
        """Wait for words; gives the line that has them."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for line in self.output().splitlines():
                if words in line:
                    return line
            time.sleep(0.05)  # a process that tells nobody
        pytest.fail(f"{words!r} was not said:\n{self.output()}")

    def end(self) -> None:
        """Kill it with its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


class Supervisor:
    """What systemd is to a service of Type=notify."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(SECONDS)
        self.environment = {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "1000000"}

    def next(self, word: str) -> str:
        """Wait for a notification with this word in it."""
        while True:
            text = self._socket.recv(4096).decode()
            if word in text:
                return text

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


GOOD = {
    "kms": '[kms]\nidentity = "kms.example"\n[http]\nport = {port}\n[store]\nfile = "kms.sqlite"\n',
    "mrfp": '[mp]\nmrfcs = ["127.0.0.1:{mp}"]\nretry = 0.1\n[http]\nport = {port}\n'
    '[media]\nipv4 = "127.0.0.1"\nports = [{first}, {last}]\n[limits]\nterminations = 50\n',
    "mrfc": '[sip]\ndomain = "conf.example"\ncontact = "127.0.0.1:5060"\n[mp]\nport = {mp}\n'
    '[kms]\nurl = "http://127.0.0.1:{kms}"\nidentity = "kms.example"\npsk_identity = "mrfc"\npsk_file = "kms.psk"\n',
}


@dataclass
class Bench:
    """Starts elements in one folder; each with a good configuration unless `text` says otherwise."""

    folder: Path
    running: list[Started] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    sip_host: str = "127.0.0.1"

    def good(self, element: str) -> str:
        """A configuration in which nothing is wrong."""
        return GOOD[element].format(**self.ports)

    def file(self, element: str) -> Path:
        """Where the configuration is."""
        return self.folder / f"{element}.toml"

    def start(
        self, element: str, text: str | None = "", environment: dict[str, str] | None = None
    ) -> Started:
        """Start an element; `text` None: without a file, "": with the good one."""
        if text is not None:
            self.file(element).write_text(text or self.good(element))
        log = self.folder / f"{element}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(element),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    "MRFC_CONFIG": str(self.file("mrfc")),
                    "MRFC_SITE": str(SITE),
                    **(environment or {}),
                },
                start_new_session=True,
            )
        started = Started(process, log)
        self.running.append(started)
        return started

    def check(self, element: str) -> subprocess.CompletedProcess[str]:
        """The element's own check of its configuration."""
        config = str(self.file(element))
        commands = {
            "kms": ["-m", "mrf_kms.cli", "check", "--config", config],
            "mrfp": ["-m", "mrfp_agent.cli", "check", "--config", config],
            "mrfc": ["-m", "mrfc.ctl.cli", "check", config],
        }
        return subprocess.run(
            [sys.executable, *commands[element]], check=False, capture_output=True, text=True
        )

    def _command(self, element: str) -> list[str]:
        config = str(self.file(element))
        if element == "kms":
            return [sys.executable, "-m", "mrf_kms.cli", "serve", "--config", config]
        if element == "mrfp":
            return [sys.executable, "-m", "mrfp_agent.cli", "run", "--config", config]
        kamailio = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        assert kamailio is not None
        defined = {
            "MRFC_LISTEN_UDP": f"udp:{self.sip_host}:{self.ports['sip']}",
            "MRFC_LISTEN_TCP": f"tcp:{self.sip_host}:{self.ports['sip']}",
            "MRFC_LISTEN_HTTP": f"tcp:127.0.0.1:{self.ports['port']}",
            "MRFC_SCRIPT": f'"{ROOT / "kamailio" / "mrfc_kemi.py"}"',
            "MRFC_CTL": f'"unix:{self.folder / "kamailio.ctl"}"',
            "MRFC_SIP_WORKERS": "1",
        }
        command = [kamailio, "-DD", "-E", "-f", str(ROOT / "kamailio" / "kamailio.cfg")]
        command += ["-m", "64", "-M", "8", "-w", str(self.folder), "-Y", str(self.folder)]
        for name, value in defined.items():
            command += ["-A", f"{name}={value}"]
        return command


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A folder with a secret, and free ports."""
    first, last = port_range(100)
    port, mp, kms, sip = free_ports(4)
    made = Bench(
        tmp_path, ports={"port": port, "mp": mp, "kms": kms, "sip": sip, "first": first, "last": last}
    )
    (tmp_path / "kms.psk").touch(mode=0o600)
    (tmp_path / "kms.psk").write_text(secrets.token_hex(16))
    yield made
    for started in made.running:
        started.end()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """Somebody to notify."""
    listening = Supervisor(tmp_path)
    yield listening
    listening.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk of 256 KB; needs root."""
    mounted: list[Path] = []

    def mount(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
