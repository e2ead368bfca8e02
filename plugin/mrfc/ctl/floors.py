"""`mrfc-ctl floors` and what an operator does to floors: grant, deny, revoke, appoint-chair."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from mrfc.ctl import http

DECISIONS = {
    "grant": "grant a floor request: it goes to the head of the queue",
    "deny": "deny a floor request that waits",
    "revoke": "take a floor from who holds it",
}
APPOINT = "appoint-chair"
COMMANDS = (*DECISIONS, APPOINT)


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    for name, text in DECISIONS.items():
        command = _parser(commands, name, text)
        command.add_argument("request", type=int, help="number of the floor request, see mrfc-ctl floors")
        command.add_argument("--reason", default="", help="words for the participants")
    command = _parser(commands, APPOINT, "give a floor another chair")
    command.add_argument("floor", type=int, help="number of the floor")
    command.add_argument("user", help="number of the participant, see mrfc-ctl calls; or nobody")


def _parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text)
    command.add_argument("conference", help="user part of the conference's URI, for instance meeting")
    http.add_token_file(command)
    http.add_url(command)
    return command


def run(options: argparse.Namespace) -> int:
    """Run a command; returns the exit status, 0. Raises OSError, ValueError when it cannot be done."""
    path, body = _request(options)
    url = f"{options.url}/conferences/{quote(options.conference, safe='')}/{path}"
    http.post(url, options.token_file, body)
    print("done")
    return 0


def _request(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Path and body. Raises ValueError."""
    if options.command == APPOINT:
        user = None if options.user == "nobody" else int(options.user)
        return f"floors/{options.floor}/chair", {"user": user}
    return f"requests/{options.request}", {"decision": options.command, "reason": options.reason}


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
