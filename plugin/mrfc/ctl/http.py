"""How `mrfc-ctl` speaks with the MRFC: the options that say where it is, requests over HTTP, and faults in words."""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any

from mrf_ops.config import read_secret

DEFAULT_URL = "http://127.0.0.1:8060"
TIMEOUT = 5.0  # seconds; the engine itself answers within two or not at all


def add_url(command: argparse.ArgumentParser) -> None:
    """Let a command be told where the MRFC is."""
    command.add_argument("--url", default=DEFAULT_URL, help="HTTP port of Kamailio (default: %(default)s)")


def add_token_file(command: argparse.ArgumentParser, default: Path | None = None) -> None:
    """Let a command be told the operator's token; it has to be, where there is no default."""
    command.add_argument(
        "--token-file",
        type=Path,
        required=default is None,
        default=default,
        help="file with the token that dial_out.operator_token_file of the MRFC has"
        + ("" if default is None else " (default: %(default)s)"),
    )


def is_http(url: str) -> bool:
    """Whether this module may be asked for a URL: urllib opens files, too."""
    return url.startswith(("http://", "https://"))


def get(url: str) -> bytes:
    """The body of the answer. Raises OSError, which `in_words` explains."""
    return _ask(urllib.request.Request(url))[0]  # noqa: S310 - is_http, asked by main


def get_rows(url: str) -> Any:
    """What JSON the answer holds; long lists come in several parts. Raises OSError, ValueError."""
    rows: list[Any] = []
    while True:
        body, headers = _ask(urllib.request.Request(f"{url}?from={len(rows)}"))  # noqa: S310 - is_http, asked by main
        part, total = json.loads(body), int(headers.get("X-Total", 0))
        if not isinstance(part, list):
            return part
        rows += part
        if not part or len(rows) >= total:
            return rows


def post(url: str, token_file: Path, body: object = None) -> Any:
    """Have something done with the operator's token, and what JSON the answer holds. `body` None: an empty one.

    Raises OSError, ValueError: the secret cannot be read.
    """
    token = read_secret(token_file).reveal().decode("latin-1")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = b"" if body is None else json.dumps(body).encode()
    return json.loads(_ask(urllib.request.Request(url, data, headers, method="POST"))[0])  # noqa: S310 - is_http, asked by main


def in_words(error: Exception, url: str) -> str:
    """What is wrong, for the operator."""
    match error:
        case urllib.error.HTTPError():
            return f"{error.code} {_told(error)}"
        case urllib.error.URLError():
            return (
                f"{url} does not answer: {error.reason}; is the MRFC running (systemctl status mrfc.service), "
                "and is this its MRFC_LISTEN_HTTP? --url names another one"
            )
    return str(error)


def _ask(request: urllib.request.Request) -> tuple[bytes, Message]:
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - is_http, asked by main
        return answer.read(), answer.headers


def _told(error: urllib.error.HTTPError) -> str:
    """What the MRFC says of an error."""
    body = error.read().decode("utf-8", "replace").strip()
    try:
        answer = json.loads(body)
        return "\n".join([str(answer["error"]), *answer.get("faults", [])])
    except (ValueError, KeyError, TypeError):
        return body if body and error.headers.get_content_type() == "text/plain" else str(error.reason)
