"""Trace events: what an element sent, received or did for one call, one JSON line each.

Every element of a call writes its own events under the call's correlation id (the SIP Call-ID). The sender
and the receiver of a message emit it with the same protocol, name and key, so that `mrf_ops.ladder` can
pair the two ends.

No key material can get into a trace by accident: a field whose name speaks of key material, and any value
of type bytes, is refused. A refused field is replaced by the marker `REFUSED`; when the environment
variable MRF_TRACE_STRICT is set (the tests and the demo set it), `KeyMaterialError` is raised instead.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import msgspec

Kind = Literal["sent", "received", "local"]
FieldValue = str | int | float | bool | None | Sequence[str | int | float]

_log = logging.getLogger(__name__)

REFUSED = "[refused: key material]"
_LOOK = 1.0  # seconds between looks for a file that was moved away
MAX_VALUE = 240  # characters; a trace shows the telling part of a value, not its bulk

# fmt: off
_KEY_WORDS = frozenset((
    "gtgk", "key", "keys", "master", "mpk", "mpki", "mpkr", "passphrase", "passwd", "password", "premaster",
    "psk", "psks", "salt", "secret", "secrets", "tek", "teks", "tgk", "tpk",
))
# fmt: on
_ABOUT_KEYS = frozenset(
    (
        "identity",
        "identities",
        "id",
        "ids",
        "mgmt",
        "type",
        "types",
        "length",
        "hint",
        "name",
        "count",
        "number",
    )
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class KeyMaterialError(ValueError):
    """A trace field was named like key material, or carried bytes."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One event of one element.

    time: Unix time in seconds. element, peer: names of network elements ("UE-A", "MRFC", "KMS", "MRFP");
    peer is "" for a local event. correlation: SIP Call-ID of the call. protocol: "SIP", "KMS", "Mp", "TCP",
    "TLS", "BFCP". name: the message's or event's name. key: tells messages of one name apart, the same at
    both ends.
    """

    time: float
    element: str
    correlation: str
    kind: Kind
    peer: str
    protocol: str
    name: str
    key: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """Takes events; `enabled` False lets a Tracer skip all work. `dropped` counts the events that were lost."""

    @property
    def enabled(self) -> bool:
        """Whether events are wanted; asked once."""
        ...

    @property
    def dropped(self) -> int:
        """Events that could not be kept."""
        ...

    def write(self, event: TraceEvent) -> None:
        """Store one event; never raises for a full disk or the like, a call is worth more than its trace."""

    def close(self) -> None:
        """Give back what the sink holds."""


class NullSink:
    """Takes nothing."""

    enabled = False
    dropped = 0

    def write(self, event: TraceEvent) -> None:
        return

    def close(self) -> None:
        return


class ListSink:
    """Keeps events in memory, for tests."""

    enabled = True
    dropped = 0

    def __init__(self) -> None:
        self.events: list[TraceEvent] = []

    def write(self, event: TraceEvent) -> None:
        self.events.append(event)

    def close(self) -> None:
        return


class JsonLinesSink:
    """Appends one JSON object per line to a file that several processes may share.

    The file is opened with O_APPEND and each event is one write(2), so lines of different processes do not
    mix. The folder must exist; OSError when the file cannot be opened. A file that was moved away or removed
    (logrotate) is made anew within a second of the next event. Events that cannot be written (disk full) are
    counted in `dropped`, and told once until it works again.
    """

    enabled = True

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.dropped = 0
        self._failing = False
        self._look_at = time.monotonic() + _LOOK
        self._fd = self._open()
        self._encoder = msgspec.json.Encoder()

    def write(self, event: TraceEvent) -> None:
        line = self._encoder.encode(event) + b"\n"
        self._follow_rotation()
        reason = "the file is closed"
        try:
            written = os.write(self._fd, line) if self._fd >= 0 else 0
        except OSError as error:
            written, reason = 0, error.strerror or str(error)
        if written == len(line):
            self._failing = False
            return
        if written:
            reason = "the disk is full"
        self.dropped += 1
        if not self._failing:
            self._failing = True
            _log.error("trace file %s: %s; events are lost until there is room", self.path, reason)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _follow_rotation(self) -> None:
        now = time.monotonic()
        if now < self._look_at or self._fd < 0:
            return
        self._look_at = now + _LOOK
        try:
            if os.path.samestat(os.stat(self.path), os.fstat(self._fd)):
                return
        except OSError:
            pass  # no file of that name: it was moved away
        try:
            opened = self._open()
        except OSError:
            return  # the old file is better than none
        os.close(self._fd)
        self._fd = opened


def open_sink(path: Path | str | None) -> Sink:
    """A JsonLinesSink on `path`, or a NullSink when there is no path. Raises OSError, in one sentence."""
    if not path:
        return NullSink()
    try:
        return JsonLinesSink(path)
    except OSError as error:
        mend = "make its folder, see owner and mode of both, or change trace.file"
        raise OSError(f"trace.file: {path} cannot be written: {error.strerror}; {mend}") from error


def looks_like_key_material(name: str) -> bool:
    """True when a field name speaks of a key itself ("psk", "tek_hex"), not about one ("psk_identity")."""
    words = [word.lower() for word in _WORD.findall(name)]
    words += name.lower().split("_")  # "MPKi" is no camel's back
    return not _KEY_WORDS.isdisjoint(words) and words[-1] not in _ABOUT_KEYS


def _text(value: FieldValue) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        text = str(value)
    elif isinstance(value, Sequence):
        text = ", ".join(str(item) for item in value)
    else:
        text = str(value)
    return _legible(text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…")


def _legible(text: str) -> str:
    """Octets of a stranger that were no UTF-8 travel as lone surrogates, which no file takes: they are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _holds_bytes(value: object) -> bool:
    if isinstance(value, bytes | bytearray | memoryview):
        return True
    return isinstance(value, list | tuple | set) and any(_holds_bytes(item) for item in value)


