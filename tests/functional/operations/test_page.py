"""The page in a real browser: Debian's chromium, headless."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from browser import browse

Operator = Any  # of conftest.py, which tests cannot import
Participant = Any


def test_conferences_floors_and_a_ladder(
    operator: Operator, participant: Participant, tmp_path: Path
) -> None:
    participant()
    operator.until(lambda: any(floor["holders"] for floor in operator.rows("floors")), "a held floor")
    participant("carol")
    operator.until(lambda: any(floor["queue"] for floor in operator.rows("floors")), "a queue")
    alice = next(call for call in operator.rows("calls") if "alice" in call["remote"])
    picture = tmp_path / "page.png"
    page = browse(f"{operator.url}/#call={quote(alice['call_id'], safe='')}", tmp_path, picture)
    assert "2 calls, 1 conference, 1 MRFP" in page
    assert '<span class="holder">sip:alice@ue.example (1)</span>' in page
    assert '<span class="queued">sip:carol@ue.example (2)</span>' in page
    assert "in service" in page
    assert f'alt="ladder diagram of call {alice["call_id"]}"' in page
    assert '<p id="trouble" role="alert" hidden="">' in page
    assert picture.stat().st_size > 20_000


def test_the_page_can_change_nothing_and_load_nothing_from_elsewhere(operator: Operator) -> None:
    status, body, headers = operator.get("/")
    assert status == 200
    assert "http" not in body
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/page.js", "/page.css"):
        assert operator.get(path)[0] == 200
    assert operator.get("/ladders/unknown.svg")[0] == 404
    assert operator.get("/../mrfc.toml")[0] == 404


def test_markup_in_a_name_stays_text(operator: Operator, tmp_path: Path) -> None:
    """All that others can write goes in as text; only these ways of doing so are in the script."""
    _, script, _ = operator.get("/page.js")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script
