"""A whole installation on loopback, in one folder: KMS, MRFP and Kamailio as MRFC, each a process of its own.

For the demonstration, the tests and the benches. It writes configuration files like an operator would, provisions the
KMS by its command line, starts the elements in an order in which each finds the other, and ends what it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import loopback_ports
from loopback_ports import MEDIA_COUNT, media_ports

free_ports = loopback_ports.free_ports  # who has a laboratory needs it
ROOT = Path(__file__).resolve().parents[1]
SITE = next((ROOT / ".venv" / "lib").glob("python3*/site-packages"))
DOMAIN = "conf.example"
KMS_IDENTITY = "kms.example"
CALLER = "sip:alice@ue.example"
CALLEE = "sip:bob@127.0.0.1"  # called directly, so that no proxy is needed
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0


class LabError(Exception):
    """An element does not do what it should; the text has the end of its log."""


@dataclass
class Element:
    """One running process and the file with its output."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def check_alive(self) -> None:
        """Raise LabError when the process has ended."""
        if self.process.poll() is not None:
            raise LabError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.output().splitlines()[-lines:])

    def stop(self) -> None:
        """End it politely, then by force."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """kill -9, the children of Kamailio too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Ports:
    """Where everything listens."""

    sip: int
    http: int
    mp: int
    kms: int
    mrfp_http: int
    media: int


@dataclass
class Settings:
    """What differs from lab to lab: tables of configuration files by element, and defines for kamailio.cfg."""

    mrfc: dict[str, Any] = field(default_factory=dict)
    mrfp: dict[str, Any] = field(default_factory=dict)
    kms: dict[str, Any] = field(default_factory=dict)
    defines: dict[str, str] = field(default_factory=dict)
    sip_workers: int = 3
    trace: bool = True


