"""Messages in files, one form of the grammar each: what can be read survives writing, the rest is refused.

They also seed what chance does to them: octets changed, dropped, doubled, and messages cut together.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mrf_protocols.h248 import H248Error, decode, encode

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.msg"))
READ = [path for path in CORPUS if path.name.startswith("read_")]
REFUSED = [path for path in CORPUS if path.name.startswith("refused_")]


def test_the_corpus_is_there() -> None:
    assert len(READ) >= 50
    assert len(REFUSED) >= 25


@pytest.mark.parametrize("pretty", [True, False], ids=["pretty", "compact"])
@pytest.mark.parametrize("path", READ, ids=lambda path: path.stem)
def test_read_and_written(path: Path, pretty: bool) -> None:
    message = decode(path.read_bytes())
    assert decode(encode(message, pretty=pretty)) == message


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_refused(path: Path) -> None:
    with pytest.raises(H248Error):
        decode(path.read_bytes())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_chance_makes_of_it(path: Path) -> None:
    """Only H248Error may come of it."""
    chance = random.Random(path.name)
    octets = path.read_bytes() or b"!"
    others = [other.read_bytes() for other in CORPUS]
    for _ in range(40):
        changed = bytearray(octets)
        for _ in range(chance.randint(1, 4)):
            where = chance.randrange(len(changed) + 1)
            match chance.randrange(4):
                case 0:
                    changed[where : where + 1] = bytes([chance.randrange(256)])
                case 1:
                    del changed[where : where + chance.randint(1, 8)]
                case 2:
                    changed[where:where] = changed[max(0, where - 8) : where]
                case _:
                    other = chance.choice(others)
                    changed[where:] = other[chance.randrange(len(other) + 1) :]
        try:
            message = decode(bytes(changed))
        except H248Error:
            continue
        try:
            written = encode(message)
        except H248Error:
            continue
        assert decode(written) == message


@pytest.mark.parametrize("opening", [b"{", b"[", b"Context = 1 {", b"Events = 1 {a/b {Embed {"], ids=repr)
def test_ten_thousand_deep(opening: bytes) -> None:
    head = b"MEGACO/3 mg Transaction = 1 {Context = 1 {Modify = a/1 {Events = 1 {a/b {Embed {"
    for octets in (b"MEGACO/3 mg Transaction = 1 " + opening * 10000, head + opening * 10000):
        with pytest.raises(H248Error):
            decode(octets)


def test_a_thousand_commands() -> None:
    commands = ",".join(f"Subtract = a/{number}" for number in range(1000))
    message = decode(f"MEGACO/3 mg Transaction = 1 {{Context = 1 {{{commands}}}}}".encode())
    (transaction,) = message.transactions
    assert decode(encode(message)) == message
    assert repr(transaction).count("Command(") == 1000
