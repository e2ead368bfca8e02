"""The demonstration: a conference on loopback, one UE dials in, and the ladder of the call is drawn from its traces.

Started by script/demo. Exits with 0 when all ten steps took place, the floor was granted, and nothing was left behind.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import CALLER, KMS_IDENTITY, ROOT, Lab, LabError
from mrf_ops.ladder import DIAL_IN, Ladder, build, calls, check, read_events, render_svg, render_text

UE_TIMEOUT = 60.0
ELEMENTS = {"kms": "KMS (mrf-kms)", "mrfc": "MRFC (Kamailio)", "mrfp": "MRFP (mrfp-agent)"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit status."""
    options = _parser().parse_args(arguments)
    shutil.rmtree(options.folder, ignore_errors=True)
    try:
        with Lab(options.folder) as lab:
            return run(lab, options)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/demo", description="A secured conference on loopback.")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "run" / "demo", help="where files go (default: %(default)s)"
    )
    parser.add_argument(
        "--tcp-role", choices=("active", "passive", "actpass"), default="actpass", help="the UE's a=setup"
    )
    parser.add_argument("--tls", choices=("1.2", "1.3", "any"), default="any", help="TLS versions of the UE")
    parser.add_argument(
        "--without", choices=tuple(ELEMENTS), action="append", default=[], help="leave an element out"
    )
    return parser


def run(lab: Lab, options: argparse.Namespace) -> int:
    """Start the elements, make the call, draw it."""
    say(f"starting the elements on loopback; configuration and logs in {_short(lab.folder)}")
    _start(lab, options.without)
    say(f"UE-A dials in to {lab.conference()}, asks for floor 1, holds it a moment, and leaves")
    status = dial_in(lab, options)
    failed = status != 0
    if "mrfc" not in options.without and "mrfp" not in options.without:
        lab.wait_for("everything to be given back", lambda: nothing_left(lab))
    events = read_events(lab.trace_files())
    found = calls(events)
    if not found:
        say("no call took place")
        return 1
    call_id = found[-1].correlation
    events = read_events(lab.trace_files(), call_id)
    ladder = build(events, DIAL_IN)
    print(render_text(ladder))
    svg = lab.folder / "dial-in.svg"
    svg.write_text(render_svg(ladder), encoding="utf-8")
    say(f"the same as a picture: {_short(svg)}")
    missing = check(events, DIAL_IN)
    for step in missing:
        say(f"step {step.number} did not take place: {step.title}")
    if not granted(ladder):
        say("the floor was not granted")
        failed = True
    if failed or missing:
        return 1
    say("all ten steps took place, the floor was granted and released, nothing is left behind")
    return 0


def _start(lab: Lab, without: Sequence[str]) -> None:
    starts = {"kms": lab.start_kms, "mrfc": lab.start_mrfc, "mrfp": lab.start_mrfp}
    for name, start in starts.items():
        if name in without:
            say(f"left out: {ELEMENTS[name]}")
            continue
        element = start()
        print(f"   {ELEMENTS[name]:<20} pid {element.pid}")
    if "mrfc" not in without and "mrfp" not in without:
        lab.wait_for("the MRFP to register", lambda: lab.status()["mrfps"] == 1)


def dial_in(lab: Lab, options: argparse.Namespace) -> int:
    """Run the UE's command line; its lines go to the terminal. Returns its exit status."""
    command = [str(ROOT / ".venv" / "bin" / "mrf-ue"), "dial-in", lab.conference()]
    command += ["--identity", CALLER, "--proxy", lab.sip_address, "--local-address", "127.0.0.1"]
    command += ["--kms", f"http://127.0.0.1:{lab.ports.kms}", "--kms-identity", KMS_IDENTITY]
    command += ["--psk-id", "alice", "--psk-file", str(lab.folder / "alice.psk")]
    command += ["--tcp-role", options.tcp_role, "--tls", options.tls, "--floor", "1", "--hold", "0.5"]
    command += ["--name", "UE-A", "--trace", str(lab.trace_files()[0])]
    try:
        return subprocess.run(command, check=False, timeout=UE_TIMEOUT).returncode
    except subprocess.TimeoutExpired:
        say(f"the UE did not come to an end within {UE_TIMEOUT:.0f} s")
        return 1


def nothing_left(lab: Lab) -> bool:
    """Whether MRFC and MRFP are as they were before the call."""
    mrfc, mrfp = lab.status(), lab.mrfp_status()
    busy = [mrfc["calls"], mrfc["terminations"], mrfc["releasing"], mrfp["contexts"], mrfp["terminations"]]
    return not any(busy)


def granted(ladder: Ladder) -> bool:
    """Whether the UE was given the floor."""
    return any("Granted" in numbered.row.name for numbered in ladder.rows)


def say(text: str) -> None:
    """One line of the story, before the elements' own lines."""
    print(f"== {text}", flush=True)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
