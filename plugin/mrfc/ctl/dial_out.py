"""`mrfc-ctl dial-out`: have the MRFC call somebody into a conference."""

from __future__ import annotations

import argparse
import json
import time
from urllib.parse import quote

from mrfc.ctl import http

POLL = 0.2  # seconds between looks at a dial-out under way


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    command = commands.add_parser("dial-out", help="call a participant into a conference")
    command.add_argument("conference", help="user part of the conference's URI, for instance meeting")
    command.add_argument("uri", help="whom to call, for instance sip:bob@example.com")
    http.add_token_file(command)
    http.add_url(command)
    command.add_argument("--wait", action="store_true", help="wait until the call has joined or failed")


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status: 0 accepted (with --wait: joined), 1 not. Raises OSError, ValueError."""
    url = f"{options.url}/conferences/{quote(options.conference, safe='')}/participants"
    call_id = str(http.post(url, options.token_file, {"uri": options.uri})["call_id"])
    print(call_id, flush=True)
    return _wait(options.url, call_id) if options.wait else 0


def _wait(url: str, call_id: str) -> int:
    while True:
        found = json.loads(http.get(f"{url}/dial-outs/{quote(call_id, safe='')}"))
        if found["state"] in ("joined", "failed"):
            print(f"{found['state']}: {found['status']} {found['reason']}")
            return 0 if found["state"] == "joined" else 1
        time.sleep(POLL)  # HTTP has nobody call back
