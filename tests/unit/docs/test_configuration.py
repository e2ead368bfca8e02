"""The commented configuration files are the reference: nothing missing, nothing too much, every default true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from mrf_kms.config import KmsConfig
from mrfc.config import MrfcConfig
from mrfp_agent.config import MrfpConfig

CONFIGS = Path(__file__).parents[3] / "configs"
ELEMENTS = [("mrfc.toml", MrfcConfig), ("mrfp.toml", MrfpConfig), ("kms.toml", KmsConfig)]
TABLE = re.compile(r"^(?:# )?\[{1,2}([a-z_.]+)\]{1,2}$")
KEY = re.compile(r"^(# )?([a-z_0-9]+) = (.*)$")


def struct_in(hint: Any) -> type[msgspec.Struct] | None:
    """The Struct that a field holds: itself, in a list, or unless it is None."""
    if get_origin(hint) is Annotated:
        return struct_in(get_args(hint)[0])
    if get_origin(hint) in (list, Union, UnionType):
        return next(filter(None, map(struct_in, get_args(hint))), None)
    return hint if isinstance(hint, type) and issubclass(hint, msgspec.Struct) else None


def tables(struct: type[msgspec.Struct], name: str = "") -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Every table by its name in the file."""
    yield name, struct
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        inner = struct_in(hints[field.name])
        if inner is not None:
            yield from tables(inner, f"{name}.{field.encode_name}".lstrip("."))


def written(text: str) -> dict[str, dict[str, tuple[bool, str]]]:
    """Tables, and in each the keys: whether it is commented out, and its value."""
    found: dict[str, dict[str, tuple[bool, str]]] = {"": {}}
    table = ""
    for line in text.splitlines():
        if (title := TABLE.match(line)) is not None:
            table = title[1]
            found.setdefault(table, {})
        elif (key := KEY.match(line)) is not None:
            found[table].setdefault(key[2], (bool(key[1]), key[3]))
    return found


@pytest.mark.parametrize(("name", "config"), ELEMENTS)
def test_every_key_is_there_and_no_other(name: str, config: type[msgspec.Struct]) -> None:
    shown = written((CONFIGS / name).read_text())
    for table, struct in tables(config):
        if table == "factory.floors":  # the same as conference.floors
            continue
        hints = get_type_hints(struct, include_extras=True)
        wanted = {field.encode_name for field in msgspec.structs.fields(struct)}
        inner = {key for key in wanted if struct_in(hints[key]) is not None}
        keys = set(shown.get(table, {}))
        assert wanted - inner - keys == set(), f"[{table}] of {name} does not tell of these"
        assert keys - wanted == set(), f"[{table}] of {name} tells of keys that are none"


@pytest.mark.parametrize(("name", "config"), ELEMENTS)
def test_what_is_commented_out_is_the_default(name: str, config: type[msgspec.Struct]) -> None:
    shown = written((CONFIGS / name).read_text())
    compared = 0
    for table, struct in tables(config):
        for field in msgspec.structs.fields(struct):
            commented, value = shown.get(table, {}).get(field.encode_name, (False, ""))
            default = field.default
            if not commented or default in (msgspec.NODEFAULT, None, ""):
                continue  # an example
            assert tomllib.loads(f"x = {value}")["x"] == default, f"{name}: {table}.{field.encode_name}"
            compared += 1
    assert compared > 5


@pytest.mark.parametrize(("name", "config"), ELEMENTS)
def test_every_key_has_a_comment(name: str, config: type[msgspec.Struct]) -> None:
    """A key, or the first of several keys in a row, stands below a comment in words, or below that of its table."""
    lines = (CONFIGS / name).read_text().splitlines()
    for before, line in pairwise(lines):
        if KEY.match(line):
            assert before.startswith(("# ", "[")) or KEY.match(before), f"{name}: {line}"
