"""`mrfc-ctl`: what an operator asks the MRFC from a shell."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from mrf_ops.config import ConfigError
from mrf_ops.ladder import DIAL_IN, build, calls, read_events, render_svg, render_text
from mrfc import config, ctl_dial_out, ctl_floors

DEFAULT_URL = "http://127.0.0.1:8060"
TIMEOUT = 5.0  # seconds; the engine itself answers within two or not at all
LISTS = ("status", "conferences", "calls", "mrfps", "floors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 not, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "check":
            return _check(options.config)
        if options.command == "ladder":
            return _ladder(options)
        if options.command == "dial-out":
            return ctl_dial_out.run(options)
        if options.command in ctl_floors.COMMANDS:
            return ctl_floors.run(options)
        return _list(options)
    except OSError as error:
        print(f"mrfc-ctl: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mrfc-ctl", description="Look into a running MRFC.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check a configuration file and name all its faults")
    check.add_argument("config", type=Path, help="the file, for instance /etc/ims-floor-control/mrfc.toml")
    for name in LISTS:
        listing = commands.add_parser(name, help=f"show {name}")
        listing.add_argument(
            "--url", default=DEFAULT_URL, help="HTTP port of Kamailio (default: %(default)s)"
        )
        listing.add_argument("--json", action="store_true", help="as JSON")
    ctl_dial_out.add_parser(commands, DEFAULT_URL)
    ctl_floors.add_parsers(commands, DEFAULT_URL)
    ladder = commands.add_parser("ladder", help="draw the ladder diagram of a call from trace files")
    ladder.add_argument(
        "call_id", nargs="?", help="Call-ID; leave it out for a list of the calls in the files"
    )
    ladder.add_argument("--trace", type=Path, nargs="+", required=True, help="trace files of the elements")
    ladder.add_argument("--svg", type=Path, help="write an SVG file, too")
    return parser


def _check(path: Path) -> int:
    try:
        config.load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: no faults")
    return 0


def _list(options: argparse.Namespace) -> int:
    if not options.url.startswith(("http://", "https://")):
        print("mrfc-ctl: --url must start with http:// or https://", file=sys.stderr)
        return 2
    try:
        with urllib.request.urlopen(f"{options.url}/{options.command}", timeout=TIMEOUT) as answer:  # noqa: S310 - checked above
            data = json.load(answer)
    except urllib.error.URLError as error:
        print(f"mrfc-ctl: {options.url} does not answer: {error.reason}", file=sys.stderr)
        return 1
    if options.command == "floors" and not options.json:
        data = ctl_floors.rows(data)
    print(json.dumps(data, indent=2) if options.json else table(data))
    return 0


def table(data: object) -> str:
    """A list of objects, or one object, as aligned text."""
    if isinstance(data, dict):
        width = max((len(name) for name in data), default=0)
        return "\n".join(f"{name:<{width}}  {_cell(value)}" for name, value in data.items())
    rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    if not rows:
        return "none"
    names = list(rows[0])
    cells = [[name.upper() for name in names]] + [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _ladder(options: argparse.Namespace) -> int:
    if options.call_id is None:
        found = calls(read_events(options.trace))
        print(
            "\n".join(f"{call.correlation}  {call.events} events" for call in found)
            or "no calls in these files"
        )
        return 0
    events = read_events(options.trace, options.call_id)
    if not events:
        print(f"mrfc-ctl: no events of {options.call_id} in these files", file=sys.stderr)
        return 1
    ladder = build(events, DIAL_IN)
    print(render_text(ladder))
    if options.svg is not None:
        options.svg.write_text(render_svg(ladder), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
