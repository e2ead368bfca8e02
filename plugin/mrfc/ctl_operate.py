"""`mrfc-ctl drain|undrain|kick|reload`: what an operator does to a running MRFC, with the operator's token."""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mrf_ops.config import read_secret

COMMANDS = ("drain", "undrain", "kick", "reload")
DEFAULT_TOKEN = Path("/etc/ims-floor-control/operator.token")
TIMEOUT = 5.0
POLL = 1.0


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser], default_url: str) -> None:
    """Add the commands to the command line."""
    helps = {
        "drain": "take no new calls; those that stand go on",
        "undrain": "take new calls again",
        "kick": "end a call",
        "reload": "read the configuration again: log, limits, conferences and factory change at once",
    }
    for name in COMMANDS:
        command = commands.add_parser(name, help=helps[name])
        if name == "kick":
            command.add_argument("call_id", help="Call-ID, as mrfc-ctl calls shows it")
        if name == "drain":
            command.add_argument(
                "--wait",
                type=float,
                metavar="SECONDS",
                help="wait until the last call has ended, at most so long",
            )
        command.add_argument(
            "--token-file",
            type=Path,
            default=DEFAULT_TOKEN,
            help="file with the token that dial_out.operator_token_file of the MRFC has (default: %(default)s)",
        )
        command.add_argument(
            "--url", default=default_url, help="HTTP port of Kamailio (default: %(default)s)"
        )
        command.add_argument("--json", action="store_true", help="print the answer as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 0 done, 1 not (with --wait: calls are left), 2 wrong usage."""
    if not options.url.startswith(("http://", "https://")):
        print("mrfc-ctl: --url must start with http:// or https://", file=sys.stderr)
        return 2
    try:
        answer = _post(options)
        print(json.dumps(answer, indent=2) if options.json else _words(options, answer), flush=True)
        if options.command == "drain" and options.wait is not None:
            return _wait_until_empty(options.url, options.wait)
    except ValueError as error:
        print(f"mrfc-ctl: {error}", file=sys.stderr)
        return 1
    except urllib.error.HTTPError as error:
        print(f"mrfc-ctl: {error.code} {_text(error)}", file=sys.stderr)
        return 1
    except urllib.error.URLError as error:
        print(f"mrfc-ctl: {options.url} does not answer: {error.reason}", file=sys.stderr)
        return 1
    return 0


def _post(options: argparse.Namespace) -> dict[str, Any]:
    paths = {"kick": f"/calls/{quote(getattr(options, 'call_id', ''), safe='')}/kick", "reload": "/reload"}
    body = json.dumps({"draining": options.command == "drain"}) if "drain" in options.command else ""
    token = read_secret(options.token_file).reveal().decode("latin-1")
    request = urllib.request.Request(  # noqa: S310 - http or https, checked by run
        options.url + paths.get(options.command, "/drain"),
        body.encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - as above
        data: dict[str, Any] = json.load(answer)
        return data


def _words(options: argparse.Namespace, answer: dict[str, Any]) -> str:
    match options.command:
        case "drain":
            return f"no new calls from now on; {answer['calls']} calls stand"
        case "undrain":
            return "new calls are taken again"
        case "kick":
            return f"{answer['ended']} call ended"
    lines = [f"changed: {', '.join(answer['changed']) or 'nothing that can change now'}"]
    if answer["need_restart"]:
        keys = ", ".join(answer["need_restart"])
        lines.append(f"not used before a restart of Kamailio, which ends all calls: {keys}")
    return "\n".join(lines)


def _wait_until_empty(url: str, seconds: float) -> int:
    end = time.monotonic() + seconds
    while True:
        with urllib.request.urlopen(f"{url}/status", timeout=TIMEOUT) as answer:  # noqa: S310 - as above
            calls = json.load(answer)["calls"]
        if not calls:
            print("no calls are left")
            return 0
        if time.monotonic() >= end:
            print(f"mrfc-ctl: {calls} calls are left after {seconds:g} s", file=sys.stderr)
            return 1
        time.sleep(POLL)  # HTTP has nobody call back


def _text(error: urllib.error.HTTPError) -> str:
    """What the MRFC says of an error."""
    try:
        answer = json.load(error)
        return "\n".join([str(answer["error"]), *answer.get("faults", [])])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
