"""The demonstration: a conference on loopback, UE-A dials in, UE-B is called, and both ladders are drawn from traces.

Started by script/demo. Exits with 0 when every step of both procedures took place, both UEs had the floor, and nothing
was left behind.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from lab import CALLEE, CALLER, KMS_IDENTITY, ROOT, Lab, LabError, tool
from loopback_ports import free_ports
from mrf_ops.ladder import (
    DIAL_IN,
    DIAL_OUT,
    Ladder,
    Procedure,
    build,
    calls,
    check,
    read_events,
    render_svg,
    render_text,
)

UE_TIMEOUT = 60.0
ELEMENTS = {"kms": "KMS (mrf-kms)", "mrfc": "MRFC (Kamailio)", "mrfp": "MRFP (mrfp-agent)"}
FLOWS = {"dial-in": DIAL_IN, "dial-out": DIAL_OUT}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit status."""
    options = _parser().parse_args(arguments)
    shutil.rmtree(options.folder, ignore_errors=True)
    try:
        with Lab(options.folder) as lab:
            _start(lab, options.without)
            good = [run(lab, options, name) for name in options.only or FLOWS]
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    if all(good):
        say("every step took place, the floor was granted and released in every call, nothing is left behind")
    return 0 if all(good) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/demo", description="A secured conference on loopback.")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "run" / "demo", help="where files go (default: %(default)s)"
    )
    parser.add_argument("--only", choices=tuple(FLOWS), action="append", help="one flow instead of both")
    parser.add_argument(
        "--tcp-role",
        choices=("active", "passive"),
        help="who opens TCP: the UEs (active) or the MRFP (passive); default: one of each",
    )
    parser.add_argument("--tls", choices=("1.2", "1.3", "any"), default="any", help="TLS versions of the UEs")
    parser.add_argument(
        "--without", choices=tuple(ELEMENTS), action="append", default=[], help="leave an element out"
    )
    return parser


def _start(lab: Lab, without: Sequence[str]) -> None:
    say(f"starting the elements on loopback; configuration and logs in {_short(lab.folder)}")
    starts = {"kms": lab.start_kms, "mrfc": lab.start_mrfc, "mrfp": lab.start_mrfp}
    for name, start in starts.items():
        if name in without:
            say(f"left out: {ELEMENTS[name]}")
            continue
        element = start()
        print(f"   {ELEMENTS[name]:<20} pid {element.pid}", flush=True)
    if "mrfc" not in without and "mrfp" not in without:
        lab.wait_for("the MRFP to register", lambda: lab.status()["mrfps"] == 1)


def run(lab: Lab, options: argparse.Namespace, flow: str) -> bool:
    """One call, and its ladder; True when all went well."""
    before = {call.correlation for call in calls(read_events(lab.trace_files()))}
    failed = not (dial_in(lab, options) if flow == "dial-in" else dial_out(lab, options))
    if "mrfc" not in options.without and "mrfp" not in options.without:
        lab.wait_for("everything to be given back", lambda: nothing_left(lab))
    found = [call.correlation for call in calls(read_events(lab.trace_files()))]
    new = [correlation for correlation in found if correlation and correlation not in before]
    if not new:
        say(f"no {flow} took place")
        return False
    return draw(lab, flow, FLOWS[flow], new[0]) and not failed


def draw(lab: Lab, flow: str, procedure: Procedure, call_id: str) -> bool:
    """Draw the ladder of a call; True when no step is missing and the floor was granted."""
    events = read_events(lab.trace_files(), call_id)
    ladder = build(events, procedure)
    print(render_text(ladder))
    svg = lab.folder / f"{flow}.svg"
    svg.write_text(render_svg(ladder), encoding="utf-8")
    say(f"the same as a picture: {_short(svg)}")
    missing = check(events, procedure)
    for step in missing:
        say(f"step {step.number} did not take place: {step.title}")
    if not granted(ladder):
        say("the floor was not granted")
    return granted(ladder) and not missing


