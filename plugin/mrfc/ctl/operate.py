"""`mrfc-ctl drain|undrain|kick|rekey|reload`: what an operator does to a running MRFC, with the operator's token."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mrfc.ctl import http

COMMANDS = ("drain", "undrain", "kick", "rekey", "reload")
DEFAULT_TOKEN = Path("/etc/ims-floor-control/operator.token")
POLL = 1.0  # seconds between looks at the calls that are left


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    helps = {
        "drain": "take no new calls; those that stand go on",
        "undrain": "take new calls again",
        "kick": "end a call",
        "rekey": "give a call a new key, and a new BFCP connection under it; the floor stays",
        "reload": "read the configuration again: log, limits, conferences and factory change at once",
    }
    for name in COMMANDS:
        command = commands.add_parser(name, help=helps[name])
        if name in ("kick", "rekey"):
            command.add_argument("call_id", help="Call-ID, as mrfc-ctl calls shows it")
        if name == "drain":
            command.add_argument(
                "--wait",
                type=float,
                metavar="SECONDS",
                help="wait until the last call has ended, at most so long",
            )
        http.add_token_file(command, DEFAULT_TOKEN)
        http.add_url(command)
        command.add_argument("--json", action="store_true", help="print the answer as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 0 done, 1 not (with --wait: calls are left).

    Raises OSError, ValueError.
    """
    answer = _post(options)
    print(json.dumps(answer, indent=2) if options.json else _words(options, answer), flush=True)
    if options.command == "drain" and options.wait is not None:
        return _wait_until_empty(options.url, options.wait)
    return 0


def _post(options: argparse.Namespace) -> dict[str, Any]:
    path, body = "/drain", None
    match options.command:
        case "kick" | "rekey":
            path = f"/calls/{quote(options.call_id, safe='')}/{options.command}"
        case "reload":
            path = "/reload"
        case _:
            body = {"draining": options.command == "drain"}
    answer: dict[str, Any] = http.post(options.url + path, options.token_file, body)
    return answer


def _words(options: argparse.Namespace, answer: dict[str, Any]) -> str:
    match options.command:
        case "drain":
            return f"no new calls from now on; {answer['calls']} calls stand"
        case "undrain":
            return "new calls are taken again"
        case "kick":
            return f"{answer['ended']} call ended"
        case "rekey":
            return f"{answer['rekeyed']} call re-keyed"
    lines = [f"changed: {', '.join(answer['changed']) or 'nothing that can change now'}"]
    if answer["need_restart"]:
        keys = ", ".join(answer["need_restart"])
        lines.append(f"not used before a restart of Kamailio, which ends all calls: {keys}")
    return "\n".join(lines)


def _wait_until_empty(url: str, seconds: float) -> int:
    end = time.monotonic() + seconds
    while True:
        calls = json.loads(http.get(f"{url}/status"))["calls"]
        if not calls:
            print("no calls are left")
            return 0
        if time.monotonic() >= end:
            print(f"mrfc-ctl: {calls} calls are left after {seconds:g} s", file=sys.stderr)
            return 1
        time.sleep(POLL)  # HTTP has nobody call back
