"""`mrfc-ctl floors` and what an operator does to floors: grant, deny, revoke, appoint-chair."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mrf_ops.config import read_secret

TIMEOUT = 5.0  # seconds; the engine itself answers within two or not at all
DECISIONS = {
    "grant": "grant a floor request: it goes to the head of the queue",
    "deny": "deny a floor request that waits",
    "revoke": "take a floor from who holds it",
}
APPOINT = "appoint-chair"
COMMANDS = (*DECISIONS, APPOINT)


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser], default_url: str) -> None:
    """Add the commands to the command line."""
    for name, text in DECISIONS.items():
        command = _parser(commands, name, text, default_url)
        command.add_argument("request", type=int, help="number of the floor request, see mrfc-ctl floors")
        command.add_argument("--reason", default="", help="words for the participants")
    command = _parser(commands, APPOINT, "give a floor another chair", default_url)
    command.add_argument("floor", type=int, help="number of the floor")
    command.add_argument("user", help="number of the participant, see mrfc-ctl calls; or nobody")


def _parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, default_url: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text)
    command.add_argument("conference", help="user part of the conference's URI, for instance meeting")
    command.add_argument(
        "--token-file",
        type=Path,
        required=True,
        help="file with the token that dial_out.operator_token_file of the MRFC has",
    )
    command.add_argument("--url", default=default_url, help="HTTP port of Kamailio (default: %(default)s)")
    return command


def run(options: argparse.Namespace) -> int:
    """Run a command; returns the exit status: 0 done, 1 not, 2 wrong usage."""
    if not options.url.startswith(("http://", "https://")):
        print("mrfc-ctl: --url must start with http:// or https://", file=sys.stderr)
        return 2
    try:
        token = read_secret(options.token_file).reveal().decode("latin-1")
        path, body = _request(options)
        _post(f"{options.url}/conferences/{quote(options.conference, safe='')}/{path}", token, body)
    except ValueError as error:
        print(f"mrfc-ctl: {error}", file=sys.stderr)
    except urllib.error.HTTPError as error:
        print(f"mrfc-ctl: {error.code} {_text(error)}", file=sys.stderr)
    except urllib.error.URLError as error:
        print(f"mrfc-ctl: {options.url} does not answer: {error.reason}", file=sys.stderr)
    else:
        print("done")
        return 0
    return 1


def _request(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Path and body. Raises ValueError."""
    if options.command == APPOINT:
        user = None if options.user == "nobody" else int(options.user)
        return f"floors/{options.floor}/chair", {"user": user}
    return f"requests/{options.request}", {"decision": options.command, "reason": options.reason}


def _post(url: str, token: str, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310 - http or https, checked by run
    urllib.request.urlopen(request, timeout=TIMEOUT).close()  # noqa: S310 - as above


def _text(error: urllib.error.HTTPError) -> str:
    """What the MRFC says of an error."""
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)


def rows(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The floors as rows of short words, for a table."""
    return [
        {
            "conference": floor["conference"],
            "floor": floor["floor"],
            "algorithm": floor["algorithm"],
            "chair": None if floor["chair"] is None else floor["chair"]["user"],
            "holders": _people(floor["holders"]),
            "queue": _people(floor["queue"]),
            "pending": _people(floor["pending"]),
        }
        for floor in data
    ]


def _people(requests: list[dict[str, Any]]) -> str | None:
    """Each request as #number and the user part of who benefits."""
    words = [
        f"#{each['request']} {_name(each)}"
        + (f" (waits for {each['waits_for']})" if "waits_for" in each else "")
        for each in requests
    ]
    return ", ".join(words) or None


def _name(person: dict[str, Any]) -> str:
    uri = str(person.get("uri", ""))
    return uri.partition(":")[2].partition("@")[0] or f"user {person.get('user')}"
