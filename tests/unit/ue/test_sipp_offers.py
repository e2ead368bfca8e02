"""`mrf-ue sipp-offers`: what goes into sipp's -inf file."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest

from mrf_protocols import mikey
from mrf_ue.cli import main

CONFERENCE = "sip:conf@mrf.example"


@pytest.fixture
def psk_file(tmp_path: Path) -> Path:
    path = tmp_path / "alice.psk"
    path.write_text("11" * 32)
    path.chmod(0o600)
    return path


def test_one_ticket_for_each_call(psk_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        CONFERENCE,
        "--identity",
        "sip:alice@ue.example",
        "--psk-id",
        "alice",
        "--psk-file",
        str(psk_file),
    ]
    assert main(["sipp-offers", "3", *words]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "SEQUENTIAL"
    assert len(set(lines)) == 3
    for line in lines:
        offer = mikey.TransferResponder(base64.b64decode(line, validate=True), time.time())
        assert (offer.initiator, offer.ticket_key_name) == ("sip:alice@ue.example", "alice")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["0", CONFERENCE], "1 or more"),
        (["1", "tel:+1"], "not a SIP URI"),
        (["1", CONFERENCE, "--kms", "ftp://kms"], "no http or https URL"),
    ],
)
def test_wrong_usage(
    words: list[str], complaint: str, psk_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--identity", "sip:alice@ue.example", "--psk-file", str(psk_file)]
    assert main(["sipp-offers", *words, *more]) == 2
    output = capsys.readouterr()
    assert complaint in output.err
    assert not output.out


def test_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sipp-offers", "1", CONFERENCE, "--identity", "sip:alice@ue.example"]) == 2
    assert "--psk-file" in capsys.readouterr().err
