"""The rules of the house, read from the sources: who may import whom, what a wire may touch, what a repr may show.

Each rule is a function from a syntax tree to complaints. It is tried on all sources, and on small samples that break
it, so that a rule that has stopped to see anything is noticed.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ELEMENTS = frozenset({"mrfc", "mrfp_agent", "mrf_kms", "mrf_ue"})
PROJECT = ELEMENTS | {"mrf_protocols", "mrf_ops", "mrfc_kemi"}
SHARED = frozenset({"mrf_protocols", "mrf_ops"})
DOOR = "mrf_kms.client"
"""The one module of an element that the others may import."""

FOLDERS = {
    "mrf_protocols": "mrf_protocols",
    "mrf_ops": "mrf_ops",
    "mrf_kms": "mrf_kms",
    "mrf_ue": "mrf_ue",
    "mrfp_agent": "mrfp_agent",
    "mrfc": "plugin/mrfc",
    "mrfc_kemi": "kamailio",
}
"""Import name of each part of the project -> its folder."""

MAY_IMPORT: dict[str, frozenset[str]] = {
    "mrf_protocols": frozenset(),
    "mrf_ops": frozenset(),
    "mrfc_kemi": frozenset({"mrfc"}),
    **dict.fromkeys(ELEMENTS, SHARED),
}

ROOMS_OF_MRFC: dict[str, frozenset[str]] = {
    "sip": frozenset(),
    "trunks": frozenset({"sip"}),
    "state": frozenset({"sip"}),
    "keys": frozenset({"sip"}),
    "mp": frozenset({"sip", "state"}),
    "mixer": frozenset({"sip", "state"}),
    "calls": frozenset({"sip", "trunks", "state", "keys", "mp", "mixer"}),
    "floors": frozenset({"sip", "state", "mp", "calls"}),
    "roster": frozenset({"sip", "state", "mp", "calls"}),
    "operator": frozenset({"sip", "state", "mp", "calls", "floors", "roster"}),
    "ctl": frozenset(),
}
"""The rooms of the focus, and which others each may know; modules beside the rooms put them together."""

TRUNK_DRIVERS = frozenset({"player", "run", "report", "command"})
"""Modules of the trunk test that carry scenarios out, or print; all others are sans-IO."""

WORLD = frozenset(
    {
        "asyncio",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
        "selectors",
        "signal",
        "socket",
        "subprocess",
        "time",
    }
)
"""What a sans-IO part has no use for: sockets, clocks, randomness, files, logs."""
WORLDLY_CALLS = frozenset({"open", "print", "input", "breakpoint"})

SECRETS = frozenset({"psk", "tek", "tgk", "mpk", "mpki", "mpkr", "tpk", "password"})
SECRET_ENDINGS = ("key", "keys", "psk", "tek", "tgk", "mpk", "secret", "salt")
"""A field of octets whose name ends so is taken for key material."""

NO_SECRETS = frozenset({"replay_key"})
"""Named like key material, but a digest under which a message is remembered."""

Rule = Callable[[str, ast.Module], Iterator[str]]
"""(part of the project, tree of one file) -> complaints, each with its line."""


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, wherever in the file, with the line: "from a import b" gives "a.b"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, module: str) -> bool:
    """Whether a dotted name is the module or something in it."""
    return name == module or name.startswith(f"{module}.")


def only_allowed_parts(part: str, tree: ast.Module) -> Iterator[str]:
    """Elements know the protocols and mrf_ops, never one another, and mrf_protocols and mrf_ops know nobody."""
    for line, name in imported(tree):
        top = name.partition(".")[0]
        if top not in PROJECT or top == part or top in MAY_IMPORT[part]:
            continue
        if part in ELEMENTS and within(name, DOOR):
            continue
        yield f"{line}: {part} imports {name}"


def only_absolute_imports(_part: str, tree: ast.Module) -> Iterator[str]:
    """Relative imports could climb out of a part unseen by the rule above."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{node.lineno}: relative import"


def ksr_only_in_its_file(part: str, tree: ast.Module) -> Iterator[str]:
    """KSR exists inside Kamailio only."""
    if part != "mrfc_kemi":
        yield from (f"{line}: imports KSR" for line, name in imported(tree) if within(name, "KSR"))


def wires_do_not_touch_the_world(part: str, tree: ast.Module) -> Iterator[str]:
    """mrf_protocols is sans-IO: no socket, clock, randomness, log, file, nothing to await."""
    if part != "mrf_protocols":
        return
    for line, name in imported(tree):
        if name.partition(".")[0] in WORLD:
            yield f"{line}: imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{node.lineno}: {type(node).__name__}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WORLDLY_CALLS:
            yield f"{node.lineno}: calls {node.func.id}"


