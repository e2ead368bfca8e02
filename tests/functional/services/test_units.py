"""systemd units and logrotate configuration, judged by the programs that will read them."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mrf_ops.trace import JsonLinesSink, TraceEvent

CONFIGS = Path(__file__).parents[3] / "configs"
UNITS = sorted((CONFIGS / "systemd").glob("*.service"))
ROOT = CONFIGS.parent


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as if the programs were installed where INSTALL.md puts them."""
    root = tmp_path / "root"
    root.symlink_to(ROOT)  # a path without the spaces that one's own may have
    for unit in UNITS:
        text = unit.read_text()
        for folder in ("/opt/ims-floor-control/venv/bin/", "/usr/sbin/kamailio"):
            if folder in text and folder.endswith("/"):
                text = text.replace(folder, f"{root}/.venv/bin/")
        text = text.replace("file:/opt/ims-floor-control/INSTALL.md", f"file:{root}/INSTALL.md")
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", [unit.name for unit in UNITS])
def test_systemd_understands_every_line(installed: Path, name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(installed / name)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    complaints = [line for line in done.stderr.splitlines() if name in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


@pytest.mark.parametrize("name", [unit.name for unit in UNITS])
def test_hardening_is_at_least_as_good_as_it_was(name: str) -> None:
    """systemd's own scale: 0 is best, 10 is a service without any protection."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(CONFIGS / "systemd" / name)],
        check=False,
        capture_output=True,
        text=True,
    )
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure is not None, done.stdout + done.stderr
    assert float(exposure[1]) <= 2.0, done.stdout


@pytest.mark.parametrize("name", [unit.name for unit in UNITS])
def test_units_notify_watch_and_do_not_insist_on_a_bad_configuration(name: str) -> None:
    text = (CONFIGS / "systemd" / name).read_text()
    for line in (
        "Type=notify",
        "WatchdogSec=30",
        "RestartPreventExitStatus=78",
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
    ):
        assert line in text.splitlines()
    assert re.search(r"^User=(?!root)", text, re.MULTILINE)
    assert re.search(r"^CapabilityBoundingSet=$", text, re.MULTILINE)


def test_traces_are_rotated_without_losing_an_event(tmp_path: Path) -> None:
    logrotate = shutil.which("logrotate", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert logrotate is not None, "Debian's package logrotate is missing; script/bootstrap --dev installs it"
    folder = tmp_path / "mrfp"
    folder.mkdir(mode=0o750)
    trace = folder / "trace.jsonl"
    sink = JsonLinesSink(trace)
    config = tmp_path / "logrotate.conf"
    shipped = (CONFIGS / "logrotate.conf").read_text()
    config.write_text(
        shipped.replace("/var/log/ims-floor-control", str(tmp_path)).replace("su root root", "")
    )
    config.chmod(0o644)

    def tell(number: int) -> None:
        sink.write(TraceEvent(1.0, "MRFP", f"call-{number}", "local", "", "Mp", "event"))

    def told(path: Path) -> list[str]:
        return [json.loads(line)["correlation"] for line in path.read_text().splitlines()]

    tell(1)
    subprocess.run([logrotate, "--force", "--state", str(tmp_path / "state"), str(config)], check=True)
    sink._look_at = math.inf  # however long that took
    tell(2)  # within the second: still into the old file, which is not compressed yet
    assert told(folder / "trace.jsonl.1") == ["call-1", "call-2"]
    sink._look_at = 0.0  # the second is over
    tell(3)
    assert told(trace) == ["call-3"]
    assert sink.dropped == 0
    sink.close()
