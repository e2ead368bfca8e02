"""Offers in the manner of real devices: our own files, named for their quirks, and recordings where there are some."""

from __future__ import annotations

import json
import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "unit" / "sdp" / "fixtures"
RECORDED = Path(os.environ.get("MRF_SHARED_DATA", ROOT.parent / "shared" / "data")) / "sdp"


def recorded() -> dict[str, dict[str, str]]:
    """The index of the recordings, by file; empty where there are none."""
    index = RECORDED / "index.json"
    offers: list[dict[str, str]] = json.loads(index.read_text()) if index.is_file() else []
    return {entry["file"]: entry for entry in offers}


def body(path: Path) -> str:
    """An offer as it stands in an INVITE, with its line ends."""
    return path.read_bytes().decode()
