"""Documentation that does not lead astray: links, commands and keys exist."""

from __future__ import annotations

import argparse
import io
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import mrf_kms.cli
import mrf_ue.cli
import mrfc.ctl.cli
import mrfp_agent.cli

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "INSTALL.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OURS = re.compile(r"(?:runuser -u \S+ -- )?(?:/\S*/)?(mrf-kms|mrf-ue|mrfc-ctl|mrfp-agent)( .*)?$")
BETWEEN = re.compile(r"[;|](?=(?:[^']*'[^']*')*[^']*$)| && ")
"""What separates commands: not within quotes."""
PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "mrf-kms": mrf_kms.cli.main,
    "mrf-ue": mrf_ue.cli.main,
    "mrfc-ctl": mrfc.ctl.cli.main,
    "mrfp-agent": mrfp_agent.cli.main,
}


def anchors(page: Path) -> set[str]:
    """What can be linked to in a page, as the usual renderers name headings."""
    found = set()
    for line in page.read_text().splitlines():
        if line.startswith("#"):
            words = re.sub(r"[`*\[\]]|\([^)]*\)", "", line.lstrip("#").strip()).lower()
            found.add(re.sub(r"[^a-z0-9 _-]", "", words).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{page.name}: {target}"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of ours in a block of shell commands, or shown with what it says (`$ command`)."""
    for page in PAGES:
        for kind, block in re.findall(r"```(sh|)\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if not kind and not line.startswith("$ "):
                    continue  # what a command showed
                for command in BETWEEN.split(line.removeprefix("$ ").split(" #")[0]):
                    found = OURS.match(command.strip())
                    if found is not None:
                        words = shlex.split((found[2] or "").split(">")[0])
                        yield page.name, [found[1], *words]


class _Parsed(Exception):
    """The arguments were understood."""


@pytest.mark.parametrize(("page", "command"), list(commands()), ids=str)
def test_commands_are_understood(page: str, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the parser of the program; nothing is carried out."""
    parse = argparse.ArgumentParser.parse_args

    def only_parse(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
        parse(parser, arguments)
        raise _Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    with redirect_stdout(io.StringIO()), pytest.raises((_Parsed, SystemExit)) as end:
        PROGRAMS[command[0]](command[1:])
    assert isinstance(end.value, _Parsed) or getattr(end.value, "code", 1) == 0, (
        f"{page}: {' '.join(command)}"
    )  # --help ends with 0
