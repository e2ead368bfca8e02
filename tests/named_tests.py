"""Tests that a page of docs/ names for what it claims."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WITH_FILE = re.compile(r"`([\w/]+\.py)::(\w+)`")
ALONE = re.compile(r"`(test_\w+)`")


def functions_of(path: Path) -> set[str]:
    """The names of all functions in a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def missing(page: str, folder: Path) -> Iterator[str]:
    """What a page names that does not exist; files are named as seen from `folder`."""
    for file, test in sorted(set(WITH_FILE.findall(page))):
        if not (folder / file).exists() or test not in functions_of(folder / file):
            yield f"{file}::{test}"
    written: set[str] = set().union(*map(functions_of, (ROOT / "tests").rglob("test_*.py")))
    yield from sorted(set(ALONE.findall(page)) - written)
