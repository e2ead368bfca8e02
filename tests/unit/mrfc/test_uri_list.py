"""URI lists in INVITEs: reading them, and what they may ask for."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path

import pytest
from focus_world import Caller, World, make_world
from hypothesis import given
from hypothesis import strategies as st

from mrfc.sip.port import Response
from mrfc.sip.refusal import Cause, Refusal
from mrfc.sip.uri_list import read_list, read_parts, unique

TYPE = 'multipart/mixed;boundary="b-1"'
LIST = """<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:cp="urn:ietf:params:xml:ns:copycontrol">
 <list>
  <entry uri="sip:bob@ue.example" cp:copyControl="to"><display-name>Bob</display-name></entry>
  <entry uri="sip:carol@ue.example" cp:copyControl="bcc" cp:anonymize="true"/>
 </list>
</resource-lists>"""
BOTH = ("sip:bob@ue.example", "sip:carol@ue.example")
SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
SDP_PART = f"Content-Type: application/sdp\r\n\r\n{SDP}"
LIST_HEAD = "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n"
LIST_PART = f"{LIST_HEAD}\r\n{LIST}"


def body(*parts: str) -> str:
    return "".join(f"--b-1\r\n{part}\r\n" for part in parts) + "--b-1--\r\n"


def listed(*uris: str) -> str:
    entries = "".join(f'<entry uri="{uri}"/>' for uri in uris)
    return f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>{entries}</list></resource-lists>'


def cause(content_type: str, text: str, limit: int = 5) -> Cause:
    with pytest.raises(Refusal) as caught:
        read_parts(content_type, text, limit)
    return caught.value.cause


def test_description_and_list() -> None:
    parts = read_parts(TYPE, body(SDP_PART, LIST_PART), 5)
    assert (parts.sdp, parts.uris) == (SDP, BOTH)
    assert read_parts(TYPE, body(LIST_PART, SDP_PART), 5) == parts


def test_several_lists_are_one() -> None:
    """RFC 5363 4.1."""
    more = f"{LIST_HEAD}\r\n{listed('sip:dan@ue.example', 'sip:bob@ue.example')}"
    assert read_parts(TYPE, body(SDP_PART, LIST_PART, more), 5).uris == (*BOTH, "sip:dan@ue.example")


def test_base64_is_undone() -> None:
    coded = base64.b64encode(LIST.encode()).decode()
    part = f"{LIST_HEAD}Content-Transfer-Encoding: base64\r\n\r\n{coded}"
    assert read_parts(TYPE, body(SDP_PART, part), 5).uris == BOTH


def test_hierarchy_and_references_say_nothing() -> None:
    document = LIST.replace(
        "<list>", '<list><list><entry uri="sip:dan@ue.example"/></list><entry-ref ref="x"/>'
    )
    assert read_list(document, 5) == ["sip:dan@ue.example", *BOTH]


def test_parts_that_may_be_ignored_are() -> None:
    extra = "Content-Type: text/plain\r\nContent-Disposition: render;handling=optional\r\n\r\nhello"
    assert read_parts(TYPE, body(SDP_PART, extra, LIST_PART), 5).uris == BOTH


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((SDP_PART, "Content-Type: text/plain\r\n\r\nhello"), Cause.UNSUPPORTED_PART),
        ((SDP_PART, LIST_PART.replace("recipient-list\r\n", "other\r\n")), Cause.UNSUPPORTED_PART),
        ((SDP_PART, LIST_PART.replace("resource-lists+xml", "pidf+xml", 1)), Cause.UNSUPPORTED_PART),
        ((SDP_PART, SDP_PART, LIST_PART), Cause.BAD_LIST),
        ((SDP_PART, LIST_HEAD + "\r\nnot xml"), Cause.BAD_LIST),
        ((SDP_PART, f"{LIST_HEAD}\r\n<list/>"), Cause.BAD_LIST),
        ((SDP_PART, f"{LIST_HEAD}\r\n{LIST.replace(' uri=', ' url=')}"), Cause.BAD_LIST),
        ((SDP_PART, f"{LIST_HEAD}\r\n{listed(*(f'sip:u{i}@h' for i in range(6)))}"), Cause.BAD_LIST),
        ((SDP_PART,) * 17, Cause.BAD_LIST),
    ],
)
def test_bodies_that_cannot_be_served(parts: tuple[str, ...], expected: Cause) -> None:
    assert cause(TYPE, body(*parts)) is expected


def test_other_content_types() -> None:
    assert cause("multipart/alternative;boundary=b-1", body(SDP_PART)) is Cause.UNSUPPORTED_PART
    assert cause("multipart/mixed", body(SDP_PART)) is Cause.BAD_LIST
    assert cause(TYPE, "x" * 70_000) is Cause.BAD_LIST
    assert (
        cause(TYPE, body(SDP_PART, LIST_HEAD + "Content-Transfer-Encoding: base64\r\n\r\n/w=="))
        is Cause.BAD_LIST
    )


def test_the_limit_counts_all_lists() -> None:
    assert cause(TYPE, body(SDP_PART, LIST_PART, LIST_PART), limit=3) is Cause.BAD_LIST


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE a [<!ENTITY e "sip:x@y">]>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE a [<!ENTITY % e SYSTEM "http://127.0.0.1/"> %e;]>',
    ],
)
def test_a_dtd_is_refused(declaration: str) -> None:
    with pytest.raises(Refusal, match="DTD"):
        read_list(declaration + listed("sip:a@h"), 5)


def test_deep_lists_are_refused() -> None:
    document = '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">' + "<list>" * 500
    with pytest.raises(Refusal, match="deep"):
        read_list(document, 5)


def test_one_call_for_one_user() -> None:
    assert unique([("a", "sip:a@h"), ("b", "sip:b@h"), ("a", "sip:a@h;x=1")]) == ("sip:a@h", "sip:b@h")


@given(
    st.sampled_from([TYPE, "multipart/mixed; boundary=", 'a"b', ""]) | st.text(max_size=30),
    st.text(max_size=300),
)
def test_any_body_is_read_or_refused(content_type: str, text: str) -> None:
    with contextlib.suppress(Refusal):
        read_parts(content_type, text, 5)


@given(
    st.lists(st.sampled_from([SDP_PART, LIST_PART, LIST_HEAD, "\r\n", "--b-1", "--b-1--", LIST[:90], "\x00"]))
)
def test_any_mixture_is_read_or_refused(pieces: list[str]) -> None:
    with contextlib.suppress(Refusal):
        parts = read_parts(TYPE, "--b-1\r\n" + "\r\n".join(pieces), 5)
        assert len(parts.uris) <= 5


@given(st.text(max_size=200))
def test_any_document_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Refusal):
        read_list(text, 5)


# --- in the focus


OPEN = {"allow_uri_list": ["sip:alice@ue.example"]}
OPTION = "recipient-list-invite"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, dial_out=OPEN, sip={"ack_timeout": 5.0})


async def created(
    world: World, *parts: str, require: str = OPTION, content_type: str = TYPE, callee: str = "conf-factory"
) -> Response:
    """The answer to a creating INVITE; "SDP" among the parts stands for the offer."""
    caller = Caller(world.kms, callee=f"sip:{callee}@conf.example")
    offer = f"Content-Type: application/sdp\r\n\r\n{caller.offer()}"
    text = body(*(offer if part == "SDP" else part for part in parts))
    world.focus.on_invite(caller.invite(text, content_type=content_type, require=require))
    await world.settle()
    return world.sip.answers[caller.transaction]


@pytest.mark.parametrize("callee", ["conf-factory", "meeting"])
@pytest.mark.parametrize("require", [OPTION, ""])
async def test_all_are_called_when_the_creator_is_in(world: World, require: str, callee: str) -> None:
    response = await created(world, "SDP", LIST_PART, require=require, callee=callee)
    assert response.status == 200
    assert OPTION in dict(response.headers)["Supported"]
    assert [invite.request_uri for invite in world.sip.sent("INVITE")] == list(BOTH)
    assert len({call.conference_user for call in world.store.calls()}) == 1
    assert len(world.store.calls()) == 3


async def test_nobody_is_called_for_a_creator_who_is_refused(world: World) -> None:
    world.mrfp.in_service = False
    assert (await created(world, "SDP", LIST_PART)).status == 503
    assert world.sip.requests == []
    assert not any(world.busy().values())


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        (("SDP",), 400),
        (("SDP", f"{LIST_HEAD}\r\n{listed()}"), 400),
        ((LIST_PART,), 400),
        (("SDP", f"{LIST_HEAD}\r\n{listed('tel:+4930')}"), 400),
        (("SDP", f"{LIST_HEAD}\r\n{listed('sip:b@h&#13;&#10;Evil: 1')}"), 400),
        (("SDP", f"{LIST_HEAD}\r\n{listed('sip:meeting@conf.example')}"), 400),
        (("SDP", "Content-Type: text/html\r\n\r\nx"), 415),
    ],
)
async def test_bad_lists(world: World, parts: tuple[str, ...], status: int) -> None:
    response = await created(world, *parts)
    assert response.status == status
    if status == 415:
        assert "application/resource-lists+xml" in dict(response.headers)["Accept"]
    assert world.sip.requests == []
    assert not any(world.busy().values())


async def test_a_list_without_description_or_at_all(world: World) -> None:
    for content_type in ("application/resource-lists+xml", "application/sdp", ""):
        assert (await created(world, "SDP", content_type=content_type)).status == 400


async def test_closed_the_extension_does_not_exist(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    response = await created(world, "SDP", LIST_PART)
    assert (response.status, dict(response.headers)["Unsupported"]) == (420, OPTION)
    assert (await created(world, "SDP", LIST_PART, require="")).status == 415


async def test_others_may_not(tmp_path: Path) -> None:
    world = make_world(tmp_path, dial_out={"allow_uri_list": ["sip:eve@*"]})
    assert (await created(world, "SDP", LIST_PART)).status == 403
    assert not any(world.busy().values())


async def test_not_in_a_reinvite(world: World) -> None:
    """RFC 5366 5.1."""
    caller = Caller(world.kms)
    world.focus.on_invite(caller.invite())
    await world.settle()
    world.focus.on_ack(caller.ack())
    again = caller.invite(
        body(SDP_PART, LIST_PART), content_type=TYPE, require=OPTION, in_dialog=True, cseq=2
    )
    world.sip.answers.clear()
    world.focus.on_invite(again)
    assert world.sip.answers[again.transaction].status == 420


async def test_a_list_longer_than_the_conference(tmp_path: Path) -> None:
    world = make_world(tmp_path, dial_out=OPEN, limits={"participants": 2}, sip={"ack_timeout": 5.0})
    assert (await created(world, "SDP", LIST_PART)).status == 200
    assert len(world.sip.sent("INVITE")) == 1
