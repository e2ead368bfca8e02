"""Lines of users and scripts."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_protocols.bfcp import Priority, RequestStatus
from mrf_ue.commands import (
    Ask,
    AskUser,
    Command,
    CommandError,
    Decide,
    Expect,
    Help,
    Quit,
    Rekey,
    Release,
    SayHello,
    ShowFloors,
    Update,
    Wait,
    Watch,
    parse,
)
from mrf_ue.console import read_script

LINES: dict[str, Command | None] = {
    "": None,
    "  # a comment": None,
    "ask": Ask(),
    "ask 1 2 for 7 priority high because I  must": Ask((1, 2), 7, Priority.HIGH, "I must"),
    "ASK 1": Ask((1,)),
    "ask because": Ask(),
    "release": Release(),
    "release 31": Release(31),
    "floors": ShowFloors(),
    "requests": AskUser(),
    "requests 7": AskUser(7),
    "watch": Watch(),
    "watch none": Watch(()),
    "watch 1 2": Watch((1, 2)),
    "grant": Decide(RequestStatus.GRANTED),
    "grant 3": Decide(RequestStatus.GRANTED, 3),
    "deny 3 not now": Decide(RequestStatus.DENIED, 3, 0, "not now"),
    "revoke time is over": Decide(RequestStatus.REVOKED, None, 0, "time is over"),
    "accept 3 2": Decide(RequestStatus.ACCEPTED, 3, 2),
    "wait 0.5": Wait(0.5),
    "expect granted": Expect(RequestStatus.GRANTED),
    "expect request 5": Expect(None, 5.0),
    "hello": SayHello(),
    "rekey": Rekey(),
    "update": Update(),
    "help": Help(),
    "quit": Quit(),
}


@pytest.mark.parametrize(("line", "command"), LINES.items(), ids=LINES.keys())
def test_commands(line: str, command: Command | None) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    "line",
    [
        "dance",
        "ask 0",
        "ask 70000",
        "ask x",
        "ask for",
        "ask priority urgent",
        "release 1 2",
        "accept 1 300",
        "accept 1 2 3",
        "wait",
        "wait -1",
        "wait nan",
        "expect",
        "expect joy",
        "expect granted soon",
        "floors now",
        "watch 1 none",
        "requests ²",
    ],
)
def test_lines_that_are_no_commands(line: str) -> None:
    with pytest.raises(CommandError):
        parse(line)


@given(st.text())
def test_any_line_is_a_command_or_an_error(line: str) -> None:
    with contextlib.suppress(CommandError):
        assert parse(line) is None or line.strip()


def test_a_script_with_a_fault_is_refused_as_a_whole(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("ask\n\ndance\n")
    with pytest.raises(ValueError, match="line 3: dance is no command"):
        read_script(script)
    script.write_text("ask\nquit\n")
    assert read_script(script) == ("ask", "quit")
