"""Log lines as JSON, of all elements as processes: every line about a call names it, its conference and its user."""

from __future__ import annotations

import json
import re
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from lab import CALLER, DOMAIN, KMS_IDENTITY, Lab, Settings, tool

Line = dict[str, Any]
ELEMENTS = ("kms", "mrfc", "mrfp")
SECONDS = 120.0
OF_SOMEBODY = re.compile(r"sips?:|\bbfcp/|INVITE|Termination|TRANSFER_|RESOLVE_|REQUEST_|Call-ID")
"""Words of messages that are about somebody's call."""
OF_A_CONFERENCE = re.compile(r"floor \d+: held by")
ROOMS = (("meeting", "4321"), ("second", "4322"))
AS_JSON = {"log": {"form": "json"}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Everything up, with room for one conference at the MRFP."""
    mrfp = {**AS_JSON, "limits": {"contexts": 1, "terminations": 50}}
    conferences = [
        {"user": user, "id": int(number), "floors": [{"id": 1, "streams": ["10"]}]} for user, number in ROOMS
    ]
    settings = Settings(mrfc={**AS_JSON, "conference": conferences}, mrfp=mrfp, kms=AS_JSON)
    with Lab(tmp_path_factory.mktemp("json"), settings) as started:
        started.start()
        yield started


def ue(lab: Lab, conference: str, hold: float) -> subprocess.Popen[str]:
    """Alice dials in and asks for the floor."""
    command = [tool("mrf-ue"), "dial-in", lab.conference(conference), "--proxy", lab.sip_address]
    command += ["--local-address", "127.0.0.1", "--identity", CALLER]
    command += ["--kms", f"http://127.0.0.1:{lab.ports.kms}", "--kms-identity", KMS_IDENTITY]
    command += ["--psk-id", "alice", "--psk-file", str(lab.folder / "alice.psk"), "--floor", "1"]
    command += ["--hold", str(hold), "--timeout", "60"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what it has complained about."""
    _, complaint = process.communicate(timeout=SECONDS)
    return process.returncode, complaint


def lines(lab: Lab, element: str) -> list[Line]:
    """What an element has logged; lines that are Kamailio's own are none of ours."""
    found = []
    # the last line may not be complete yet
    whole, _, _ = (lab.folder / f"{element}.log").read_text().rpartition("\n")
    for text in whole.split("\n"):
        if text.startswith("{"):
            found.append(json.loads(text))
        else:
            assert element == "mrfc", text
            assert "MRFC" not in text, text
            assert "sr_kemi" not in text, text
    return found


def of_call(lab: Lab, element: str, call: str) -> list[Line]:
    return [line for line in lines(lab, element) if line.get("call") == call]


def call_of(lab: Lab, words: str) -> str:
    """The Call-ID of the only line of the MRFC with these words."""
    lab.wait_for(words, lambda: [line for line in lines(lab, "mrfc") if words in line["message"]])
    [line] = [line for line in lines(lab, "mrfc") if words in line["message"]]
    return str(line["call"])


def every_line_names_whom_it_is_about(lab: Lab) -> None:
    for element in ELEMENTS:
        for line in lines(lab, element):
            assert {"time", "level", "element", "logger", "message"} <= line.keys()
            assert line["element"] == element.upper()
            if "call" not in line:
                assert not OF_SOMEBODY.search(line["message"]), line
                assert not OF_A_CONFERENCE.search(line["message"]) or line["bfcp_conference"], line
                continue
            assert line.get("user"), line
            if element == "kms":
                assert re.search(rf"sip:\w+@{DOMAIN}", line["initiator"] + line["responder"]), line
            elif element == "mrfp":
                assert line["bfcp_conference"].isdigit(), line
            else:
                assert line["conference"], line
                assert line.get("bfcp_conference") == dict(ROOMS).get(line["conference"]), line


def test_a_call_is_found_on_all_elements_by_one_id(lab: Lab) -> None:
    assert ended(ue(lab, "meeting", 0.1)) == (0, "")
    call = call_of(lab, "joined, floor control at")
    lab.wait_for("the record of the call", lambda: "alice@ue.example left" in str(of_call(lab, "mrfc", call)))
    users = {element: {line["user"] for line in of_call(lab, element, call)} for element in ELEMENTS}
    assert users == {"kms": {"alice", "mrfc"}, "mrfc": {"1"}, "mrfp": {"1"}}
    assert {line["bfcp_conference"] for line in of_call(lab, "mrfp", call)} == {"4321"}
    every_line_names_whom_it_is_about(lab)
    command = [tool("mrfc-ctl"), "ladder", call, "--trace", *map(str, lab.trace_files())]
    drawn = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "RESOLVE_INIT_PSK" in drawn.stdout


def test_refused_calls(lab: Lab) -> None:
    """By the MRFC for its conference, by the MRFP for want of room, by a SIP worker for what cannot be read."""
    assert ended(ue(lab, "nowhere", 0.1))[0] == 3
    refused = call_of(lab, "for sip:nowhere@conf.example refused")
    [line] = of_call(lab, "mrfc", refused)
    assert (line["conference"], line["user"], line["level"]) == ("nowhere", CALLER, "warning")
    assert {line["responder"] for line in of_call(lab, "kms", refused)} == {lab.conference("nowhere")}

    holder = ue(lab, "meeting", 3600.0)
    try:
        lab.wait_for("the first call", lambda: lab.mrfp_status()["established"] == 1)
        assert ended(ue(lab, "second", 0.1))[0] == 3
    finally:
        holder.send_signal(signal.SIGINT)
        ended(holder)
    lab.wait_for(
        "the refusal",
        lambda: [line for line in lines(lab, "mrfp") if "Termination refused" in line["message"]],
    )
    [full] = [line for line in lines(lab, "mrfp") if "Termination refused" in line["message"]]
    assert full["message"].startswith("Mp: Configure BFCP Termination refused")
    assert (full["bfcp_conference"], full["user"]) == ("4322", "1")
    [told] = [line for line in of_call(lab, "mrfc", full["call"]) if "INVITE from" in line["message"]]
    assert (told["conference"], told["bfcp_conference"], told["user"]) == ("second", "4322", "1")

    every_line_names_whom_it_is_about(lab)

    call = f"{secrets.token_hex(8)}@127.0.0.1"
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.connect(("127.0.0.1", lab.ports.sip))
        host, port = stranger.getsockname()
        stranger.send(
            f"INVITE {lab.conference()} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK1\r\n"
            f"From: <{CALLER}>;tag=1\r\nTo: <{lab.conference()}>\r\nCall-ID: {call}\r\nCSeq: 2147483648 INVITE\r\n"
            f"Contact: <sip:alice@{host}:{port}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
        )
    lab.wait_for("the worker's line", lambda: of_call(lab, "mrfc", call))
    [line] = of_call(lab, "mrfc", call)
    assert "is malformed: CSeq is out of its range" in line["message"]
    assert (line["conference"], line["user"]) == ("meeting", CALLER)
