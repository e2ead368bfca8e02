"""The commands of the operator's pages, run as they stand there against elements that run.

Names and ports of an installation are those of the laboratory here. What belongs to the host (journal, services,
packages) is played by small programs: journalctl shows the logs of the elements, the others say that they were called.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import tool

Operator = Any  # of conftest.py, which tests cannot import

ROOT = Path(__file__).parents[3]
PAGES = ("operations.md", "troubleshooting.md", "metrics.md")
PLAYED = ("systemctl", "timedatectl", "apt-get")
OPERATED = ("drain", "undrain", "kick", "reload")
"""Commands of mrfc-ctl that need the operator's token."""


def blocks() -> Iterator[tuple[str, str]]:
    """Page and text of every block of shell commands."""
    for page in PAGES:
        text = (ROOT / "docs" / page).read_text()
        yield from ((page, block) for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    shown = (ROOT / "docs" / "floors.md").read_text()
    yield from (("floors.md", command) for command in re.findall(r"^\$ (.*)$", shown, re.MULTILINE))


@pytest.fixture(scope="module")
def programs(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs that the pages name."""
    folder: Path = tmp_path_factory.mktemp("programs")
    logs = f"cat {operator.lab.folder}"
    scripts = {
        "journalctl": f'case "$*" in *mrf-kms*) {logs}/kms.log;; esac\n'
        f'case "$*" in *mrfc*) {logs}/mrfc.log;; esac\ncase "$*" in *mrfp-agent*) {logs}/mrfp.log;; esac',
        "mrfc-ctl": f'case "$1" in check) exec {tool("mrfc-ctl")} "$@";;\n'
        f'{"|".join(OPERATED)}) set -- "$@" --token-file {operator.token};; esac\n'
        f'case "$*" in *--trace*) ;; *) set -- "$@" --url {operator.url};; esac\nexec {tool("mrfc-ctl")} "$@"',
        **{name: f'exec {tool(name)} "$@"' for name in ("mrf-kms", "mrfp-agent")},
        **{name: f'echo "{name} $*"' for name in PLAYED},
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def here(command: str, operator: Operator, call_id: str, folder: Path) -> str:
    """The command with the places and ports of the laboratory."""
    ports = operator.lab.ports
    for there, ours in (
        ("/etc/ims-floor-control/", f"{operator.lab.folder}/"),
        ("/var/log/ims-floor-control/*/trace.jsonl", f"{operator.lab.folder}/*trace.jsonl"),
        ("127.0.0.1:8060", f"127.0.0.1:{ports.http}"),
        ("127.0.0.1:8088", f"127.0.0.1:{ports.kms}"),
        ("127.0.0.1:9464", f"127.0.0.1:{ports.mrfp_http}"),
        ("CALL-ID", f"'{call_id}'"),
        ("/tmp/call.svg", f"{folder}/call.svg"),
        ("--wait 3600", "--wait 30"),
    ):
        command = command.replace(there, ours)
    return command


@pytest.fixture(scope="module")
def call_id(operator: Operator) -> str:
    """What has happened before somebody looks: a call that went well, and one that was refused."""
    assert operator.dial_in(0.1).wait(60) == 0
    calls = re.findall(
        r"joined, floor control at .*\[call=(\S+)", (operator.lab.folder / "mrfc.log").read_text()
    )
    refused = operator.dial_in(0.1, conference="nowhere")
    assert refused.wait(60) != 0
    operator.until(lambda: not operator.rows("calls"), "the call to end")
    return str(calls[-1])


@pytest.mark.parametrize(("page", "block"), list(blocks()))
def test_commands_do_what_they_say(
    page: str, block: str, operator: Operator, programs: Path, call_id: str, tmp_path: Path
) -> None:
    for command in block.replace("\\\n", " ").splitlines():
        done = subprocess.run(
            ["/bin/sh", "-c", here(command, operator, call_id, tmp_path)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": f"{programs}:/usr/bin:/bin"},
        )
        assert done.returncode == 0, f"{page}: {command}: {done.stdout}{done.stderr}"
        assert done.stdout, f"{page}: {command} shows nothing"
    if "drain" in block:
        assert operator.ctl("undrain", token=True).returncode == 0


def test_every_page_has_commands() -> None:
    assert {page for page, _ in blocks()} == {*PAGES, "floors.md"}
