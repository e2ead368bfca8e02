"""A pytest plugin that watches for keys in words: every log line, trace field and exception text of the whole run is
searched for every key that the run derived or derived from.

Keys are taken where all of MIKEY's pass: what goes into the PRF and what comes out. Processes that a test starts
(laboratories) write their logs and traces below pytest's folder; these files are searched at the end of the run for
keys of the UEs and of the KMS that ran in the tests themselves.
"""

import base64
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrf_kms.client import KmsError
from mrf_kms.database import StoreError
from mrf_kms.key_source import KeySourceError
from mrf_ops.config import ConfigError
from mrf_ops.trace import Tracer
from mrf_protocols.bfcp import BfcpError
from mrf_protocols.h248 import H248Error
from mrf_protocols.mikey import MikeyError
from mrf_protocols.mikey import prf as mikey_prf
from mrf_protocols.mikey import suite as mikey_suite
from mrf_protocols.sdp import SdpError
from mrf_protocols.tls_psk import TlsPskError
from mrf_ue.errors import UeError
from mrfc.mp.link import MpError
from mrfc.sip.refusal import Refusal
from mrfp_agent.network import NetworkError

FAMILIES: tuple[type[Exception], ...] = (
    *(MikeyError, H248Error, BfcpError, SdpError, TlsPskError),
    *(KmsError, KeySourceError, StoreError, UeError, ConfigError, MpError, Refusal, NetworkError),
)
LONG_HEX = re.compile(r"[0-9a-f]{32,}")
LONG_BASE64 = re.compile(r"[0-9A-Za-z+/]{20,}")
_SEPARATORS = re.compile(r"(?<=[0-9a-f]{2})[: ](?=[0-9a-f]{2})")
OURS = {"mrfc", "mrfp_agent", "mrf_kms", "mrf_ue", "mrf_protocols", "mrf_ops"}
SEARCHED = {".log", ".jsonl"}
LARGEST = 50_000_000
MOST_KEYS = 500_000


