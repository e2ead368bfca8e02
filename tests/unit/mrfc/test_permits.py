"""Who may ask, and who may be called."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from focus_world import World, make_world
from hypothesis import given
from hypothesis import strategies as st

from mrfc import config
from mrfc.calls.permits import Permits, invitee
from mrfc.sip.refusal import Cause, Refusal


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(
        tmp_path,
        dial_out={"allow_refer": ["sip:*@a.example", "sip:boss@b.example"], "allow_uri_list": ["*"]},
    )


@pytest.mark.parametrize("uri", ["sip:x@a.example", "sips:x@A.Example:5061;y=z", "sip:boss@b.example"])
def test_may_refer(world: World, uri: str) -> None:
    world.focus.permits.check_referrer(uri)
    world.focus.permits.check_list_sender(uri)


@pytest.mark.parametrize(
    "uri",
    ["sip:x@b.example", "sip:x@sub.a.example", "sip:a.example", "sip:x@a.example@b.example", "tel:1", ""],
)
def test_may_not_refer(world: World, uri: str) -> None:
    with pytest.raises(Refusal) as caught:
        world.focus.permits.check_referrer(uri)
    assert caught.value.cause is Cause.NOT_ALLOWED


def test_own_conferences_are_not_called(world: World) -> None:
    permits: Permits = world.focus.permits
    for uri in (
        "sip:meeting@Conf.example",
        "sip:meeting@192.0.2.7:5060",
        "sip:conf-factory@conf.example;x=1",
    ):
        with pytest.raises(Refusal, match="cannot be a participant"):
            permits.callee(uri)
    assert permits.callee("sip:bob@conf.example") == "sip:bob@conf.example"
    assert permits.callee("sip:meeting@elsewhere.example") == "sip:meeting@elsewhere.example"


def test_a_factory_of_a_reload_is_not_called_either(world: World) -> None:
    permits: Permits = world.focus.permits
    assert permits.callee("sip:rooms@conf.example") == "sip:rooms@conf.example"
    world.config.factory = config.Factory(user="rooms", floors=[])
    with pytest.raises(Refusal, match="cannot be a participant"):
        permits.callee("sip:rooms@conf.example")
    assert permits.callee("sip:conf-factory@conf.example") == "sip:conf-factory@conf.example"


@given(st.text(max_size=60) | st.text(max_size=30).map(lambda end: f"sip:bob@ue.example{end}"))
def test_what_is_called_fits_a_request_line_and_a_header(text: str) -> None:
    with contextlib.suppress(Refusal):
        assert re.fullmatch(r"[!-~]+", found := invitee(text))
        assert not set(found) & set('<>"?\\')
