"""Erlang/OTP's megaco and our codec read each other's messages."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from otp_messages import generated
from unit.h248.messages import READABLE_BY_OTP

from mrf_protocols.h248 import decode, encode
from mrf_protocols.h248.values import Message

HERE = Path(__file__).parent
CORPUS = "megaco-*/examples/meas/time_test.msgs"
ENTRY = re.compile(r'\{(\w+),\s*<<"((?:[^"\\]|\\.)*)">>\}')
MISWRITTEN = (
    "Audit of a termination answer",
    "Configure BFCP",
    "Reserve BFCP",
    "audit reply",
    "everything",
    "transactions",
)
"""OTP reads these, but its writers know no lists of parameter and statistic values, mangle the authentication header,
and forget embedded descriptors and the word Stream in topologies."""
UNESCAPED = {"n": "\n", "t": "\t", "r": "\r"}

pytestmark = pytest.mark.skipif(shutil.which("escript") is None, reason="Erlang/OTP is not installed")


def slug(name: str) -> str:
    return re.sub(r"\W+", "_", name)


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path]]:
    """What OTP says of every message of ours, by file name."""
    folder = tmp_path_factory.mktemp("otp")
    for name, message in READABLE_BY_OTP.items():
        for style in ("pretty", "compact"):
            octets = encode(message, pretty=style == "pretty")
            (folder / f"{style}_{slug(name)}.msg").write_bytes(octets)
    command = ["escript", str(HERE / "codec.escript"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return {name: (verdict, folder / name) for name, verdict in lines}


@pytest.mark.parametrize("style", ["pretty", "compact"])
@pytest.mark.parametrize("name", READABLE_BY_OTP)
def test_otp_reads_ours_and_we_read_what_otp_makes_of_it(
    verdicts: dict[str, tuple[str, Path]], name: str, style: str
) -> None:
    verdict, path = verdicts[f"{style}_{slug(name)}.msg"]
    if any(name.endswith(word) or name[2:].startswith(word) for word in MISWRITTEN):
        assert verdict == "ok" or verdict.startswith("unwritable"), path.read_text()
        return
    assert verdict == "ok", path.read_text()
    message = READABLE_BY_OTP[name]
    for suffix in (".otp_pretty", ".otp_compact"):
        theirs = decode(path.with_suffix(suffix).read_bytes())
        assert kinds(theirs) == kinds(message)


def kinds(message: Message) -> list[str]:
    """The shape of a message: OTP loses the case of names, so values are not compared."""
    found: list[str] = []
    for item in message.transactions:
        found.append(type(item).__name__)
        for action in getattr(item, "actions", ()):
            found += [
                f"{action.context_id} {command.kind} {len(command.descriptors)}"
                for command in action.commands
            ]
    return found


def corpus() -> Iterator[tuple[str, bytes]]:
    for path in sorted(Path("/usr/lib/erlang/lib").glob(CORPUS)):
        for name, text in ENTRY.findall(path.read_text()):
            plain = re.sub(r"\\(.)", lambda found: UNESCAPED.get(found[1], found[1]), text)
            yield name, plain.encode()


EXAMPLES = list(corpus())


@pytest.mark.skipif(not EXAMPLES, reason="erlang-examples is not installed")
def test_corpus_is_all_there() -> None:
    assert len(EXAMPLES) >= 149


@pytest.mark.parametrize("octets", [octets for _, octets in EXAMPLES], ids=[name for name, _ in EXAMPLES])
def test_we_read_otps_examples(octets: bytes) -> None:
    message = decode(octets)
    for pretty in (True, False):
        assert decode(encode(message, pretty=pretty)) == message


CORPUS_FILES = sorted((HERE.parents[1] / "unit" / "h248" / "corpus").glob("*.msg"))
DIFFERENCES = {
    "read_escaped_brace": "nonEscapeChar has the escaped brace (RFC 3525 annex B)",
    "read_audit_individual": "auditItems come in any order: an individual one before another (H.248.1 version 3, B.2)",
    "read_no_reason": "serviceChangeReason is REQUIRED, but RFC 3525 appendix I.1 begins with a registration without",
    "read_notify_with_error": "notifyRequest has an error behind the observed events (RFC 3525 annex B)",
    "read_signals_empty": "signalsDescriptor of RFC 3525 annex B, whose list is optional; version 3 has no braces then",
}
"""What OTP refuses and we read, and the clause; docs/h248.md lists the same. The other way round there is nothing."""


@pytest.fixture(scope="session")
def corpus_verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """Whether OTP reads each file of our corpus, by style and name."""
    folder = tmp_path_factory.mktemp("corpus")
    for path in CORPUS_FILES:
        for style in ("pretty", "compact"):
            (folder / f"{style}_{path.name}").write_bytes(path.read_bytes())
    command = ["escript", str(HERE / "codec.escript"), str(folder)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    lines = [line.split(" ", 1) for line in done.stdout.decode(errors="replace").splitlines()]
    return {name: verdict.startswith(("ok", "unwritable")) for name, verdict in lines}


@pytest.mark.parametrize("path", CORPUS_FILES, ids=lambda path: path.stem)
def test_otp_reads_and_refuses_what_we_do(corpus_verdicts: dict[str, bool], path: Path) -> None:
    ours = path.name.startswith("read_")
    theirs = {corpus_verdicts[f"{style}_{path.name}"] for style in ("pretty", "compact")}
    assert theirs == {ours != (path.stem in DIFFERENCES)}


def test_the_document_lists_the_differences() -> None:
    text = (HERE.parents[2] / "docs" / "h248.md").read_text()
    assert [name for name in DIFFERENCES if f"`{name}`" not in text] == []


def test_otp_reads_generated_messages_and_we_what_it_makes_of_them(tmp_path: Path) -> None:
    messages = generated()
    assert len(messages) >= 100
    for number, message in enumerate(messages):
        for style in ("pretty", "compact"):
            octets = encode(message, pretty=style == "pretty")
            (tmp_path / f"{style}_{number}.msg").write_bytes(octets)
    command = ["escript", str(HERE / "codec.escript"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    lines = done.stdout.decode(errors="replace").splitlines()
    assert len(lines) == 2 * len(messages)
    assert [line for line in lines if not line.split(" ")[1].startswith(("ok", "unwritable"))] == []
    written = [line.split(".")[0] for line in lines if line.endswith(" ok")]
    assert len(written) >= 50
    for name in written:
        ours = messages[int(name.split("_")[1])]
        for suffix in (".otp_pretty", ".otp_compact"):
            assert kinds(decode((tmp_path / name).with_suffix(suffix).read_bytes())) == kinds(ours)