class Tracer:
    """Emits the events of one element into one sink.

    element: name of the column in the ladder. sink: where events go. clock: gives Unix time in seconds.
    strict: raise KeyMaterialError for a refused field (None: when MRF_TRACE_STRICT is set) instead of
    dropping it.
    """

    __slots__ = ("_clock", "_sink", "_strict", "element", "enabled")

    def __init__(
        self,
        element: str,
        sink: Sink | None = None,
        clock: Callable[[], float] = time.time,
        strict: bool | None = None,
    ) -> None:
        self.element = element
        self._sink: Sink = NullSink() if sink is None else sink
        self.enabled = self._sink.enabled
        self._clock = clock
        self._strict = bool(os.environ.get("MRF_TRACE_STRICT")) if strict is None else strict

    def emit(
        self,
        correlation: str,
        kind: Kind,
        peer: str,
        protocol: str,
        name: str,
        key: str = "",
        **fields: FieldValue,
    ) -> None:
        """Write one event now; costs one comparison when tracing is off.

        Fields with value None or "" are left out; a trailing underscore is cut off (`from_=` becomes "from").
        Raises KeyMaterialError in strict mode only.
        """
        if not self.enabled:
            return
        texts = {
            field.rstrip("_"): self._guarded(field, value)
            for field, value in fields.items()
            if value is not None and value != ""
        }
        correlation, name, key = _legible(correlation), _legible(name), _legible(key)
        self._sink.write(
            TraceEvent(self._clock(), self.element, correlation, kind, peer, protocol, name, key, texts)
        )

    @property
    def dropped(self) -> int:
        """Number of events that could not be written."""
        return self._sink.dropped

    def close(self) -> None:
        """Close the sink; later events are lost."""
        self.enabled = False
        self._sink.close()

    def _guarded(self, name: str, value: FieldValue) -> str:
        if looks_like_key_material(name) or _holds_bytes(value):
            if self._strict:
                raise KeyMaterialError(f"trace field {name!r} looks like key material")
            return REFUSED
        return _text(value)