def modules_say_what_they_are(_part: str, tree: ast.Module) -> Iterator[str]:
    """Every module with anything in it has a docstring."""
    if tree.body and not ast.get_docstring(tree):
        yield "1: no module docstring"


def keys_are_not_shown(_part: str, tree: ast.Module) -> Iterator[str]:
    """No generated repr shows a field that holds key material."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or not _repr_is_generated(node):
            continue
        for statement in node.body:
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and _is_secret(statement.target.id, ast.unparse(statement.annotation))
                and not (isinstance(statement.value, ast.Call) and _says_no_repr(statement.value))
            ):
                yield f"{statement.lineno}: repr of {node.name} shows {statement.target.id}"


def _is_secret(name: str, annotation: str) -> bool:
    plain = name.lower().strip("_")
    if plain in NO_SECRETS:
        return False
    holds_text = re.search(r"\b(bytes|bytearray|memoryview|str|Any|object)\b", annotation) is not None
    holds_octets = re.search(r"\b(bytes|bytearray|memoryview)\b", annotation) is not None
    return (plain in SECRETS and holds_text) or (plain.endswith(SECRET_ENDINGS) and holds_octets)


def _repr_is_generated(node: ast.ClassDef) -> bool:
    """Dataclasses, named tuples and msgspec structs that do not define their own repr."""
    if any(isinstance(member, ast.FunctionDef) and member.name == "__repr__" for member in node.body):
        return False
    if any(ast.unparse(base).rpartition(".")[2] in ("NamedTuple", "Struct") for base in node.bases):
        return True
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        if ast.unparse(call.func if call else decorator).rpartition(".")[2] == "dataclass":
            return not (call and _says_no_repr(call))
    return False


def _says_no_repr(call: ast.Call) -> bool:
    return any(
        word.arg == "repr" and isinstance(word.value, ast.Constant) and word.value.value is False
        for word in call.keywords
    )


RULES: tuple[Rule, ...] = (
    only_allowed_parts,
    only_absolute_imports,
    ksr_only_in_its_file,
    wires_do_not_touch_the_world,
    modules_say_what_they_are,
    keys_are_not_shown,
)


def sources() -> list[tuple[str, Path]]:
    """Every Python file of the project proper, with the part it belongs to."""
    return [
        (part, path) for part, folder in FOLDERS.items() for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def texts() -> Iterator[Path]:
    """Every file that the repository holds or could hold, without what tools leave behind."""
    leftovers = {"__pycache__", "build", "dist", "run"}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in leftovers
            and (not name.startswith(".") or name == ".ci")
            and not name.endswith(".egg-info")
        ]
        yield from (
            Path(folder, name) for name in files if name != ".git"
        )  # where a work tree has its repository


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_keep_the_rule(rule: Rule) -> None:
    complaints = [
        f"{path.relative_to(ROOT)}:{complaint}"
        for part, path in sources()
        for complaint in rule(part, ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert complaints == []


@pytest.mark.parametrize("room", ROOMS_OF_MRFC)
def test_rooms_of_the_focus_know_only_the_rooms_before_them(room: str) -> None:
    complaints = [
        f"{path.relative_to(ROOT)}:{line}: imports {name}"
        for path in sorted((ROOT / FOLDERS["mrfc"] / room).glob("*.py"))
        for line, name in imported(ast.parse(path.read_text(encoding="utf-8")))
        for other in ROOMS_OF_MRFC.keys() - ROOMS_OF_MRFC[room] - {room}
        if within(name, f"mrfc.{other}")
    ]
    assert complaints == []


def test_every_room_of_the_focus_has_its_rule() -> None:
    folders = {path.parent.name for path in (ROOT / FOLDERS["mrfc"]).glob("*/__init__.py")}
    assert folders == ROOMS_OF_MRFC.keys()


SCENARIOS = sorted(path for path in (ROOT / "mrf_ue/trunk").glob("*.py") if path.stem not in TRUNK_DRIVERS)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenarios_of_the_trunk_test_are_sans_io(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(wires_do_not_touch_the_world("mrf_protocols", tree)) == []
    drivers = {f"mrf_ue.trunk.{name}" for name in TRUNK_DRIVERS} | {"mrf_ue.sip", "mrf_ue.sip_live_call"}
    assert [name for _, name in imported(tree) for driver in drivers if within(name, driver)] == []


@pytest.mark.parametrize("part", FOLDERS)
def test_every_part_is_looked_at(part: str) -> None:
    assert part in {name for name, _ in sources()}


def test_no_file_names_the_machine_it_was_made_on() -> None:
    machine_path = re.compile(rb"(?<![\w.-])/" + rb"work/")
    found = [str(path.relative_to(ROOT)) for path in texts() if machine_path.search(path.read_bytes())]
    assert found == []
    assert machine_path.search(b"see /" + b"work/shared")


@pytest.mark.parametrize(
    ("rule", "part", "source"),
    [
        (only_allowed_parts, "mrf_protocols", "import mrf_ops.trace"),
        (only_allowed_parts, "mrf_protocols", "def f():\n    from mrfc import engine"),
        (only_allowed_parts, "mrf_ops", "from mrf_protocols import sdp"),
        (only_allowed_parts, "mrfc", "import mrfp_agent"),
        (only_allowed_parts, "mrfc", "from mrf_kms.server import run"),
        (only_allowed_parts, "mrfc", "from mrf_kms import server"),
        (only_allowed_parts, "mrfc", "import mrf_kms.clients"),
        (only_allowed_parts, "mrf_ue", "import mrfc"),
        (only_allowed_parts, "mrf_ops", "import mrf_kms.client"),
        (only_allowed_parts, "mrfc_kemi", "import mrf_ops"),
        (only_allowed_parts, "mrfc", "import mrfc_kemi"),
        (only_absolute_imports, "mrfc", "from ..mrfp_agent import x"),
        (ksr_only_in_its_file, "mrfc", "import KSR"),
        (ksr_only_in_its_file, "mrfc", "from KSR import tm"),
        (wires_do_not_touch_the_world, "mrf_protocols", "import os.path"),
        (wires_do_not_touch_the_world, "mrf_protocols", "from time import monotonic"),
        (wires_do_not_touch_the_world, "mrf_protocols", "def f():\n    import socket"),
        (wires_do_not_touch_the_world, "mrf_protocols", "async def f(): pass"),
        (wires_do_not_touch_the_world, "mrf_protocols", "x = open('f')"),
        (modules_say_what_they_are, "mrfc", "import sys"),
        (keys_are_not_shown, "mrfc", "@dataclass\nclass A:\n    psk: bytes"),
        (keys_are_not_shown, "mrfc", "@dataclass(frozen=True)\nclass A:\n    psk: str | None = None"),
        (
            keys_are_not_shown,
            "mrfc",
            "@dataclasses.dataclass()\nclass A:\n    key: bytes = field(default=b'')",
        ),
        (keys_are_not_shown, "mrfc", "@dataclass\nclass A:\n    tek: bytes = field(repr=True)"),
        (keys_are_not_shown, "mrfc", "@dataclass\nclass A:\n    auth_key: Optional[bytes]"),
        (keys_are_not_shown, "mrfc", "class A(NamedTuple):\n    tgk: bytes"),
        (keys_are_not_shown, "mrfc", "class A(msgspec.Struct):\n    mpk: bytes"),
    ],
)
def test_rule_sees_what_breaks_it(rule: Rule, part: str, source: str) -> None:
    assert len(list(rule(part, ast.parse(source)))) == 1


@pytest.mark.parametrize(
    ("rule", "part", "source"),
    [
        (only_allowed_parts, "mrfc", "import mrf_protocols.sdp, mrf_ops.logs, mrfc.engine, socket"),
        (only_allowed_parts, "mrfc", "from mrf_kms.client import KmsClient"),
        (only_allowed_parts, "mrf_ue", "from mrf_kms import client"),
        (only_allowed_parts, "mrfc_kemi", "import KSR, mrfc.jobs"),
        (ksr_only_in_its_file, "mrfc_kemi", "import KSR"),
        (wires_do_not_touch_the_world, "mrfc", "import os, time\nasync def f(): await g()"),
        (wires_do_not_touch_the_world, "mrf_protocols", "import re, ssl\nx = time\ny = a.open()"),
        (modules_say_what_they_are, "mrfc", '"""What it is."""'),
        (modules_say_what_they_are, "mrfc", ""),
        (keys_are_not_shown, "mrfc", "@dataclass\nclass A:\n    psk: bytes = field(repr=False)"),
        (keys_are_not_shown, "mrfc", "@dataclass(repr=False)\nclass A:\n    psk: bytes"),
        (keys_are_not_shown, "mrfc", "@dataclass\nclass A:\n    psk: bytes\n    def __repr__(self): ..."),
        (
            keys_are_not_shown,
            "mrfc",
            "@dataclass\nclass A:\n    key: str\n    key_mgmt: bytes\n    psk: bool",
        ),
        (keys_are_not_shown, "mrfc", "class A:\n    psk: bytes"),
    ],
)
def test_rule_lets_pass_what_keeps_it(rule: Rule, part: str, source: str) -> None:
    assert list(rule(part, ast.parse(source))) == []
