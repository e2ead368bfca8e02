"""No command stands in the documentation that no test runs, but for those that are named here, each with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    *(ROOT / name for name in ("README.md", "INSTALL.md", "configs/sipp/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
RUN_BY = {
    "INSTALL.md": "functional/install/test_install.py",
    "configs/sipp/README.md": "interop/test_sipp.py",
    "docs/beside-kamailio.md": "functional/beside/test_page.py",
    "docs/dial-out.md": "functional/dial_out_requests/test_operator.py",
    "docs/floors.md": "functional/operations/test_pages.py",
    "docs/kms.md": "functional/kms/test_document.py",
    "docs/metrics.md": "functional/operations/test_pages.py",
    "docs/operations.md": "functional/operations/test_pages.py",
    "docs/packages.md": "functional/install/test_install.py",
    "docs/troubleshooting.md": "functional/operations/test_pages.py",
    "docs/trunk-test.md": "functional/trunks/test_trunk_page.py",
    "docs/trunks.md": "functional/beside/test_page.py",
    "docs/ue.md": "functional/operations/test_pages.py",
}
"""Pages of which a test takes every command as it stands there, and so fails when one no longer works."""
ONE_BY_ONE = {
    "README.md": {
        "script/demo": "functional/system/test_demo.py",
        "script/test": "is what runs the tests",
        "script/meeting carol": "functional/system/test_meeting.py",
        "script/meeting alice": "functional/system/test_meeting.py",
        "script/meeting bob": "functional/system/test_meeting.py",
    },
    "docs/keys.md": {
        "script/bench mikey_agreement": "takes minutes, for what tests/unit/mikey does with fewer flows"
    },
    "docs/performance.md": {
        "script/bench": "takes both cores for ten minutes, and figures are for people to judge",
        "script/bench dial_ins tls_setups": "the same",
        "script/bench --quick": "functional/bench/test_quick.py",
    },
}
"""Other commands: the test that runs it, or a part of it, without the set-up before; or why there is none."""


def commands(page: Path) -> Iterator[str]:
    """Blocks of shell commands, and commands that are shown with what they say (`$ command`)."""
    for kind, block in re.findall(r"^```(\w*)\n(.*?)```", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if kind == "sh" and line.strip():
                yield line.split(" #")[0].strip()
            elif not kind and line.startswith("$ "):
                yield line.removeprefix("$ ")
            else:
                assert not re.match(r"(script/|mrf-|mrfc-|mrfp-|curl )", line), (
                    f"{line} is no command to tests"
                )


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_run_or_has_a_reason(page: Path) -> None:
    found = set(commands(page))
    name = name_of(page)
    if name in RUN_BY:
        assert found, "a page without commands"
        test = (ROOT / "tests" / RUN_BY[name]).read_text()
        assert page.name in test, f"{RUN_BY[name]} does not read {name}"
    else:
        assert found == set(ONE_BY_ONE.get(name, ()))


def test_tests_that_are_named_exist() -> None:
    named = [reason for page in ONE_BY_ONE.values() for reason in page.values() if reason.endswith(".py")]
    assert len(named) > 3
    for test in named:
        assert (ROOT / "tests" / test).exists(), test
