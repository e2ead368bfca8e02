"""A chaired meeting of three people in three terminals; started by script/meeting."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import KMS_IDENTITY, ROOT, Lab, LabError, Settings, tool

FOLDER = ROOT / "run" / "meeting"
CHAIR = "carol"
PEOPLE = ("alice", "bob", CHAIR)
DOMAIN = "ue.example"
STATE = "meeting.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Join the meeting; the chair also starts and ends it. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="script/meeting", description="A chaired meeting of three people.")
    parser.add_argument("person", choices=PEOPLE, help=f"who you are; {CHAIR}, the chair, comes first")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where files go (default: %(default)s)")
    parser.add_argument("--script", type=Path, help="commands from a file instead of the terminal")
    options = parser.parse_args(arguments)
    if options.person != CHAIR:
        return join(options.folder, options.person, options.script)
    shutil.rmtree(options.folder, ignore_errors=True)
    try:
        with open_room(options.folder) as lab:
            lab.start()
            (options.folder / STATE).write_text(json.dumps({"sip": lab.ports.sip, "kms": lab.ports.kms}))
            token = lab.folder / "operator.token"
            print(f"operators: mrfc-ctl floors --url http://127.0.0.1:{lab.ports.http}; their token: {token}")
            return join(options.folder, CHAIR, options.script)
    except LabError as error:
        print(f"meeting: {error}", file=sys.stderr)
        return 1
    finally:
        (options.folder / STATE).unlink(missing_ok=True)


def open_room(folder: Path) -> Lab:
    """An installation with one conference, whose floor 1 has carol as its chair, and keys for all three."""
    floor = {
        "id": 1,
        "streams": ["10"],
        "algorithm": "chair",
        "chair": f"sip:{CHAIR}@{DOMAIN}",
        "without_chair": "queue",
    }
    conference = [{"user": "meeting", "id": 4321, "floors": [floor]}]
    lab = Lab(folder, Settings(mrfc={"conference": conference}))
    for person in PEOPLE:
        file = folder / f"{person}-ue.psk"
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16) + "\n")
        lab.provision(f"{person}-ue", f"sip:{person}@{DOMAIN}", file)
    return lab


def join(folder: Path, person: str, script: Path | None) -> int:
    """Run this person's UE in the terminal."""
    try:
        ports = json.loads((folder / STATE).read_text())
    except FileNotFoundError:
        print(f"meeting: it has not begun; the chair comes first: script/meeting {CHAIR}", file=sys.stderr)
        return 1
    command = [tool("mrf-ue"), "dial-in", "sip:meeting@conf.example"]
    command += ["--identity", f"sip:{person}@{DOMAIN}", "--proxy", f"127.0.0.1:{ports['sip']}"]
    command += ["--local-address", "127.0.0.1", "--kms", f"http://127.0.0.1:{ports['kms']}"]
    command += ["--kms-identity", KMS_IDENTITY, "--psk-id", f"{person}-ue"]
    command += [
        "--psk-file",
        str(folder / f"{person}-ue.psk"),
        "--name",
        person,
        "--display-name",
        person.title(),
    ]
    command += ["--trace", str(folder / f"{person}-trace.jsonl")]
    command += ["--interactive"] if script is None else ["--script", str(script)]
    if person == CHAIR:
        command.append("--chair")
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
