"""`mrfc-ctl trace|ladder`: one call, from trace files or from what the MRFC keeps in memory."""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import msgspec

from mrf_ops.ladder import calls, ladder_of, read_events, render_svg, render_text
from mrf_ops.trace import TraceEvent
from mrfc.ctl import http

COMMANDS = ("trace", "ladder")
NO_PAGE = "it keeps no calls in memory (web.page in mrfc.toml); use --trace with the trace files"


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    for name, purpose in (
        ("trace", "list what happened in a call, event by event"),
        ("ladder", "draw the ladder diagram of a call"),
    ):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("call_id", nargs="?", help="Call-ID; leave it out for a list of the calls")
        command.add_argument(
            "--trace",
            type=Path,
            nargs="+",
            help="trace files of the elements; without them the MRFC is asked for its own view of a recent call",
        )
        http.add_url(command)
        if name == "ladder":
            command.add_argument("--svg", type=Path, help="write an SVG file, too")
        else:
            command.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 0 done, 1 not. Raises OSError."""
    if options.trace and not any(file.exists() for file in options.trace):
        raise OSError(
            f"no trace file {', '.join(map(str, options.trace))}: trace.file of each element names its own"
        )
    if options.call_id is None:
        print("\n".join(_list(options)) or "no calls")
        return 0
    events = _events(options)
    if not events:
        where = "in these files" if options.trace else "among the recent calls of the MRFC"
        print(f"mrfc-ctl: no events of {options.call_id} {where}", file=sys.stderr)
        return 1
    if options.command == "trace":
        print(msgspec.json.encode(events).decode() if options.json else "\n".join(map(_line, events)))
        return 0
    ladder = ladder_of(events)
    if not options.trace:
        ladder = replace(ladder, missing=())  # what the MRFC cannot see is not missing
    print(render_text(ladder))
    if options.svg is not None:
        options.svg.write_text(render_svg(ladder), encoding="utf-8")
    return 0


def _list(options: argparse.Namespace) -> list[str]:
    if options.trace:
        return [f"{call.correlation}  {call.events} events" for call in calls(read_events(options.trace))]
    found = _ask(options.url, "/traces")
    return list(json.loads(found)) if found else []


def _events(options: argparse.Namespace) -> list[TraceEvent]:
    if options.trace:
        return read_events(options.trace, options.call_id)
    found = _ask(options.url, f"/traces/{quote(options.call_id, safe='')}")
    return msgspec.json.decode(found, type=list[TraceEvent]) if found else []


def _ask(url: str, path: str) -> bytes:
    """The answer, b"" for a call that is not known. Raises OSError."""
    try:
        return http.get(url + path)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        if path == "/traces":
            raise OSError(f"{url}: {NO_PAGE}") from None
        return b""


def _line(event: TraceEvent) -> str:
    moment = time.strftime("%H:%M:%S", time.gmtime(event.time)) + f".{event.time % 1 * 1000:03.0f}"
    arrow = {"sent": "->", "received": "<-", "local": "  "}[event.kind]
    fields = " ".join(
        f"{name}={value!r}" if " " in value else f"{name}={value}" for name, value in event.fields.items()
    )
    return f"{moment}  {event.element:<5} {arrow} {event.peer:<5} {event.protocol:<4}  {event.name}  {fields}".rstrip()