def dial_in(lab: Lab, options: argparse.Namespace) -> bool:
    """UE-A calls the conference; its own lines go to the terminal."""
    say(f"UE-A dials in to {lab.conference()}, asks for floor 1, holds it a moment, and leaves")
    command = [tool("mrf-ue"), "dial-in", lab.conference()]
    command += ["--identity", CALLER, "--proxy", lab.sip_address, "--local-address", "127.0.0.1"]
    command += ["--psk-id", "alice", "--psk-file", str(lab.folder / "alice.psk")]
    command += ["--tcp-role", options.tcp_role or "actpass", "--name", "UE-A"]
    return _ends_well("UE-A", command + _common(lab, options, "ue"))


def dial_out(lab: Lab, options: argparse.Namespace) -> bool:
    """An operator has UE-B called into the conference; the UE's own lines go to the terminal."""
    [port] = free_ports(1)
    callee = f"{CALLEE}:{port}"
    say(f"UE-B waits for calls; an operator has it called: mrfc-ctl dial-out meeting {callee}")
    command = [tool("mrf-ue"), "answer", "--identity", CALLEE, "--local-address", f"127.0.0.1:{port}"]
    command += ["--psk-id", "bob", "--psk-file", str(lab.folder / "bob.psk")]
    command += ["--tcp-role", options.tcp_role or "active", "--name", "UE-B"]
    waiting = threading.Event()
    answering = subprocess.Popen(
        command + _common(lab, options, "ue-b"), stdout=subprocess.PIPE, text=True, bufsize=1
    )
    reader = threading.Thread(target=_relay, args=(answering, waiting))
    reader.start()
    waiting.wait(UE_TIMEOUT)
    operator = [tool("mrfc-ctl"), "dial-out", "meeting", callee, "--wait"]
    operator += ["--url", f"http://127.0.0.1:{lab.ports.http}"]
    operator += ["--token-file", str(lab.folder / "operator.token")]
    asked = _ends_well("mrfc-ctl", operator)
    try:
        answered = answering.wait(UE_TIMEOUT if asked else 1.0) == 0
    except subprocess.TimeoutExpired:
        answering.kill()
        answered = False
    reader.join()
    return asked and answered


def _relay(process: subprocess.Popen[str], waiting: threading.Event) -> None:
    """Pass the lines of a process on, and tell when it has said the first of them."""
    for line in process.stdout or ():
        print(line, end="", flush=True)
        waiting.set()
    waiting.set()


def _common(lab: Lab, options: argparse.Namespace, trace: str) -> list[str]:
    command = ["--kms", f"http://127.0.0.1:{lab.ports.kms}", "--kms-identity", KMS_IDENTITY]
    command += ["--tls", options.tls, "--floor", "1", "--hold", "0.5"]
    if options.without:
        command += ["--timeout", "3"]  # it cannot come to a good end: no need to wait for it long
    return [*command, "--trace", str(lab.folder / f"{trace}-trace.jsonl")]


def _ends_well(name: str, command: list[str]) -> bool:
    try:
        return subprocess.run(command, check=False, timeout=UE_TIMEOUT).returncode == 0
    except subprocess.TimeoutExpired:
        say(f"{name} did not come to an end within {UE_TIMEOUT:.0f} s")
        return False


def nothing_left(lab: Lab) -> bool:
    """Whether MRFC and MRFP are as they were before the call."""
    mrfc, mrfp = lab.status(), lab.mrfp_status()
    busy = [mrfc["calls"], mrfc["terminations"], mrfc["releasing"], mrfp["contexts"], mrfp["terminations"]]
    return not any(busy)


def granted(ladder: Ladder) -> bool:
    """Whether the UE was given the floor."""
    return any("Granted" in numbered.row.name for numbered in ladder.rows)


def say(text: str) -> None:
    """One line of the story, apart from the elements' own lines."""
    print(f"== {text}", flush=True)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
