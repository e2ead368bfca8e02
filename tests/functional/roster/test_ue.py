"""`mrf-ue dial-in --roster` shows who is in the conference."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab import CALLER, KMS_IDENTITY, Lab, tool


def test_the_ue_shows_who_is_there(lab: Lab, tmp_path: Path) -> None:
    key = lab.folder / "alice.psk"
    command = [tool("mrf-ue"), "dial-in", lab.conference(), "--proxy", lab.sip_address, "--identity", CALLER]
    command += ["--kms", f"http://127.0.0.1:{lab.ports.kms}", "--kms-identity", KMS_IDENTITY]
    command += ["--psk-id", "alice", "--psk-file", str(key), "--roster", "--hold", "0.3"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(None, 2)[2] for line in done.stdout.splitlines() if " WHO " in line]
    assert lines[0] == f"+ {CALLER}"
    assert any(line.endswith("holds floor 1") for line in lines)
    assert lines[-1] == "no more is told: timeout"
