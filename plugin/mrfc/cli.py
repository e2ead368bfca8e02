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
from mrf_ops.service import EXIT_CONFIGURATION
from mrfc import config, ctl_dial_out, ctl_floors, ctl_look, ctl_operate

DEFAULT_URL = "http://127.0.0.1:8060"
TIMEOUT = 5.0  # seconds; the engine itself answers within two or not at all
LISTS = ("status", "conferences", "calls", "mrfps", "floors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 not, 2 wrong usage, 78 faults in a configuration."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "check":
            return _check(options.config)
        if options.command in ctl_look.COMMANDS:
            return ctl_look.run(options)
        if options.command in ctl_operate.COMMANDS:
            return ctl_operate.run(options)
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
    ctl_operate.add_parsers(commands, DEFAULT_URL)
    ctl_look.add_parsers(commands, DEFAULT_URL)
    return parser


def _check(path: Path) -> int:
    try:
        config.load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    print(f"{path}: no faults")
    return 0


def _list(options: argparse.Namespace) -> int:
    if not options.url.startswith(("http://", "https://")):
        print("mrfc-ctl: --url must start with http:// or https://", file=sys.stderr)
        return 2
    try:
        data = _ask(f"{options.url}/{options.command}")
    except urllib.error.URLError as error:
        print(f"mrfc-ctl: {options.url} does not answer: {error.reason}", file=sys.stderr)
        return 1
    if options.command == "floors" and isinstance(data, list) and not options.json:
        data = ctl_floors.rows(data)
    print(json.dumps(data, indent=2) if options.json else table(data))
    return 0


def _ask(url: str) -> object:
    """What the MRFC answers; long lists come in several parts."""
    rows: list[object] = []
    while True:
        with urllib.request.urlopen(f"{url}?from={len(rows)}", timeout=TIMEOUT) as answer:  # noqa: S310 - checked by _list
            part, total = json.load(answer), int(answer.headers.get("X-Total", 0))
        if not isinstance(part, list):
            return part
        rows += part
        if not part or len(rows) >= total:
            return rows


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


if __name__ == "__main__":
    sys.exit(main())
