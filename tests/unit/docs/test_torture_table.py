"""The table of RFC 4475 in docs/sip.md is the one that the tests hold the MRFC to."""

from __future__ import annotations

from pathlib import Path

from torture_messages import RFC_4475

PAGE = (Path(__file__).parents[3] / "docs" / "sip.md").read_text()


def test_every_message_with_its_answer() -> None:
    for name, judged in RFC_4475.items():
        row = f"| {name} | {judged.section} | {judged.quirk} | {judged.status or 'none'} | {judged.why} |"
        assert row in PAGE, row
    assert len(RFC_4475) == 49