class Lab:
    """Use as a context manager; `start()` starts all elements, or start them one by one."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings or Settings()
        sip, http, mp, kms, mrfp_http = free_ports(5)
        self._media = media_ports()
        self._more_media: list[loopback_ports.Slice] = []
        self.ports = Ports(sip, http, mp, kms, mrfp_http, media=self._media.ports[0])
        self.elements: dict[str, Element] = {}
        self.caller_psk = secrets.token_hex(32)
        self.callee_psk = secrets.token_hex(32)
        self._mrfc_psk = secrets.token_hex(32)
        self._write_configuration()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        for media in (self._media, *self._more_media):
            media.close()

    # what tests and the demonstration ask for

    @property
    def sip_address(self) -> str:
        return f"127.0.0.1:{self.ports.sip}"

    def conference(self, user: str = "meeting") -> str:
        """The URI to dial."""
        return f"sip:{user}@{DOMAIN}"

    def trace_files(self) -> list[Path]:
        return [self.folder / f"{name}-trace.jsonl" for name in ("ue", "ue-b", "mrfc", "kms", "mrfp")]

    def status(self) -> dict[str, Any]:
        """The MRFC's figures."""
        return self._get(f"http://127.0.0.1:{self.ports.http}/status")

    def mrfp_status(self) -> dict[str, Any]:
        """The MRFP's figures."""
        return self._get(f"http://127.0.0.1:{self.ports.mrfp_http}/status")

    def start(self) -> None:
        """All elements, ready for calls."""
        self.start_kms()
        self.start_mrfc()
        self.start_mrfp()
        self.wait_for("the MRFP to register", lambda: self.status()["mrfps"] == 1)

    def start_kms(self) -> Element:
        return self._start(
            "kms",
            [tool("mrf-kms"), "serve", "--config", str(self.folder / "kms.toml")],
            lambda: self._answers(self.ports.kms),
        )

    def start_mrfp(self) -> Element:
        return self._start(
            "mrfp",
            [tool("mrfp-agent"), "run", "--config", str(self.folder / "mrfp.toml")],
            lambda: self._answers(self.ports.mrfp_http),
        )

    def start_another_mrfp(self, name: str) -> Element:
        """One more MRFP, set up like the first but for its name and ports."""
        (http,) = free_ports(1)
        self._more_media.append(media_ports())
        media = self._more_media[-1].ports[0]
        _write_toml(
            self.folder / f"{name}.toml",
            {
                **self.settings.mrfp,
                "mp": {
                    **self.settings.mrfp.get("mp", {}),
                    "mrfcs": [f"127.0.0.1:{self.ports.mp}"],
                    "name": name,
                },
                "media": {"ipv4": "127.0.0.1", "ports": [media, media + MEDIA_COUNT - 1]},
                "http": {"port": http},
            },
            {},
        )
        return self._start(
            name,
            [tool("mrfp-agent"), "run", "--config", str(self.folder / f"{name}.toml")],
            lambda: self._answers(http),
        )

    def start_mrfc(self) -> Element:
        listen = {
            "MRFC_LISTEN_UDP": f"udp:{self.sip_address}",
            "MRFC_LISTEN_TCP": f"tcp:{self.sip_address}",
            "MRFC_LISTEN_HTTP": f"tcp:127.0.0.1:{self.ports.http}",
            "MRFC_SCRIPT": f'"{ROOT / "kamailio" / "mrfc_kemi.py"}"',
            "MRFC_CTL": f'"unix:{self.folder / "kamailio.ctl"}"',
            "MRFC_SIP_WORKERS": str(self.settings.sip_workers),
            **self.settings.defines,
        }
        command = [kamailio(), "-DD", "-E", "-f", str(ROOT / "kamailio" / "kamailio.cfg")]
        command += ["-m", "256", "-M", "16", "-w", str(self.folder), "-Y", str(self.folder)]
        for name, value in listen.items():
            command += ["-A", f"{name}={value}"]
        return self._start("mrfc", command, lambda: self._answers(self.ports.http, "/status"))

    def stop(self) -> None:
        """End all elements, the last one started first."""
        for element in reversed(list(self.elements.values())):
            element.stop()
        self.elements.clear()

    def wait_for(self, what: str, condition: Callable[[], object], timeout: float = READY_TIMEOUT) -> None:
        """Wait until a condition holds, while all elements live. Raises LabError."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            with contextlib.suppress(OSError, KeyError):
                if condition():
                    return
            for element in self.elements.values():
                element.check_alive()
            time.sleep(0.02)  # a poll: elements are processes that tell nobody when they are ready
        logs = "\n".join(f"--- {name}\n{element.tail()}" for name, element in self.elements.items())
        raise LabError(f"waited {timeout:.0f} s for {what} in vain\n{logs}")

    # how it is made

    def _start(self, name: str, command: list[str], ready: Callable[[], object]) -> Element:
        log = self.folder / f"{name}.log"
        environment = dict(os.environ, MRFC_CONFIG=str(self.folder / "mrfc.toml"), MRFC_SITE=str(SITE))
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        element = self.elements[name] = Element(name, process, log)
        self.wait_for(f"{name} to be ready", ready)
        return element

    def _get(self, url: str) -> dict[str, Any]:
        with urllib.request.urlopen(url, timeout=30) as answer:
            data: dict[str, Any] = json.load(answer)
            return data

    def _answers(self, port: int, path: str = "/health") -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2).close()
        except urllib.error.HTTPError:
            return True  # it says that it is not ready for calls, so it is there
        return True

    def _secret(self, name: str, value: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(value + "\n")
        return path

    def _write_configuration(self) -> None:
        ports = self.ports
        self._secret("master.key", secrets.token_hex(32))
        self._secret("mrfc.psk", self._mrfc_psk)
        self._secret("alice.psk", self.caller_psk)
        self._secret("bob.psk", self.callee_psk)
        self._secret("operator.token", secrets.token_urlsafe(24))
        _write_toml(
            self.folder / "kms.toml",
            {
                "http": {"host": "127.0.0.1", "port": ports.kms},
                "kms": {"identity": KMS_IDENTITY},
                "store": {"file": "kms.sqlite", "master_key_file": "master.key"},
                "trace": {**self._trace("kms"), "peers": {"mrfc": "MRFC", "alice": "UE-A", "bob": "UE-B"}},
            },
            self.settings.kms,
        )
        _write_toml(
            self.folder / "mrfp.toml",
            {
                "mp": {"mrfcs": [f"127.0.0.1:{ports.mp}"]},
                "media": {"ipv4": "127.0.0.1", "ports": [ports.media, ports.media + MEDIA_COUNT - 1]},
                "http": {"port": ports.mrfp_http},
                "trace": self._trace("mrfp"),
            },
            self.settings.mrfp,
        )
        floors = [{"id": 1, "streams": ["10"]}, {"id": 2, "streams": ["11"]}]
        _write_toml(
            self.folder / "mrfc.toml",
            {
                "sip": {"domain": DOMAIN, "contact": self.sip_address},
                "kms": {
                    "url": f"http://127.0.0.1:{ports.kms}",
                    "identity": KMS_IDENTITY,
                    "psk_identity": "mrfc",
                    "psk_file": "mrfc.psk",
                },
                "mp": {"port": ports.mp},
                "conference": [{"user": "meeting", "id": 4321, "floors": floors}],
                "factory": {"user": "conf-factory", "floors": floors},
                "dial_out": {"operator_token_file": "operator.token"},
                "trace": self._trace("mrfc"),
            },
            self.settings.mrfc,
        )
        self.provision("mrfc", f"sip:*@{DOMAIN}", self.folder / "mrfc.psk")
        self.provision("alice", CALLER, self.folder / "alice.psk")
        self.provision("bob", CALLEE, self.folder / "bob.psk")

    def _trace(self, name: str) -> dict[str, Any]:
        return {"file": f"{name}-trace.jsonl"} if self.settings.trace else {}

    def provision(self, psk_identity: str, identity: str, psk_file: Path) -> None:
        """Add a user to the KMS, as an operator does."""
        config = str(self.folder / "kms.toml")
        command = [tool("mrf-kms"), "user", "add", psk_identity, "--config", config]
        command += ["--identity", identity, "--psk-file", str(psk_file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"mrf-kms user add failed: {done.stderr}")


def tool(name: str) -> str:
    """The path of one of the project's commands."""
    return str(ROOT / ".venv" / "bin" / name)


