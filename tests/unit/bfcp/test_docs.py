"""docs/bfcp.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PLACES = [
    "tests/unit/bfcp/test_codec.py",
    "tests/unit/bfcp/test_framing.py",
    "tests/unit/mrfp/floor_control/test_server.py",
    "tests/unit/mrfp/floor_control/test_mrfc_rules.py",
    "tests/functional/mrfp/test_bfcp_dialects.py",
    "tests/unit/ue/test_floor_client.py",
    "tests/interop/test_bfcp_tshark.py",
]


def test_every_test_in_the_table_exists() -> None:
    written = {name for place in PLACES for name in re.findall(r"def (test_\w+)", (ROOT / place).read_text())}
    table = (ROOT / "docs/bfcp.md").read_text()
    named = set(re.findall(r"`(?:[\w/]+\.py::)?(test_\w+)`", table))
    assert len(named) > 30
    assert named <= written
