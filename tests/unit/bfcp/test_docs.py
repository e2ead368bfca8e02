"""docs/bfcp.md names tests that exist."""

from __future__ import annotations

from named_tests import ALONE, ROOT, WITH_FILE, missing


def test_every_test_in_the_table_exists() -> None:
    """Tests are named alone, or behind the path of their file."""
    table = (ROOT / "docs/bfcp.md").read_text()
    assert len(set(ALONE.findall(table)) | set(WITH_FILE.findall(table))) > 30
    assert list(missing(table, ROOT)) == []
