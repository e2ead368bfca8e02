"""The demonstration, as a person would start it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab import ROOT

LONGEST = 120.0


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it, without the set-up that script/demo does first."""
    command = [sys.executable, str(ROOT / "script" / "demonstration.py"), "--folder", str(folder), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=LONGEST)


def test_every_step_of_both_procedures(tmp_path: Path) -> None:
    done = demo(tmp_path / "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    for step in range(1, 11):
        assert done.stdout.count(f"({step})") >= 2, f"step {step}"
    assert "every step took place" in done.stdout
    for flow in ("dial-in", "dial-out"):
        assert (tmp_path / "demo" / f"{flow}.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(("element", "name"), [("kms", "KMS"), ("mrfp", "MRFP"), ("mrfc", "MRFC")])
def test_not_without(tmp_path: Path, element: str, name: str) -> None:
    done = demo(tmp_path / "demo", "--without", element)
    assert done.returncode == 1
    assert f"left out: {name}" in done.stdout
    assert "every step took place" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
