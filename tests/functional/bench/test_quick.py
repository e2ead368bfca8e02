"""`script/bench --quick`, as docs/performance.md tells it: the benches in memory, without the set-up before."""

from __future__ import annotations

import re
import subprocess
import sys

from lab import ROOT


def test_benches_in_memory_run() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert re.search(r"^script/bench --quick ", page, re.MULTILINE)
    names = ("mikey_work", "h248_codec")
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "--quick", *names]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().split("\n\n")) >= len(names), done.stdout
