"""`mrf-ue trunk-test` against sipp, a stack that is not ours, which breaks rules: the report says which."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_tables import is_bound

from lab import ROOT, tool
from loopback_ports import free_ports

LONGEST = 60.0
SCENARIO = Path(__file__).with_name("sipp") / "answers_badly.xml"
CASES = ("options", "unknown-require", "bye-no-dialog", "everything", "lost-ack", "unknown-method")


@pytest.fixture(scope="module", params=["udp", "tcp"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A trunk that answers badly."""
    folder = tmp_path_factory.mktemp("bad")
    [port] = free_ports(1)
    command = ["sipp", "-sf", str(SCENARIO), "-i", "127.0.0.1", "-p", str(port), "-nostdin"]
    command += ["-t", {"udp": "u1", "tcp": "t1"}[request.param]]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "dumb"}
    ) as trunk:
        end = time.monotonic() + LONGEST
        while not is_bound(request.param, port):
            assert time.monotonic() < end, "sipp does not listen"
            time.sleep(0.02)  # a poll: sipp tells nobody when it listens
        yield f"sip:conf@127.0.0.1:{port};transport={request.param}"
        trunk.kill()


def trunk_test(*words: str) -> subprocess.CompletedProcess[str]:
    command = [tool("mrf-ue"), "trunk-test", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=LONGEST)


def test_what_it_breaks_is_told(target: str) -> None:
    cases = [word for name in CASES for word in ("--case", name)]
    done = trunk_test(target, *cases, "--timeout", "6", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    told = {case["name"]: case for case in found["cases"]}
    assert {name: case["verdict"] for name, case in told.items()} == {
        "options": "warning",
        "unknown-require": "fail",
        "bye-no-dialog": "fail",
        "everything": "fail",
        "lost-ack": "fail",
        "unknown-method": "fail",
    }
    texts = {name: [finding["text"] for finding in case["findings"]] for name, case in told.items()}
    assert "no Allow in the 200" in texts["options"]
    assert "200 OK, where 481 is due" in texts["bye-no-dialog"]
    assert "1 m-lines answer 3" in texts["everything"]
    assert "the 200 is not repeated while its ACK is missing" in texts["lost-ack"]
    assert texts["unknown-method"] == ["no final response to UNHEARDOF in 6 s"]
    assert found["media"]["audio, video, BFCP"] == ["audio RTP/AVP: G729/8000"]
    repeated = {repeat["name"] for repeat in told["unknown-method"]["repeats"]}
    assert repeated == ({"UNHEARDOF"} if "udp" in target else set())


def test_the_page_shows_the_report_of_such_a_trunk(target: str) -> None:
    """What docs/trunk-test.md shows of a trunk that breaks a rule is what comes, but for times and addresses."""
    page = (ROOT / "docs" / "trunk-test.md").read_text()
    blocks = re.findall(r"```(\w*)\n(.*?)```", page, re.DOTALL)
    [shown] = [block for kind, block in blocks if not kind and "FAIL " in block]
    done = trunk_test(target, "--case", "bye-no-dialog")
    assert done.returncode == 1
    assert shape(done.stdout) == shape(shown)


def shape(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"trunk test of \S+ over \w+", "trunk test", text)
    text = re.sub(r"(from|to)=\S+", "", text)
    text = re.sub(r"\d+\.\d+", "N", text)
    return re.sub(r"[ \n]+", " ", text).strip()
