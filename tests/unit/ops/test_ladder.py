"""The ladder: two ends into one row, steps numbered, missing steps found, and how both pictures look."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrf_ops.ladder import DIAL_IN, DIAL_OUT, Row, build, check, pair, render_svg, render_text
from mrf_ops.trace import Kind, ListSink, TraceEvent, Tracer

GOLDEN = Path(__file__).with_name("dial_in.ladder.txt")
START = 1_900_000_000.0


def event(
    time: float, element: str, kind: Kind, peer: str, name: str = "INVITE", key: str = "1", **fields: str
) -> TraceEvent:
    return TraceEvent(START + time, element, "call", kind, peer, "SIP", name, key, fields)


def ends(rows: list[Row]) -> list[tuple[str, str, str]]:
    return [(row.source, row.target, row.seen) for row in rows]


# --- pairing


def test_two_ends_make_one_row() -> None:
    sent = event(1, "UE-A", "sent", "MRFC", sdp="offer", to="conf")
    received = event(1.25, "MRFC", "received", "UE-A", sdp="as parsed", contact="c")
    (row,) = pair([received, sent])
    assert (row.source, row.target, row.seen, row.time, row.delay) == (
        "UE-A",
        "MRFC",
        "both",
        START + 1,
        0.25,
    )
    assert row.fields == {"sdp": "offer", "to": "conf", "contact": "c"}


def test_receiver_quicker_to_note_than_sender() -> None:
    rows = pair(
        [
            event(1.0, "MRFC", "received", "UE-A"),
            event(1.1, "MRFC", "sent", "KMS", "RESOLVE"),
            event(1.2, "UE-A", "sent", "MRFC"),
        ]
    )
    assert [row.name for row in rows] == ["INVITE", "RESOLVE"]
    assert (rows[0].time, rows[0].delay) == (START + 1.0, 0.0)


def test_foreign_peers_tell_nothing() -> None:
    assert ends(pair([event(1, "UE-A", "sent", "MRFC")])) == [("UE-A", "MRFC", "source")]
    assert ends(pair([event(1, "MRFC", "received", "UE-A")])) == [("UE-A", "MRFC", "target")]
    assert ends(pair([event(1, "MRFC", "local", "")])) == [("MRFC", "MRFC", "local")]
    assert ends(pair([event(1, "MRFC", "sent", "")])) == [("MRFC", "?", "source")]


def test_names_of_the_ends_come_from_the_ends() -> None:
    rows = pair([event(1, "alice", "sent", "proxy"), event(2, "MRFC", "received", "UE-A")])
    assert ends(rows) == [("alice", "MRFC", "both")]


def test_retransmissions_pair_in_order_and_the_lost_one_stays_single() -> None:
    rows = pair(
        [
            event(0.0, "UE-A", "sent", "MRFC"),
            event(0.5, "UE-A", "sent", "MRFC"),
            event(1.5, "UE-A", "sent", "MRFC"),
            event(0.1, "MRFC", "received", "UE-A"),
            event(0.6, "MRFC", "received", "UE-A"),
        ]
    )
    assert [row.seen for row in rows] == ["both", "both", "source"]
    assert [row.delay for row in rows[:2]] == pytest.approx([0.1, 0.1], abs=1e-6)


def test_key_and_protocol_keep_messages_apart() -> None:
    rows = pair([event(1, "UE-A", "sent", "MRFC", key="1"), event(2, "MRFC", "received", "UE-A", key="2")])
    assert [row.seen for row in rows] == ["source", "target"]


def test_nobody_is_paired_with_himself() -> None:
    rows = pair([event(1, "MRFC", "sent", "MRFP"), event(2, "MRFC", "received", "MRFP")])
    assert ends(rows) == [("MRFC", "MRFP", "source"), ("MRFP", "MRFC", "target")]


elements = st.sampled_from(["UE-A", "MRFC", "KMS", "MRFP"])
events_of_any_kind = st.builds(
    TraceEvent,
    time=st.floats(0, 100),
    element=elements,
    correlation=st.just("call"),
    kind=st.sampled_from(["sent", "received", "local"]),
    peer=st.one_of(elements, st.text(max_size=8)),
    protocol=st.sampled_from(["SIP", "Mp", "", "other"]),
    name=st.one_of(st.sampled_from(["INVITE", "Add reply"]), st.text(max_size=80)),
    key=st.sampled_from(["", "1"]),
    fields=st.dictionaries(st.text(max_size=5), st.text(max_size=300), max_size=3),
)


@given(st.lists(events_of_any_kind, max_size=30))
def test_each_event_is_in_one_row_and_every_picture_can_be_drawn(events: list[TraceEvent]) -> None:
    rows = pair(events)
    assert sum(2 if row.seen == "both" else 1 for row in rows) == len(events)
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    ladder = build(events, DIAL_IN)
    assert len(ladder.rows) == len(rows)
    text = render_text(ladder)
    assert all(letter.isprintable() for line in text.split("\n") for letter in line)
    ET.fromstring(render_svg(ladder))


# --- steps


def test_ten_steps_in_order(dial_in: list[TraceEvent]) -> None:
    numbered = build(dial_in, DIAL_IN).rows
    assert [entry.step.number for entry in numbered if entry.step and entry.first] == list(range(1, 11))
    by_name = {entry.row.name: entry.step.number if entry.step else None for entry in numbered}
    assert by_name["RESOLVE_RESP"] == 3
    assert by_name["200 OK (INVITE)"] == 9
    assert by_name["TLS established"] == 10
    assert [by_name[name] for name in ("100 Trying (INVITE)", "ACK", "BYE", "Subtract reply")] == [None] * 4
    assert check(dial_in, DIAL_IN) == []


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("TRANSFER_INIT", 1),
        ("INVITE", 2),
        ("RESOLVE_INIT_PSK", 3),
        ("RESOLVE_RESP", 3),
        ("Add request: Configure BFCP Termination", 4),
        ("local address seized", 5),
        ("Add reply", 6),
        ("TCP connect", 7),
        ("TRANSFER_RESP and SDP answer built", 8),
        ("200 OK (INVITE)", 9),
        ("ClientHello", 10),
        ("TLS established", 10),
    ],
)
def test_a_step_without_its_message_is_missing(dial_in: list[TraceEvent], name: str, step: int) -> None:
    events = [event for event in dial_in if event.name != name]
    assert len(events) < len(dial_in)
    assert [missing.number for missing in check(events, DIAL_IN)] == [step]
    ladder = build(events, DIAL_IN)
    assert [missing.number for missing in ladder.missing] == [step]
    assert f"missing: step {step}," in render_text(ladder)
    assert f"Missing: step {step}," in render_svg(ladder)


def test_self_made_ticket_needs_no_request(dial_in: list[TraceEvent]) -> None:
    assert check([event for event in dial_in if not event.name.startswith("REQUEST")], DIAL_IN) == []


def test_tcp_opened_by_the_ue_is_step_7_too(dial_in: list[TraceEvent]) -> None:
    turned = {"sent": "received", "received": "sent"}
    events = [
        TraceEvent(e.time, e.element, e.correlation, turned[e.kind], e.peer, e.protocol, e.name, e.key)  # type: ignore[arg-type] # one of two literals
        if e.name == "TCP connect"
        else e
        for e in dial_in
    ]
    assert check(events, DIAL_IN) == []


def test_tls_in_the_wrong_direction_is_no_step_10(dial_in: list[TraceEvent]) -> None:
    assert [step.number for step in check(dial_in, DIAL_OUT) if step.number == 13] == [13]


def test_a_ue_by_another_name_takes_its_column() -> None:
    events = [event(0, "alice", "sent", "MRFC"), event(1, "MRFC", "sent", "KMS", "x")]
    ladder = build(events, DIAL_IN)
    assert ladder.columns == ("alice", "MRFC", "KMS", "MRFP")
    assert ladder.rows[0].step is not None


def test_a_silent_ue_has_one_column_whatever_the_others_call_it() -> None:
    events = [event(0, "MRFC", "received", "UE"), event(1, "MRFP", "sent", "192.0.2.1", "x")]
    assert build(events, DIAL_IN).columns == ("UE-A", "MRFC", "KMS", "MRFP")
    assert ends([entry.row for entry in build(events, DIAL_IN).rows]) == [
        ("UE-A", "MRFC", "target"),
        ("MRFP", "UE-A", "source"),
    ]
    telling = [*events, event(2, "alice", "local", "", "TRANSFER_INIT")]
    assert build(telling, DIAL_IN).columns == ("alice", "MRFC", "KMS", "MRFP")


def test_further_elements_come_to_the_right() -> None:
    events = [
        event(0, "UE-A", "sent", "proxy"),
        event(1, "UE-B", "sent", "MRFC"),
        event(2, "MRFC", "sent", ""),
    ]
    assert build(events, DIAL_IN).columns == ("UE-A", "MRFC", "KMS", "MRFP", "proxy", "UE-B", "?")


def test_no_events_at_all() -> None:
    ladder = build([], DIAL_IN)
    assert len(ladder.missing) == 10
    assert "10 missing" in render_text(ladder)
    ET.fromstring(render_svg(ladder))


# --- pictures


def test_text_is_as_drawn_by_hand(dial_in: list[TraceEvent]) -> None:
    assert render_text(build(dial_in, DIAL_IN), width=140) == GOLDEN.read_text()


@pytest.mark.parametrize("width", [132, 140, 160])
def test_text_keeps_to_its_width(dial_in: list[TraceEvent], width: int) -> None:
    lines = render_text(build(dial_in, DIAL_IN), width=width).splitlines()
    assert max(map(len, lines)) <= width


def test_colours_change_nothing_else(dial_in: list[TraceEvent]) -> None:
    ladder = build(dial_in, DIAL_IN)
    coloured = render_text(ladder, color=True)
    for escape in (f"\x1b[3{number}m" for number in range(1, 7)):
        assert escape in coloured
        coloured = coloured.replace(escape, "")
    assert [line.rstrip() for line in coloured.replace("\x1b[0m", "").splitlines()] == render_text(
        ladder
    ).splitlines()


def test_names_too_long_for_their_arrow_stand_beside_it() -> None:
    sink = ListSink()
    name = "Notify request: " + "everything " * 6
    Tracer("MRFP", sink).emit("call", "sent", "MRFC", "Mp", name.strip(), hostile="\x1b[2J\n")
    text = render_text(build(sink.events, DIAL_IN))
    assert "…" in text
    assert "everything everything" in text
    assert "\x1b" not in text


def test_svg_says_what_the_events_say(dial_in: list[TraceEvent]) -> None:
    root = ET.fromstring(render_svg(build(dial_in, DIAL_IN), title="a <call> & more"))
    space = "{http://www.w3.org/2000/svg}"
    texts = {element.text for element in root.iter(f"{space}text")}
    assert {"UE-A", "MRFC", "KMS", "MRFP", "INVITE", "TLS established", "a <call> & more"} <= texts
    assert {str(number) for number in range(1, 11)} <= texts
    assert len(list(root.iter(f"{space}path"))) == 22  # one arrow head per message
    assert not list(root.iter(f"{space}image"))
    assert not [name for element in root.iter() for name in element.attrib if "href" in name]


def test_svg_draws_a_single_end_dashed(dial_in: list[TraceEvent]) -> None:
    both = [event for event in dial_in if event.name == "INVITE"]
    dashed = 'stroke-dasharray="5 4"/>'
    assert render_svg(build(both, DIAL_IN)).count(dashed) == 1  # the legend's
    assert render_svg(build(both[:1], DIAL_IN)).count(dashed) == 2
