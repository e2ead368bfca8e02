"""The chaired meeting of three people of the README, each a process of its own, on real elements."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from lab import ROOT

SCRIPTS = {
    "carol": """
expect request 20
grant
wait 0.5
revoke time is over
expect request 10
accept
grant
wait 1
""",
    "alice": "ask because I have a question\nexpect granted 10\nexpect revoked 10\nwait 0.2\n",
    "bob": "wait 1.5\nask\nexpect granted 10\nrelease\nexpect released\n",
}


def start(folder: Path, room: Path, person: str) -> subprocess.Popen[str]:
    script = folder / f"{person}.txt"
    script.write_text(SCRIPTS[person])
    command = [sys.executable, str(ROOT / "script" / "meeting_room.py"), person]
    return subprocess.Popen(
        [*command, "--folder", str(room), "--script", str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_chaired_meeting_of_three_people(tmp_path: Path) -> None:
    room = tmp_path / "room"
    chair = start(tmp_path, room, "carol")
    end = time.monotonic() + 30
    while not (room / "meeting.json").exists():
        assert chair.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)  # a poll: the chair's process tells nobody when the room is open
    others = [start(tmp_path, room, person) for person in ("alice", "bob")]
    outputs = [process.communicate(timeout=60)[0] for process in (chair, *others)]
    assert [process.returncode for process in (chair, *others)] == [0, 0, 0], "\n".join(outputs)
    asked = re.search(r'waits for you: request 1 of user \d+ "Alice" <sip:alice@ue.example>', outputs[0])
    assert asked is not None, outputs[0]
    assert '"I have a question"' in outputs[0]
    assert re.search(r'floor 1: held by user \d+ "Alice" \(request 1\)', outputs[2]), outputs[2]
    assert "revoked (time is over)" in outputs[1]
    assert "released" in outputs[2]
    log = (room / "mrfc.log").read_text()
    assert "floor request 1 for 1: Revoked (time is over)" in log


def test_nobody_comes_before_the_chair(tmp_path: Path) -> None:
    early = start(tmp_path, tmp_path / "room", "alice")
    output, _ = early.communicate(timeout=30)
    assert early.returncode == 1
    assert "script/meeting carol" in output
