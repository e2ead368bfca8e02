"""`mrfc-ctl`: what an operator asks the MRFC from a shell."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mrf_ops.config import ConfigError
from mrf_ops.service import EXIT_CANNOT_RUN, EXIT_CONFIGURATION
from mrfc import config
from mrfc.ctl import dial_out, floors, http, look, operate
from mrfc.start import unusable_certificates, unwritable_files

LISTS = ("status", "conferences", "calls", "mrfps", "floors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 not, 2 wrong usage, 78 faults in a configuration."""
    options = _parser().parse_args(arguments)
    if options.command == "check":
        return _check(options.config)
    if not http.is_http(options.url):
        print("mrfc-ctl: --url must start with http:// or https://", file=sys.stderr)
        return 2
    try:
        return _work(options.command)(options)
    except (OSError, ValueError) as error:
        print(f"mrfc-ctl: {http.in_words(error, options.url)}", file=sys.stderr)
        return 1


def _work(command: str) -> Callable[[argparse.Namespace], int]:
    if command in look.COMMANDS:
        return look.run
    if command in operate.COMMANDS:
        return operate.run
    if command in floors.COMMANDS:
        return floors.run
    return dial_out.run if command == "dial-out" else _list


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mrfc-ctl", description="Look into a running MRFC.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check a configuration file and name all its faults")
    check.add_argument("config", type=Path, help="the file, for instance /etc/ims-floor-control/mrfc.toml")
    for name in LISTS:
        listing = commands.add_parser(name, help=f"show {name}")
        http.add_url(listing)
        listing.add_argument("--json", action="store_true", help="as JSON")
    dial_out.add_parser(commands)
    floors.add_parsers(commands)
    operate.add_parsers(commands)
    look.add_parsers(commands)
    return parser


def _check(path: Path) -> int:
    try:
        loaded = config.load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    for warning in unwritable_files(loaded):  # systemd makes folders when it starts the service
        print(f"warning: {warning}")
    if faults := list(unusable_certificates(loaded)):
        print(*faults, sep="\n", file=sys.stderr)
        return EXIT_CANNOT_RUN
    print(f"{path}: no faults")
    return 0


def _list(options: argparse.Namespace) -> int:
    data = http.get_rows(f"{options.url}/{options.command}")
    if options.command == "floors" and isinstance(data, list) and not options.json:
        data = floors.rows(data)
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
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
