"""Trace events: one line each, also when processes share a file; no key material by any door."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from mrf_ops.ladder import calls, read_events
from mrf_ops.trace import (
    MAX_VALUE,
    REFUSED,
    JsonLinesSink,
    KeyMaterialError,
    ListSink,
    NullSink,
    Tracer,
    looks_like_key_material,
    open_sink,
)

KEY = bytes(range(16))


def test_event_goes_to_its_line_and_back(tmp_path: Path) -> None:
    path = tmp_path / "mrfc.jsonl"
    tracer = Tracer("MRFC", open_sink(path), clock=lambda: 12.5)
    tracer.emit(
        "c1", "sent", "KMS", "KMS", "RESOLVE_INIT_PSK", "5566", identity="sip:a@b", tries=2, first=True
    )
    tracer.emit("c2", "local", "", "Mp", "x", empty="", nothing=None, several=["a", 1])
    tracer.close()
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "time": 12.5,
        "element": "MRFC",
        "correlation": "c1",
        "kind": "sent",
        "peer": "KMS",
        "protocol": "KMS",
        "name": "RESOLVE_INIT_PSK",
        "key": "5566",
        "fields": {"identity": "sip:a@b", "tries": "2", "first": "yes"},
    }
    assert second["fields"] == {"several": "a, 1"}
    (event,) = read_events([path], "c1")
    assert (event.element, event.key, event.fields["tries"]) == ("MRFC", "5566", "2")


def test_trailing_underscore_and_long_values() -> None:
    sink = ListSink()
    Tracer("UE-A", sink).emit("c1", "sent", "MRFC", "SIP", "INVITE", from_="sip:a@b", sdp="x" * 5000)
    fields = sink.events[0].fields
    assert fields["from"] == "sip:a@b"
    assert len(fields["sdp"]) == MAX_VALUE


def test_nothing_happens_when_off() -> None:
    tracer = Tracer("MRFC", NullSink(), clock=lambda: pytest.fail("looked at the clock"))
    tracer.emit("c1", "local", "", "x", "y", psk=KEY.hex())
    assert not tracer.enabled
    assert isinstance(open_sink(None), NullSink)


@pytest.mark.parametrize(
    "name",
    [
        "psk",
        "PSK",
        "psk_hex",
        "tek",
        "tgk",
        "mpk",
        "MPKi",
        "mpkr",
        "key",
        "auth_key",
        "authKey",
        "master_secret",
    ],
)
def test_names_of_key_material_are_refused(name: str) -> None:
    assert looks_like_key_material(name)
    sink = ListSink()
    if name != "key":  # emit's own parameter: the pairing key of a message
        with pytest.raises(KeyMaterialError, match=name):
            Tracer("MRFC", sink, strict=True).emit("c1", "local", "", "x", "y", **{name: KEY.hex()})
        assert not sink.events
        Tracer("MRFC", sink, strict=False).emit("c1", "local", "", "x", "y", **{name: KEY.hex()}, other="z")
        assert sink.events[0].fields == {name: REFUSED, "other": "z"}


@pytest.mark.parametrize(
    "name", ["psk_identity", "psk_id", "key_mgmt", "key_type", "keyboard", "request", "monkey"]
)
def test_names_about_keys_pass(name: str) -> None:
    sink = ListSink()
    Tracer("MRFC", sink, strict=True).emit("c1", "local", "", "x", "y", **{name: "z"})
    assert sink.events[0].fields == {name: "z"}


def test_bytes_are_refused_under_any_name() -> None:
    for value in (KEY, bytearray(KEY), memoryview(KEY), [KEY], ("a", [KEY])):
        sink = ListSink()
        tracer = Tracer("MRFC", sink, strict=False)
        tracer.emit("c1", "local", "", "x", "y", harmless=value)  # type: ignore[arg-type] # what a careless caller does
        assert sink.events[0].fields == {"harmless": REFUSED}


def test_environment_makes_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRF_TRACE_STRICT", "1")
    with pytest.raises(KeyMaterialError):
        Tracer("MRFC", ListSink()).emit("c1", "local", "", "x", "y", psk="00")
    monkeypatch.delenv("MRF_TRACE_STRICT")
    Tracer("MRFC", ListSink()).emit("c1", "local", "", "x", "y", psk="00")


def write_many(path: Path, element: str, count: int) -> None:
    tracer = Tracer(element, JsonLinesSink(path))
    for index in range(count):
        tracer.emit("c1", "local", "", "x", f"{element}-{index}", filler="f" * 200)
    tracer.close()


def test_several_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "shared.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_many, args=(path, name, 300)) for name in ("MRFC", "MRFP", "KMS")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(10)
        assert worker.exitcode == 0
    assert len(path.read_text().splitlines()) == 900
    events = read_events([path])
    assert len({event.name for event in events}) == 900
    assert [event.time for event in events] == sorted(event.time for event in events)


def test_a_full_disk_costs_events_not_calls() -> None:
    if not os.path.exists("/dev/full"):
        pytest.fail("needs /dev/full, which every Linux has")
    sink = JsonLinesSink("/dev/full")
    Tracer("MRFC", sink).emit("c1", "local", "", "x", "y")
    assert sink.dropped == 1
    sink.close()
    Tracer("MRFC", sink).emit("c1", "local", "", "x", "y")
    assert sink.dropped == 2


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        JsonLinesSink(tmp_path / "missing" / "trace.jsonl")


def test_cut_lines_and_missing_files_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_many(path, "MRFC", 2)
    with path.open("ab") as file:
        file.write(b'{"time": 1, "elem\n\n[]\n\xff\n')
    assert len(read_events([path, tmp_path / "b.jsonl"])) == 2


def test_calls_found_in_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    now = iter([5.0, 1.0, 3.0])
    tracer = Tracer("MRFC", JsonLinesSink(path), clock=lambda: next(now))
    for correlation in ("late", "early", "late"):
        tracer.emit(correlation, "local", "", "x", "y")
    found = calls(read_events([path]))
    assert [(call.correlation, call.first, call.last, call.events) for call in found] == [
        ("early", 1.0, 1.0, 1),
        ("late", 3.0, 5.0, 2),
    ]


def test_octets_of_a_stranger_that_are_no_text_cost_no_event(tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    tracer = Tracer("MRFC", JsonLinesSink(file), clock=lambda: 1.0)
    text = b"J\xf6rg \xc3\xa9".decode("utf-8", "surrogateescape")
    tracer.emit(text, "sent", "UE-A", "SIP", text, text, display=text, names=[text])
    tracer.close()
    (event,) = read_events([file])
    legible = "J\\udcf6rg \u00e9"
    assert (event.correlation, event.name, event.key) == (legible, legible, legible)
    assert event.fields == {"display": legible, "names": legible}
