"""Log lines of every element: text for people at a terminal, JSON lines for machines; one line per event.

Code logs through the standard library: `logging.getLogger(__name__).info("conference opened",
extra={"call": call_id, "conference": conf})`, or through `bind()`, which carries the ids along. Line breaks
and control characters inside a message are escaped, so nobody outside can forge a line. A traceback becomes
one JSON field, or indented lines.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal

FIELDS = ("call", "conference", "bfcp_conference", "user")
"""Who a line is about, by the names that all elements use: docs/operations.md."""
JSON_FIELDS = (*FIELDS, "initiator", "responder")
"""In text the message itself has the others."""
Level = Literal["debug", "info", "warning", "error"]
Form = Literal["text", "json"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What ends a line or begins a command to a terminal (C0, C1), and what turns the direction of the text after it."""
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _one_line(text: str) -> str:
    return _CONTROL.sub(lambda found: _NAMES.get(found[0], f"\\x{ord(found[0]):02x}"), text)


def _ids(record: logging.LogRecord, fields: tuple[str, ...] = FIELDS) -> dict[str, str]:
    found = {name: getattr(record, name, None) for name in fields}
    return {name: _one_line(str(value)) for name, value in found.items() if value not in (None, "")}


def _when(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """`2030-01-31T12:00:00.000Z INFO    MRFC engine: conference opened [call=... conference=...]`.

    element: name of the network element. timestamp: False when the receiver stamps lines itself (syslog,
    Kamailio).
    """

    def __init__(self, element: str, timestamp: bool = True) -> None:
        super().__init__()
        self._element = element
        self._timestamp = timestamp

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_when(record)} {record.levelname:<7} " if self._timestamp else ""
        ids = " ".join(f"{name}={value}" for name, value in _ids(record).items())
        place = record.name.rpartition(".")[2]
        line = f"{head}{self._element} {place}: {_one_line(record.getMessage())}" + (
            f" [{ids}]" if ids else ""
        )
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "".join(f"\n    {_one_line(part)}" for part in trace.splitlines())
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, element, logger, message, and of JSON_FIELDS what is known."""

    def __init__(self, element: str) -> None:
        super().__init__()
        self._element = element

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str] = {
            "time": _when(record),
            "level": record.levelname.lower(),
            "element": self._element,
            "logger": record.name,
            "message": record.getMessage(),
            **_ids(record, JSON_FIELDS),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)  # ASCII only: no character outside it can break a line


class _Ours(logging.StreamHandler[Any]):
    """The handler that `setup` made itself."""


def setup(
    element: str,
    level: Level | str = "info",
    form: Form = "text",
    handler: logging.Handler | None = None,
) -> logging.Handler:
    """Direct all logging of this process; call it once at start, again to change.

    element: name in every line. level: debug, info, warning or error. form: "text" or "json". handler:
    where lines go (default: stderr). A handler that is passed keeps a formatter of its own;
    otherwise it gets ours without a time stamp in text form, since such receivers (Kamailio, syslog) stamp
    lines. Returns the handler in use. Raises ValueError for an unknown level.
    """
    root = logging.getLogger()
    root.setLevel(level.upper())
    chosen = _Ours(sys.stderr) if handler is None else handler
    if chosen.formatter is None or isinstance(chosen.formatter, TextFormatter | JsonFormatter):
        text = TextFormatter(element, timestamp=handler is None)
        chosen.setFormatter(JsonFormatter(element) if form == "json" else text)
    for old in [
        old for old in root.handlers if getattr(old, "mrf_installed", False) or isinstance(old, _Ours)
    ]:
        root.removeHandler(old)
    chosen.__dict__["mrf_installed"] = True
    root.addHandler(chosen)
    return chosen


class BoundLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds its ids to every line; ids given with a line win."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        given: Mapping[str, object] = kwargs.get("extra") or {}
        kwargs["extra"] = {**(self.extra or {}), **given}
        return msg, kwargs


def bind(
    logger: logging.Logger, *, call: str = "", conference: str = "", bfcp_conference: str = "", user: str = ""
) -> BoundLogger:
    """A logger for one call, conference or user: each line carries the given ids."""
    ids = {"call": call, "conference": conference, "bfcp_conference": bfcp_conference, "user": user}
    return BoundLogger(logger, {name: value for name, value in ids.items() if value})