class KeyWatch:
    """The keys and words of a run."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.new: set[bytes] = set()
        self.needles = Needles(set())
        self.module = ""
        self.words: list[str] = []
        self.patch = pytest.MonkeyPatch()

    def learn(self, key: bytes) -> None:
        """Take note of a key; octets that repeat (of tests with fixed keys) would be found by chance."""
        if len(key) >= 16 and len(set(key)) >= 12 and len(self.keys) < MOST_KEYS:
            self.new.add(key)

    def start(self) -> None:
        """Listen to the PRF, to exceptions, traces and logs."""
        whole = mikey_prf.prf

        def prf(digest: str, inkey: bytes, label: bytes, length: int) -> bytes:
            outkey = whole(digest, inkey, label, length)
            self.learn(inkey)
            self.learn(outkey)
            return outkey

        self.patch.setattr(mikey_suite, "prf", prf)
        for family in FAMILIES:
            self._listen(family)
        emit = Tracer.emit

        def traced(tracer: Tracer, *arguments: Any, **fields: Any) -> None:
            self.words.append(f"{arguments!r} {fields!r}")
            emit(tracer, *arguments, **fields)

        self.patch.setattr(Tracer, "emit", traced)
        self._listen_to_quiet_lines()

    def _listen_to_quiet_lines(self) -> None:
        """Lines of ours below the level of this run reach no handler, but would reach one elsewhere."""
        for name, level in (("debug", logging.DEBUG), ("info", logging.INFO)):
            self._listen_to(name, level)
        adapted = logging.LoggerAdapter.log

        def log(adapter: Any, level: int, text: object, *arguments: Any, **named: Any) -> None:
            if not adapter.isEnabledFor(level):
                self._heard(adapter.logger.name, text, arguments)
            adapted(adapter, level, text, *arguments, **named)

        self.patch.setattr(logging.LoggerAdapter, "log", log)

    def _listen_to(self, name: str, level: int) -> None:
        whole = getattr(logging.Logger, name)

        def log(logger: logging.Logger, text: object, *arguments: Any, **named: Any) -> None:
            if not logger.isEnabledFor(level):
                self._heard(logger.name, text, arguments)
            named["stacklevel"] = named.get("stacklevel", 1) + 1  # who called us is what a record shows
            whole(logger, text, *arguments, **named)

        self.patch.setattr(logging.Logger, name, log)

    def _heard(self, name: str, text: object, arguments: tuple[Any, ...]) -> None:
        if name.partition(".")[0] in OURS:
            record = logging.LogRecord(name, logging.DEBUG, "", 0, text, arguments, None)
            self.words.append(record.getMessage())

    def _listen(self, family: type[Exception]) -> None:
        begin = family.__init__

        def init(error: Exception, *arguments: Any, **named: Any) -> None:
            begin(error, *arguments, **named)
            self.words.append(f"{error} {error!r}")

        self.patch.setattr(family, "__init__", init)

    def found(self, module: str) -> str:
        """The first words since the last look that hold a key of this test module, "" when there are none."""
        words, self.words = self.words, []
        self.keys |= self.new
        fresh, self.new = self.new, set()
        if module != self.module:
            self.needles, self.module = Needles(set()), module
        self.needles.add(fresh)
        return next((text for text in words if self.needles.are_in(text)), "")


def holds_key(text: str, keys: set[bytes]) -> bool:
    """Whether a text holds one of these keys: in hexadecimal digits, base64, or as Python writes octets."""
    return bool(keys) and Needles(keys).are_in(text)


class Needles:
    """How the beginnings of keys look in text."""

    def __init__(self, keys: set[bytes]) -> None:
        self._hex: set[str] = set()
        self._base64: set[str] = set()
        self._quoted: list[str] = []
        self.add(keys)

    def add(self, keys: set[bytes]) -> None:
        """Look for these, too; as Python writes octets for the latest keys only, since that takes long."""
        self._hex.update(key[:16].hex() for key in keys)
        self._base64.update(base64.b64encode(key)[:20].decode() for key in keys)
        self._quoted = [repr(key[:16])[2:-1] for key in keys]

    def are_in(self, text: str) -> bool:
        """Whether one of them is there."""
        digits = LONG_HEX.findall(_SEPARATORS.sub("", text.lower()))
        if _windows(digits, 32, self._hex) or _windows(LONG_BASE64.findall(text), 20, self._base64):
            return True
        return "\\x" in text and any(quoted in text for quoted in self._quoted)


def _windows(runs: list[str], size: int, needles: set[str]) -> bool:
    return any(run[at : at + size] in needles for run in runs for at in range(len(run) - size + 1))


class WatchHandler(logging.Handler):
    """Hands every log line to the watch, formatted as an element would."""

    def __init__(self, watch: KeyWatch) -> None:
        super().__init__(logging.DEBUG)
        self._watch = watch
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.words.append(self.format(record))


WATCH = KeyWatch()


def pytest_configure(config: pytest.Config) -> None:
    WATCH.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    WATCH.patch.undo()


@pytest.fixture(autouse=True)
def _no_key_in_words(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test: what was said while it ran holds no key."""
    handler = WatchHandler(WATCH)
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    found = WATCH.found(request.node.nodeid.partition("::")[0])
    assert not found, f"a key is in these words: {found}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What the processes of this run have written holds none of the keys either."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is None or not WATCH.keys:
        return
    needles = Needles(WATCH.keys)
    for path in sorted(Path(factory.getbasetemp()).rglob("*")):
        wanted = path.suffix in SEARCHED or path.name == "log"
        if wanted and path.is_file() and path.stat().st_size < LARGEST:
            for line in path.read_text(errors="replace").splitlines():
                if needles.are_in(line):
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED
                    print(f"\nkey_watch: {path} holds a key")
                    break
