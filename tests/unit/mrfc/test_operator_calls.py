"""Dial-outs that an operator asks for over HTTP, up to the engine's answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from focus_world import BOB, World, make_world, response_to

from mrfc.jobs import QueryAnswer, QueryJob
from mrfc.operator import calls as operator_calls
from mrfc.operator.calls import OperatorCalls
from mrfc.operator.queries import DIAL_OUTS, PARTICIPANTS

TOKEN = "0123456789abcdef"


@pytest.fixture
def world(tmp_path: Path) -> World:
    file = tmp_path / "operator.token"
    file.touch(0o600)
    file.write_text(f"{TOKEN}\n")
    return make_world(tmp_path, dial_out={"operator_token_file": file.name, "callees": []})


def operator(world: World) -> OperatorCalls:
    return OperatorCalls(world.config.dial_out, world.store, world.dial_outs, world.focus.permits)


def query(body: str = f'{{"uri": "{BOB}"}}', authorization: str = f"Bearer {TOKEN}") -> QueryJob:
    return QueryJob(1, "POST", "/conferences/meeting/participants", body, authorization)


def content(answer: QueryAnswer) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(answer.body)
    return found


async def test_a_call_and_what_becomes_of_it(world: World) -> None:
    calls = operator(world)
    answer = calls.invite("meeting", query())
    assert answer.status == 202
    call_id = content(answer)["call_id"]
    assert [call.dialog.call_id for call in world.store.calls()] == [call_id]
    assert content(calls.outcome(call_id))["state"] == "calling"
    await world.settle()
    [invite] = world.sip.sent("INVITE")
    world.focus.on_response(response_to(invite, 180))
    assert content(calls.outcome(call_id))["state"] == "ringing"
    world.focus.on_response(response_to(invite, 486))
    assert content(calls.outcome(call_id)) == {
        "call_id": call_id,
        "conference": "meeting",
        "uri": BOB,
        "state": "failed",
        "status": 486,
        "reason": "Reason",
    }


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e4", TOKEN]
)
async def test_strangers(world: World, authorization: str) -> None:
    answer = operator(world).invite("meeting", query(authorization=authorization))
    assert answer.status == 401
    assert answer.headers == (("WWW-Authenticate", 'Bearer realm="mrfc"'),)
    assert TOKEN not in answer.body
    assert not any(world.busy().values())


async def test_closed_as_it_comes(tmp_path: Path) -> None:
    answer = operator(make_world(tmp_path)).invite("meeting", query(authorization="Bearer "))
    assert answer.status == 403
    assert "dial_out.operator_token_file" in content(answer)["error"]


@pytest.mark.parametrize(
    ("user", "body", "status"),
    [
        ("nobody", f'{{"uri": "{BOB}"}}', 404),
        ("conf-factory", f'{{"uri": "{BOB}"}}', 404),
        ("meeting", "", 400),
        ("meeting", "{}", 400),
        ("meeting", "[1]", 400),
        ("meeting", '{"uri": 1}', 400),
        ("meeting", '{"uri": "sip:b@h", "more": 1}', 400),
        ("meeting", '{"uri": "tel:+4930"}', 400),
        ("meeting", '{"uri": "sip:b@h;x\\r\\nEvil: 1"}', 400),
        ("meeting", '{"uri": "sip:b@h?Replaces=1"}', 400),
        ("meeting", '{"uri": "sip:meeting@conf.example"}', 400),
        ("meeting", '{"uri": "sip:' + "b" * 600 + '@h"}', 400),
    ],
)
async def test_refused(world: World, user: str, body: str, status: int) -> None:
    answer = operator(world).invite(user, query(body))
    assert answer.status == status
    assert content(answer)["error"]
    assert not any(world.busy().values())


async def test_a_full_conference(tmp_path: Path, world: World) -> None:
    world.config.limits.participants = 1
    calls = operator(world)
    assert calls.invite("meeting", query()).status == 202
    assert calls.invite("meeting", query()).status == 486


async def test_old_outcomes_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_calls, "REMEMBERED", 2)
    calls = operator(world)
    ids = [content(calls.invite("meeting", query()))["call_id"] for _ in range(3)]
    assert [calls.outcome(call_id).status for call_id in ids] == [404, 200, 200]


def test_paths() -> None:
    found = PARTICIPANTS.fullmatch("/conferences/a%2Fb/participants")
    assert found is not None
    assert found[1] == "a%2Fb"
    assert PARTICIPANTS.fullmatch("/conferences/a/b/participants") is None
    assert DIAL_OUTS == "/dial-outs/"
