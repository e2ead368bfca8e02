"""Operators: HTTP on Kamailio's own port, and mrfc-ctl as a process."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sip_peer import Answer, SipPeer

from lab import ROOT, Lab, tool

Peers = Callable[..., SipPeer]


def ask(
    lab: Lab, path: str, body: object = None, token: str = "", method: str = ""
) -> tuple[int, dict[str, Any]]:
    """An HTTP request; gives status and JSON."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{lab.ports.http}{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method or ("GET" if body is None else "POST"),
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


PATH = "/conferences/meeting/participants"


def test_a_call_is_made_and_its_outcome_told(lab: Lab, peer: Peers, token: str) -> None:
    bob = peer("bob", "127.0.0.1")
    status, accepted = ask(lab, PATH, {"uri": bob.address}, token)
    assert status == 202
    call_id = accepted["call_id"]
    invite = bob.incoming("INVITE")
    assert invite["Call-ID"] == call_id
    with urllib.request.urlopen(f"http://127.0.0.1:{lab.ports.http}/calls", timeout=30) as calls:
        assert [call["call_id"] for call in json.load(calls)] == [call_id]
    bob.respond(invite, 180)
    lab.wait_for("ringing", lambda: ask(lab, f"/dial-outs/{call_id}")[1]["state"] == "ringing")
    bob.respond(invite, 486)
    lab.wait_for("the end", lambda: ask(lab, f"/dial-outs/{call_id}")[1]["state"] == "failed")
    assert ask(lab, f"/dial-outs/{call_id}")[1]["status"] == 486
    lab.wait_for("the end of the call", lambda: lab.status()["calls"] == 0)


@pytest.mark.parametrize("given", ["", "wrong", "{token}x"])
def test_strangers(lab: Lab, token: str, given: str) -> None:
    assert ask(lab, PATH, {"uri": "sip:bob@127.0.0.1"}, given.format(token=token))[0] == 401
    assert lab.status()["calls"] == 0


def test_refused(lab: Lab, token: str) -> None:
    assert ask(lab, PATH, {"uri": "tel:1"}, token)[0] == 400
    assert ask(lab, PATH, [], token)[0] == 400
    assert ask(lab, "/conferences/nobody/participants", {"uri": "sip:b@h"}, token)[0] == 404
    assert ask(lab, "/dial-outs/none")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("GET", PATH, "POST"), ("POST", "/dial-outs/x", "GET")]
)
def test_other_methods(lab: Lab, method: str, path: str, allowed: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{lab.ports.http}{path}", method=method)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30).close()
    assert (caught.value.code, caught.value.headers["Allow"]) == (405, allowed)


def ctl(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run mrfc-ctl dial-out."""
    command = [tool("mrfc-ctl"), "dial-out", *arguments]
    command += ["--url", f"http://127.0.0.1:{lab.ports.http}"]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_ctl_waits_for_the_outcome(lab: Lab, peer: Peers, token_file: Path) -> None:
    """Nobody is there who could answer, so the call runs into its limit."""
    bob = peer("bob", "127.0.0.1")
    done = ctl(lab, "meeting", bob.address, "--token-file", str(token_file), "--wait")
    assert done.returncode == 1, done.stderr
    call_id, outcome = done.stdout.splitlines()
    invite = bob.incoming("INVITE")
    assert invite["Call-ID"] == call_id
    bob.respond(invite, 487)
    assert outcome == "failed: 408 Request Timeout"


def test_the_commands_of_the_page(lab: Lab, peer: Peers, token: str, token_file: Path) -> None:
    """Somebody is called by each, who is busy."""
    page = (ROOT / "docs" / "dial-out.md").read_text()
    shown = re.findall(r"^\$ (.*)$", page.replace("\\\n", " "), re.MULTILINE)
    assert [command.split()[0] for command in shown] == ["mrfc-ctl", "curl", "curl"]
    bob = peer("bob", "127.0.0.1")
    bob.answers = {"INVITE": Answer((486,))}
    url = f"http://127.0.0.1:{lab.ports.http}"
    answers: list[str] = []
    for command in shown:
        here = command.replace("http://127.0.0.1:8060", url).replace("sip:bob@example.com", bob.address)
        here = here.replace("operator.token", str(token_file)).replace("Bearer ...", f"Bearer {token}")
        here = re.sub(r"/dial-outs/\S+", lambda _: f"/dial-outs/{json.loads(answers[1])['call_id']}", here)
        here = here.replace("mrfc-ctl", tool("mrfc-ctl")) + (f" --url {url}" if "mrfc-ctl" in here else " -s")
        with subprocess.Popen(["/bin/sh", "-c", here], stdout=subprocess.PIPE, text=True) as shell:
            if "/dial-outs/" not in here:
                bob.incoming("INVITE")
            answers.append(shell.communicate(timeout=60)[0])
    assert answers[0].splitlines()[1].startswith("failed: 486")
    assert json.loads(answers[2])["uri"] == bob.address


def test_ctl_does_not_wait(lab: Lab, peer: Peers, token_file: Path) -> None:
    bob = peer("bob", "127.0.0.1")
    bob.answers = {"INVITE": Answer((486,))}
    done = ctl(lab, "meeting", bob.address, "--token-file", str(token_file))
    assert done.returncode == 0, done.stderr
    assert bob.incoming("INVITE")["Call-ID"] == done.stdout.strip()


def test_ctl_tells_what_is_wrong(lab: Lab, token_file: Path, tmp_path: Path) -> None:
    refused = ctl(lab, "nobody", "sip:b@h", "--token-file", str(token_file))
    assert (refused.returncode, refused.stderr) == (1, "mrfc-ctl: 404 no conference has this URI\n")
    missing = ctl(lab, "meeting", "sip:b@h", "--token-file", str(tmp_path / "none"))
    assert missing.returncode == 1
    assert "cannot be read" in missing.stderr
