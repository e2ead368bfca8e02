"""Log lines of the MRFC: where each form of them goes."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mrf_ops import logs
from mrf_ops.logs import Form
from mrfc import log_lines
from mrfc.log_lines import FocusLog


class Kept(FocusLog):
    """Kamailio's log is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[int, str]] = []

    def to_kamailio(self, level: int, text: str) -> None:
        self.kept.append((level, text))


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@contextmanager
def standard_error(path: Path | str) -> Iterator[None]:
    """Descriptor 2 leads there meanwhile; pytest itself changes it between the phases of a test."""
    kept, other = os.dup(2), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(other, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(other)


def log(form: Form) -> Kept:
    handler = Kept()
    logs.setup("MRFC", "info", form, handler)
    logging.getLogger("mrfc.worker").warning("a line", extra={"call": "c1"})
    return handler


def test_text_goes_into_kamailios_log(tmp_path: Path) -> None:
    with standard_error(tmp_path / "stderr"):
        assert log("text").kept == [(logging.WARNING, "MRFC worker: a line [call=c1]\n")]
    assert (tmp_path / "stderr").read_text() == ""


def test_json_stands_alone(tmp_path: Path) -> None:
    with standard_error(tmp_path / "stderr"):
        assert log("json").kept == []
    [line] = (tmp_path / "stderr").read_text().splitlines()
    assert (json.loads(line)["message"], json.loads(line)["call"]) == ("a line", "c1")


def test_json_of_a_kamailio_in_the_background_goes_to_the_systems_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system, standard_error(os.devnull):
        system.bind(str(tmp_path / "log"))
        monkeypatch.setattr(log_lines, "_SYSTEM_LOG", str(tmp_path / "log"))
        assert log("json").kept == []
        priority, _, line = system.recv(4096).decode().rstrip("\0").partition("mrfc: ")
    assert priority == "<28>"  # daemon.warning
    assert json.loads(line)["call"] == "c1"


@pytest.mark.parametrize("nobody", ["/dev/full", os.devnull])
def test_who_does_not_get_a_line_costs_that_line_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nobody: str
) -> None:
    """A full disk; no system's log either."""
    monkeypatch.setattr(log_lines, "_SYSTEM_LOG", str(tmp_path / "gone"))
    with standard_error(nobody):
        assert log("json").kept == []
