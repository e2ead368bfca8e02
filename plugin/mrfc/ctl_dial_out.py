"""`mrfc-ctl dial-out`: have the MRFC call somebody into a conference."""

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

TIMEOUT = 5.0  # seconds; the engine itself answers within two or not at all
POLL = 0.2  # seconds between looks at a dial-out under way


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], default_url: str) -> None:
    """Add the command to the command line."""
    command = commands.add_parser("dial-out", help="call a participant into a conference")
    command.add_argument("conference", help="user part of the conference's URI, for instance meeting")
    command.add_argument("uri", help="whom to call, for instance sip:bob@example.com")
    command.add_argument(
        "--token-file",
        type=Path,
        required=True,
        help="file with the token that dial_out.operator_token_file of the MRFC has",
    )
    command.add_argument("--url", default=default_url, help="HTTP port of Kamailio (default: %(default)s)")
    command.add_argument("--wait", action="store_true", help="wait until the call has joined or failed")


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 0 accepted (with --wait: joined), 1 not, 2 wrong usage."""
    if not options.url.startswith(("http://", "https://")):
        print("mrfc-ctl: --url must start with http:// or https://", file=sys.stderr)
        return 2
    try:
        token = read_secret(options.token_file).reveal().decode("latin-1")
        call_id = str(_invite(options, token)["call_id"])
        print(call_id, flush=True)
        return _wait(options.url, call_id) if options.wait else 0
    except ValueError as error:
        print(f"mrfc-ctl: {error}", file=sys.stderr)
    except urllib.error.HTTPError as error:
        print(f"mrfc-ctl: {error.code} {_text(error)}", file=sys.stderr)
    except urllib.error.URLError as error:
        print(f"mrfc-ctl: {options.url} does not answer: {error.reason}", file=sys.stderr)
    return 1


def _invite(options: argparse.Namespace, token: str) -> dict[str, Any]:
    url = f"{options.url}/conferences/{quote(options.conference, safe='')}/participants"
    body = json.dumps({"uri": options.uri}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - http or https, checked by run
    return _json(request)


def _wait(url: str, call_id: str) -> int:
    request = urllib.request.Request(f"{url}/dial-outs/{quote(call_id, safe='')}")  # noqa: S310 - as above
    while True:
        found = _json(request)
        if found["state"] in ("joined", "failed"):
            print(f"{found['state']}: {found['status']} {found['reason']}")
            return 0 if found["state"] == "joined" else 1
        time.sleep(POLL)  # HTTP has nobody call back


def _json(request: urllib.request.Request) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - as above
        data: dict[str, Any] = json.load(answer)
        return data


def _text(error: urllib.error.HTTPError) -> str:
    """What the MRFC says of an error."""
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
