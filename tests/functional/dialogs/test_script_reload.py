"""Kamailio reads its script anew while calls stand: everything that has to live on does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_participant import MEETING, Participant, lab_settings

from lab import ROOT, Lab

SCRIPT = ROOT / "kamailio" / "mrfc_kemi.py"
REASON = "Method Not Allowed"


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the script, which the test changes."""
    copy = tmp_path_factory.mktemp("script") / "mrfc_kemi.py"
    copy.write_text(SCRIPT.read_text())
    return copy


@pytest.fixture(scope="module")
def reloading(tmp_path_factory: pytest.TempPathFactory, script: Path) -> Iterator[Lab]:
    """A laboratory that runs the copy."""
    chosen = lab_settings()
    chosen.defines["MRFC_SCRIPT"] = f'"{script}"'
    with Lab(tmp_path_factory.mktemp("reload"), chosen) as running:
        running.start()
        yield running


def reason_of_405(participant: Participant) -> str:
    """What a worker says to a method that it does not serve."""
    participant.request("PUBLISH", MEETING)
    return participant.response("PUBLISH").start.partition("405 ")[2]


def reload(lab: Lab) -> None:
    """Every process reads the script anew before its next callback."""
    kamcmd = ["kamcmd", "-s", f"unix:{lab.folder / 'kamailio.ctl'}", "app_python.reload"]
    subprocess.run(kamcmd, check=True, capture_output=True, timeout=30)


def test_calls_outlive_it(reloading: Lab, script: Path) -> None:
    server = ("127.0.0.1", reloading.ports.sip)
    with (
        Participant(server, "alice") as before,
        Participant(server, "bob") as after,
        Participant(server, "carol") as asking,
    ):
        before.joined("Supported: timer", "Session-Expires: 60;refresher=uac")
        associations = reloading.status()["mrfps"]
        assert reason_of_405(asking) == REASON
        script.write_text(script.read_text().replace(REASON, "Not Served"))
        for _ in range(6):  # also right then, while the engine is in the middle of something
            reload(reloading)
            for _ in range(5):
                before.within("UPDATE", "Supported: timer", "Session-Expires: 60;refresher=uac")
                assert before.response("UPDATE").status == 200
        reloading.wait_for("the new script", lambda: reason_of_405(asking) == "Not Served")
        status = reloading.status()
        assert (status["calls"], status["mrfps"]) == (1, associations)
        after.joined()
        assert reloading.status()["calls"] == 2
        reload(reloading)
        before.close_bearer()  # the engine still ends calls by itself
        before.respond(before.incoming("BYE", 30), 200)
        after.bye()
    reloading.wait_for("the end of all calls", lambda: reloading.status()["calls"] == 0)
