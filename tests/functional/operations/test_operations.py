"""mrfc-ctl as a person uses it, with a conference that stands."""

from __future__ import annotations

import json
from typing import Any

Operator = Any  # of conftest.py, which tests cannot import
Participant = Any


def holds_the_floor(operator: Operator) -> bool:
    return any(floor["holders"] for floor in operator.rows("floors"))


def test_lists_of_a_standing_conference(operator: Operator, participant: Participant) -> None:
    participant()
    operator.until(lambda: holds_the_floor(operator), "a floor that is held")
    [call] = operator.rows("calls")
    assert (call["conference"], call["user"], call["remote"]) == ("meeting", 1, "sip:alice@ue.example")
    [conference] = operator.rows("conferences")
    assert (conference["user"], conference["participants"]) == ("meeting", 1)
    [mrfp] = operator.rows("mrfps")
    assert mrfp["in_service"] is True
    shown = operator.ctl("calls").stdout
    assert shown.splitlines()[0].split() == [
        "CALL_ID",
        "CONFERENCE",
        "USER",
        "REMOTE",
        "STATE",
        "TERMINATION",
        "SECURED",
        "MIXER",
    ]
    assert "sip:alice@ue.example" in shown
    assert "alice" in operator.ctl("floors").stdout
    page = operator.get("/metrics")[1]
    assert 'mrfc_floor_requests{state="granted"} 1.0' in page
    assert 'mrfc_mrfps{state="in_service"} 1.0' in page


def test_trace_and_ladder_of_a_recent_call(operator: Operator, participant: Participant) -> None:
    participant()
    operator.until(lambda: holds_the_floor(operator), "a floor that is held")
    call_id = operator.rows("calls")[0]["call_id"]
    assert operator.ctl("trace").stdout.splitlines()[0] == call_id
    told = operator.ctl("trace", call_id).stdout
    assert "<- UE" in told
    assert "SIP   INVITE" in told
    assert "Add request: Configure BFCP Termination" in told
    events = json.loads(operator.ctl("trace", call_id, "--json").stdout)
    assert {event["correlation"] for event in events} == {call_id}
    ladder = operator.ctl("ladder", call_id)
    assert ladder.returncode == 0
    assert "RESOLVE_INIT_PSK" in ladder.stdout
    unknown = operator.ctl("ladder", "nobody@example")
    assert unknown.returncode == 1
    assert "no events of nobody@example among the recent calls" in unknown.stderr


def test_drain_refuses_new_calls_and_leaves_the_others(operator: Operator, participant: Participant) -> None:
    participant()
    operator.until(lambda: holds_the_floor(operator), "a floor that is held")
    try:
        assert operator.ctl("drain", token=True).stdout == "no new calls from now on; 1 calls stand\n"
        late = participant("carol", hold=0.1)
        said, _ = late.communicate(timeout=60)
        assert late.returncode == 3
        assert "503" in said
        status, body, _ = operator.get("/ready")
        assert (status, json.loads(body)) == (503, {"status": "draining: no new calls"})
        assert operator.get("/live")[0] == 200
        assert len(operator.rows("calls")) == 1
        waited = operator.ctl("drain", "--wait", "0.1", token=True)
        assert waited.returncode == 1
        assert "1 calls are left after 0.1 s" in waited.stderr
    finally:
        assert operator.ctl("undrain", token=True).stdout == "new calls are taken again\n"
    assert operator.get("/ready")[0] == 200
    served = participant("carol", hold=0.1)
    operator.until(lambda: len(operator.rows("calls")) == 2, "carol's call")
    assert served.poll() is None


def test_kick_ends_one_call(operator: Operator, participant: Participant) -> None:
    alice = participant()
    operator.until(lambda: holds_the_floor(operator), "a floor that is held")
    call_id = operator.rows("calls")[0]["call_id"]
    assert operator.ctl("kick", call_id, token=True).stdout == "1 call ended\n"
    said, _ = alice.communicate(timeout=60)
    assert alice.returncode == 3, said
    again = operator.ctl("kick", call_id, token=True)
    assert (again.returncode, again.stderr) == (1, "mrfc-ctl: 404 no call has this Call-ID\n")


def test_only_who_has_the_token_changes_anything(operator: Operator, tmp_path: Any) -> None:
    wrong = tmp_path / "wrong.token"
    wrong.touch(mode=0o600)
    wrong.write_text("guess")
    for command in (["drain"], ["undrain"], ["kick", "x"], ["reload"]):
        done = operator.ctl(*command, "--token-file", str(wrong))
        assert (done.returncode, done.stderr) == (1, "mrfc-ctl: 401 a bearer token is needed\n")
    wrong.chmod(0o644)
    assert "is open to everybody" in operator.ctl("reload", "--token-file", str(wrong)).stderr


def test_reload_while_a_call_stands(operator: Operator, participant: Participant) -> None:
    participant()
    operator.until(lambda: holds_the_floor(operator), "a floor that is held")
    path = operator.lab.folder / "mrfc.toml"
    before = path.read_text()
    more = '[[conference]]\nuser = "board"\nid = 77\nfloors = [{id = 1, streams = ["10"]}]\n'
    try:
        path.write_text(before.replace("[mp]", "[mp]\ntimeout = 4.0") + more)
        done = operator.ctl("reload", token=True)
        assert done.stdout == (
            "changed: conference\nnot used before a restart of Kamailio, which ends all calls: mp.timeout\n"
        )
        assert {row["user"] for row in operator.rows("conferences")} == {"meeting", "board"}
        path.write_text(before.replace("[mp]", "[mp]\ntimeuot = 4.0"))
        faulty = operator.ctl("reload", token=True)
        assert faulty.returncode == 1
        assert "mp.timeuot: is not a known key" in faulty.stderr
        assert {row["user"] for row in operator.rows("conferences")} == {"meeting", "board"}
    finally:
        path.write_text(before)
        operator.ctl("reload", token=True)
    assert [row["user"] for row in operator.rows("conferences")] == ["meeting"]
    assert holds_the_floor(operator)
