"""docs/sip.md claims nothing without a test that exists."""

from __future__ import annotations

import re

from named_tests import ROOT, WITH_FILE, missing

PAGE = (ROOT / "docs" / "sip.md").read_text()


def test_every_test_that_is_named_exists() -> None:
    assert list(missing(PAGE, ROOT / "tests")) == []


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
    assert len(set(WITH_FILE.findall(PAGE))) > 20
    assert not re.findall(r"`[^`]*::[^`]*`", re.sub(r"`[\w/]+\.py::\w+`", "", PAGE))
