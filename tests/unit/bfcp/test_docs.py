"""docs/bfcp.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_test_in_the_table_exists() -> None:
    """Tests are named alone, or behind the path of their file."""
    table = (ROOT / "docs/bfcp.md").read_text()
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(?:[\w/]+\.py::)?(test_\w+)`", table))
    assert len(named) > 30
    assert named <= written
    for path, name in re.findall(r"`([\w/]+\.py)::(test_\w+)`", table):
        assert f"def {name}" in (ROOT / path).read_text()
