"""docs/sip.md claims nothing without a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "sip.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))


def functions_of(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_that_is_named_exists(file: str, test: str) -> None:
    path = ROOT / "tests" / file
    assert path.exists(), file
    assert test in functions_of(path)


def test_every_claim_in_the_tables_has_a_row_with_all_its_columns() -> None:
    columns = 0
    for line in PAGE.splitlines():
        if not line.startswith("|"):
            columns = 0
            continue
        found = line.count("|")
        assert columns in (0, found), line
        columns = found


def test_every_row_names_a_test() -> None:
    """The table of RFC 4475 as a whole is one test's."""
    tables, _, _ = PAGE.partition("## Torture messages")
    rows = [line for line in tables.splitlines() if re.match(r"\| \d", line)]
    assert len(rows) > 40
    assert [row for row in rows if "::" not in row.rstrip("| ").rpartition("|")[2]] == []


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 20
    assert not re.findall(r"`[^`]*::[^`]*`", re.sub(r"`[\w/]+\.py::\w+`", "", PAGE))