def kamailio() -> str:
    """Kamailio's path; /usr/sbin is not in everybody's PATH. Raises LabError when it is not installed."""
    found = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise LabError("kamailio is not installed; script/bootstrap installs it")
    return found


def _write_toml(path: Path, data: dict[str, Any], more: dict[str, Any]) -> None:
    """`more` goes over `data`, key by key; None takes a key out."""
    merged = {
        name: _without_none({**table, **more.get(name, {})})
        if isinstance(table, dict)
        else more.get(name, table)
        for name, table in data.items()
    }
    merged |= {name: table for name, table in more.items() if name not in merged}
    path.write_text("\n".join(_toml_lines(merged)) + "\n")


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def _toml_lines(data: dict[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield f"[{name}]"
            yield from (f"{key} = {_toml_value(item)}" for key, item in value.items())
        else:
            for table in value:
                yield f"[[{name}]]"
                yield from (f"{key} = {_toml_value(item)}" for key, item in table.items())


def _toml_value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(value)  # strings, numbers and booleans are written alike in JSON and TOML


if __name__ == "__main__":  # a lab to play with, until Enter or Ctrl-C
    with Lab(Path(sys.argv[1] if len(sys.argv) > 1 else "run/lab")) as lab:
        lab.start()
        print(f"SIP {lab.sip_address}, KMS http://127.0.0.1:{lab.ports.kms}, files in {lab.folder}")
        with contextlib.suppress(KeyboardInterrupt, EOFError):
            input("Enter ends it. ")
