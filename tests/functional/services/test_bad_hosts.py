"""All elements up on a host where something is wrong: they serve what they can, and say what they cannot."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import CALLER, KMS_IDENTITY, Element, Lab, Settings, tool

ELEMENTS = ("kms", "mrfc", "mrfp")
OFF = 600.0
SECONDS = 120.0
CLOCK = """
import os, time
_true, _off = time.time, float(os.environ.get("CLOCK_OFF", "0"))
time.time = lambda: _true() + _off
"""


@contextmanager
def wrong_clock(folder: Path, seconds: float = OFF) -> Iterator[None]:
    """What is started meanwhile has its clock so far ahead: Python reads this file at every start."""
    (folder / "sitecustomize.py").write_text(CLOCK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("CLOCK_OFF", str(seconds))
        yield


def dial_in(lab: Lab, conference: str = "meeting") -> subprocess.CompletedProcess[str]:
    """Alice calls, asks for the floor, gives it back, and hangs up."""
    command = [tool("mrf-ue"), "dial-in", lab.conference(conference), "--proxy", lab.sip_address]
    command += [
        "--local-address",
        "127.0.0.1",
        "--identity",
        CALLER,
        "--kms",
        f"http://127.0.0.1:{lab.ports.kms}",
    ]
    command += [
        "--kms-identity",
        KMS_IDENTITY,
        "--psk-id",
        "alice",
        "--psk-file",
        str(lab.folder / "alice.psk"),
    ]
    command += ["--floor", "1", "--hold", "0.1", "--timeout", "60"]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)


def line_of(lab: Lab, element: Element, pattern: str) -> str:
    """Wait for a line of an element."""
    found = re.compile(pattern)
    lab.wait_for(f"{pattern!r} of {element.name}", lambda: found.search(element.output()))
    return next(line for line in element.output().splitlines() if found.search(line))


def metric(port: int, name: str) -> float:
    """The value of a metric without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    raise LookupError(name)


def test_a_disk_without_room_for_logs_traces_and_replays(
    tmp_path: Path, small_disk: Callable[[str], Path]
) -> None:
    """No call is lost by it, the loss of traces is counted, and it is written again when there is room."""
    disk, folder = small_disk("full"), tmp_path / "lab"
    folder.mkdir()
    for element in ELEMENTS:
        (disk / f"{element}.log").touch()
        (disk / f"{element}.jsonl").touch()
        (folder / f"{element}.log").symlink_to(disk / f"{element}.log")
    settings = Settings(
        kms={"trace": {"file": str(disk / "kms.jsonl")}},
        mrfp={"trace": {"file": str(disk / "mrfp.jsonl")}},
        mrfc={"trace": {"file": str(disk / "mrfc.jsonl")}, "mikey": {"replay_file": str(disk / "replay")}},
        trace=False,
    )
    fill(disk)
    with Lab(folder, settings) as lab:
        lab.start()
        told = dial_in(lab)
        assert told.returncode == 0, told.stderr
        ports = {"kms": lab.ports.kms, "mrfc": lab.ports.http, "mrfp": lab.ports.mrfp_http}
        for element in ELEMENTS:
            assert (disk / f"{element}.log").read_bytes() == b""
            assert (disk / f"{element}.jsonl").read_bytes() == b""
            assert metric(ports[element], f"{element}_trace_events_dropped") > 0
        (disk / "ballast").unlink()
        told = dial_in(lab)
        assert told.returncode == 0, told.stderr
        for element in ELEMENTS:
            lab.wait_for(f"lines of {element}", (disk / f"{element}.log").read_bytes)
            lab.wait_for(f"events of {element}", (disk / f"{element}.jsonl").read_bytes)
        lab.wait_for("the memory of replays", (disk / "replay").read_bytes)


def fill(disk: Path) -> None:
    """To the last octet."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_clocks_ten_minutes_off(tmp_path: Path) -> None:
    """MRFC, MRFP and a UE. The MRFC refuses calls and names the fault, since it can do nothing else; the MRFP does not
    look at the time of day; the UE gets no ticket."""
    folder = tmp_path / "clock"
    folder.mkdir()
    with Lab(tmp_path / "lab") as lab:
        lab.start_kms()
        with wrong_clock(folder):
            mrfc = lab.start_mrfc()
            lab.start_mrfp()
        lab.wait_for("the MRFP to register", lambda: lab.status()["mrfps"] == 1)
        told = dial_in(lab)
        assert told.returncode == 3
        assert "are both clocks set by NTP?" in told.stderr
        line = line_of(lab, mrfc, "INVITE from .* refused")
        assert re.search(
            r"(59|60|61|62)\d s behind this clock, 60 s are accepted: are both clocks set by NTP\?", line
        )
        del lab.elements["mrfc"]
        mrfc.stop()
        lab.start_mrfc()
        lab.wait_for("the MRFP to register", lambda: lab.status()["mrfps"] == 1)
        told = dial_in(lab)
        assert told.returncode == 0, told.stderr
        with wrong_clock(folder):
            told = dial_in(lab)
        assert told.returncode == 4
        assert "MIKEY error 1 (the time: are both clocks set by NTP?)" in told.stderr
