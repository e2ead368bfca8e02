"""docs/beside-kamailio.md and docs/trunks.md: their commands do what the pages say, in a folder instead of /etc."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from lab import ROOT
from mrfc.trunks.digest import Algorithm, ha1

NATIVE = (Path(__file__).parent / "native.cfg").read_text()
OURS = "# what the focus needs besides\n"
PLAYED = ("kamailio", "systemctl", "mrfc-ctl", "chgrp")
"""What belongs to the host; beside a script of somebody else Kamailio itself is run in the other tests here."""


def blocks(page: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


class Host:
    """A folder with an /etc, and a shell in the folder with the sources."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("kamailio", "ims-floor-control"):
            (folder / "etc" / name).mkdir(parents=True)
        programs = folder / "bin"
        programs.mkdir()
        for name in PLAYED:
            (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/played\n')
            (programs / name).chmod(0o755)
        self._path = f"{programs}:{os.environ['PATH']}"

    def run(self, block: str, where: Path = ROOT) -> list[str]:
        """The lines that a block of commands prints."""
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", block.replace("/etc/", f"{self.folder}/etc/")],
            cwd=where,
            env={"PATH": self._path},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, block + done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_an_include_file_comes_and_goes(host: Host) -> None:
    """The lines to add are those with which the registrar of the other tests here serves; removal restores the file."""
    begin, _, rest = NATIVE.partition(OURS)
    added = [line for line in rest.splitlines() if line.startswith("loadmodule")]
    theirs = host.folder / "etc" / "kamailio" / "kamailio.cfg"
    theirs.write_text(begin)
    install, start, remove = blocks("beside-kamailio.md")
    assert sorted(host.run(install)) == sorted(added)
    installed = {path.name for path in (host.folder / "etc" / "ims-floor-control").iterdir()}
    assert installed == {"mrfc-include.cfg", "mrfc_kemi.py"}
    theirs.write_text(NATIVE)
    host.run(start)
    host.run(remove)
    assert theirs.read_text() == begin
    assert list(theirs.parent.iterdir()) == [theirs]
    checked = f"kamailio -c -f {theirs}"
    restarted = "systemctl restart kamailio.service"
    played = (host.folder / "played").read_text().splitlines()
    assert played == [checked, restarted, "mrfc-ctl status", checked, restarted]


def test_in_debians_own_configuration(host: Host) -> None:
    """Modules that are loaded under conditions only are to be added, too; Kamailio itself judges the result."""
    theirs = host.folder / "etc" / "kamailio" / "kamailio.cfg"
    shipped = Path("/etc/kamailio/kamailio.cfg").read_text()
    theirs.write_text(shipped)
    added = host.run(blocks("beside-kamailio.md")[0])
    page = (ROOT / "docs" / "beside-kamailio.md").read_text()
    (include,) = re.findall(r"^```\n(#!define.*?)```", page, re.DOTALL | re.MULTILINE)
    included = "\n".join([*added, include]).replace("/etc/", f"{host.folder}/etc/")
    before, params, after = shipped.partition("# ----------------- setting module-specific parameters")
    assert params, "this machine's configuration is not Debian's any more"
    after = after.replace("\nrequest_route {\n", "\nrequest_route {\n    route(MRFC);\n")
    theirs.write_text(f"{before}{included}\n{params}{after}")
    done = subprocess.run(
        ["/usr/sbin/kamailio", "-c", "-f", theirs], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'loadmodule "htable.so"' in added


def test_a_file_of_users(host: Host) -> None:
    (block,) = blocks("trunks.md")
    host.run(block, host.folder)
    users = host.folder / "pbx.users"
    expected = ha1(Algorithm.SHA_256, "pbx", "conf.example.org", "PASSWORD")
    assert users.read_text() == f"pbx:conf.example.org:{expected}\n"
    assert users.stat().st_mode & 0o777 == 0o640
    assert (host.folder / "played").read_text() == "chgrp kamailio pbx.users\n"
