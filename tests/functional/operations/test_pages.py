"""The commands of the operator's pages and of docs/ue.md, run as they stand there against elements that run.

Names and ports of an installation are those of the laboratory here. What belongs to the host (journal, services,
packages) is played by small programs: journalctl shows the logs of the elements, the others say that they were called.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import CALLEE, CALLER, KMS_IDENTITY, tool
from loopback_ports import free_ports

Operator = Any  # of conftest.py, which tests cannot import

ROOT = Path(__file__).parents[3]
PAGES = ("operations.md", "troubleshooting.md", "metrics.md")
UE_DIAL_IN, UE_ANSWER = re.findall(
    r"^```\n(\$ .*?)```", (ROOT / "docs" / "ue.md").read_text(), re.MULTILINE | re.DOTALL
)
"""Commands of mrf-ue, the first with what it shows."""
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


def command_of(block: str) -> str:
    """On one line."""
    return re.sub(r" *\\\n *", " ", block).splitlines()[0].removeprefix("$ ")


def in_the_laboratory(command: str, operator: Operator, local: str, *more: str) -> list[str]:
    """The command with the names and places of the laboratory."""
    ports, folder = operator.lab.ports, operator.lab.folder
    for there, ours in (
        ("sip:conf@mrf.example", operator.lab.conference()),
        ("sip:alice@example", CALLER),
        ("sip:bob@example", CALLEE),
        ("https://kms.example:8443", f"http://127.0.0.1:{ports.kms} --kms-identity {KMS_IDENTITY}"),
        ("192.0.2.10:5060", operator.lab.sip_address),
        ("192.0.2.78:5060", local),
        ("alice.psk", shlex.quote(f"{folder}/alice.psk")),
        ("bob.psk", shlex.quote(f"{folder}/bob.psk")),
    ):
        command = command.replace(there, ours)
    program, *words = shlex.split(command)
    return [tool(program), *words, *more]


def shape(line: str) -> str:
    """Without what differs from call to call."""
    line = re.sub(r"identity \S+", "identity N", line)
    line = re.sub(r"sips?:[^\s;]+", "URI", line)
    return " ".join(re.sub(r"[\d.]+(:\d+|, \d)?", "N", line).split())


def test_dial_in_shows_what_the_page_shows(operator: Operator) -> None:
    """But for times, numbers and names; `...` stands for lines that are left out."""
    words = in_the_laboratory(command_of(UE_DIAL_IN), operator, "", "--local-address", "127.0.0.1")
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [shape(line) for line in UE_DIAL_IN.partition("\n   0")[2].splitlines()]
    came = [shape(line) for line in done.stdout.splitlines()]
    left_out = shown.index(shape("..."))
    assert came[:left_out] == shown[:left_out]
    assert came[-1] == shown[-1]
    assert len(came) > len(shown)


def test_answer_answers(operator: Operator) -> None:
    local = f"127.0.0.1:{free_ports(1)[0]}"
    words = in_the_laboratory(command_of(UE_ANSWER), operator, local)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as answering:
        try:
            assert answering.stdout is not None
            said = answering.stdout.readline()
            asked = operator.ctl("dial-out", "meeting", f"sip:bob@{local}", token=True)
            assert asked.returncode == 0, asked.stderr
            said += answering.communicate(timeout=60)[0]
        finally:
            answering.kill()
    assert answering.returncode == 0, said
    assert "all went well" in said
