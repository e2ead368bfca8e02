"""The benches still run: tiny counts, no figure is judged."""

from __future__ import annotations

import os
import re
from pathlib import Path
from time import process_time

import pytest

import floor_cycles
import h248_codec
import mikey_agreement
import mikey_work
import run
from figures import Figure, Table, number
from mrf_protocols.h248 import decode, encode
from mrf_protocols.mikey import SUITE_128, SUITE_256, Suite
from processes import cpu_seconds, family, memory


@pytest.mark.parametrize("suite", [SUITE_128, SUITE_256], ids=lambda suite: suite.name)
def test_mikey_work_has_all_steps(suite: Suite) -> None:
    steps = mikey_work.measure(suite, 2)
    assert len(steps) == 4
    assert all(spent > 0 for spent in steps.values())


def test_h248_messages_come_back() -> None:
    messages = h248_codec.messages()
    assert len(messages) == 4
    for message in messages.values():
        assert decode(encode(message)) == message


def test_rate_counts_every_turn() -> None:
    turns: list[int] = []
    assert h248_codec.rate(lambda: turns.append(sum(range(1000))), 10) > 0
    assert len(turns) == 10 * h248_codec.ROUNDS


def test_floor_cycles() -> None:
    assert len(floor_cycles.in_memory(quick=True)) == 3


@pytest.mark.parametrize(
    ("figure", "reached", "aim"),
    [
        (Figure("a", 5.0, "us", most=5.0), True, "<= 5.00"),
        (Figure("a", 5.1, "us", most=5.0), False, "<= 5.00"),
        (Figure("a", 650.0, "/s", least=650.0), True, ">= 650"),
        (Figure("a", 59.0, "/s", peer=100.0, least_share=0.6), False, "ratio >= 0.60"),
        (Figure("a", 60.0, "/s", peer=100.0, least_share=0.6), True, "ratio >= 0.60"),
        (Figure("a", 1.0, "/s"), None, ""),
    ],
)
def test_aims(figure: Figure, reached: bool | None, aim: str) -> None:
    assert figure.reached is reached
    assert figure.cells()[4:] == (aim, {True: "yes", False: "NO", None: ""}[reached])


def test_table_is_aligned() -> None:
    table = Table(
        "Title", [Figure("one", 1234.5, "us", 1000.0), Figure("longer", 2.0, "us")], ("note",), "peer"
    )
    assert table.render().splitlines() == [
        "Title",
        "=====",
        "          figure   peer  ratio  aim  reached",
        "one     1,234 us  1,000   1.23",
        "longer   2.00 us",
        "peer: peer",
        "note",
    ]


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1.234, "1.23"), (12.34, "12.3"), (12345.6, "12,346")])
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_what_a_process_costs() -> None:
    pid = os.getpid()
    assert family(pid)[0] == pid
    before, until = cpu_seconds([pid]), process_time() + 0.05
    while process_time() < until:  # the kernel counts in ticks of some ms
        pass
    assert cpu_seconds([pid]) > before
    assert memory(pid).rss >= memory(pid).pss > 0


def test_unknown_bench_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["nonsense"])
    assert "no such bench: nonsense" in capsys.readouterr().err


def test_flows_of_the_agreement_have_everything() -> None:
    found = mikey_agreement.coverage(400)
    assert sum(found[f"mode {mode}"] for mode in (1, 2, 3, 4)) == 400
    assert found["suite 128"] == found["suite 256"] == 200
    assert min(found.values()) >= 10, found
    assert {"session key TGK", "session key TEK", "session key GTGK", "key forking (I)"} <= found.keys()


def test_benches_of_the_documents_exist() -> None:
    pages = (Path(__file__).parents[3] / "docs").glob("*.md")
    named = {name for page in pages for name in re.findall(r"script/bench ([a-z_0-9]+)", page.read_text())}
    assert "mikey_agreement" in named
    assert named <= set(run.BENCHES)


def test_every_bench_says_what_it_measures() -> None:
    page = (Path(__file__).parents[3] / "docs" / "performance.md").read_text()
    assert set(re.findall(r"^\| `([a-z_0-9]+)` \| ", page, re.MULTILINE)) == set(run.BENCHES)
