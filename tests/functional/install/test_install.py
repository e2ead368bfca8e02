"""INSTALL.md and docs/packages.md word by word, to a dial-in and back to nothing.

The root is this machine's Debian below a layer that takes all changes, without a network; services are started from
their units, as their users, by small_init.py. script/install-trial does the same in an empty Debian with systemd.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from overlaid_root import NotPossible, OverlaidRoot, overlaid_root
from venv_wheels import pack

import install_trial
from install_trial import BY_HAND, PATH, PROGRAMS, Step
from lab import ROOT, SITE

STEPS = list(install_trial.steps((ROOT / "INSTALL.md").read_text()))
REMOVAL = [step for step in STEPS if step.part == "## Remove it"]
BUILD, INSTALL, PURGE = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "packages.md").read_text(), re.DOTALL)
FORMER = """
dpkg --purge ims-floor-control-kms ims-floor-control-mrfp ims-floor-control-mrfc ims-floor-control 2>/dev/null || true
rm -rf /opt/ims-floor-control /etc/ims-floor-control /var/log/ims-floor-control /var/lib/mrf-kms
rm -f /etc/logrotate.d/ims-floor-control /etc/systemd/system/mrf*.service
for user in mrfp mrf-kms; do ! getent passwd $user || deluser --system $user; done
"""
"""Removes an installation that this machine itself may have, from the layer."""
BOOKS = re.compile(
    r"/var/(lib|cache|log)/(dpkg|apt|debconf|alternatives)|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|/etc/.pwd.lock"
)
"""Where Debian keeps account of packages and users."""
DEBIANS_OWN = "/etc/systemd/system/multi-user.target.wants/kamailio.service"
"""INSTALL.md has it switched off and says so."""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[OverlaidRoot]:
    """A root without the project, and for pip the Python packages of these tests as wheels."""
    try:
        with overlaid_root(tmp_path) as system:
            pack(SITE, system.folder / "run" / "wheels")
            system.environment |= {
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": "/run/wheels",
                "PIP_CONFIG_FILE": "/dev/null",
                "DEBIAN_FRONTEND": "noninteractive",
                "DPKG_DEB_COMPRESSOR_LEVEL": "0",
            }
            system.inside(FORMER)
            yield system
    except NotPossible as reason:
        pytest.skip(f"no root to install into: {reason}")


def left(system: OverlaidRoot) -> set[str]:
    """What is there now: all changes but those in Debian's books, the users, and the home of root."""
    changes = {name for name in system.changes() if not BOOKS.match(name)} - {DEBIANS_OWN}
    users = {f"user {line.split(':')[0]}" for line in system.inside("getent passwd").splitlines()}
    groups = {f"group {line.split(':')[0]}" for line in system.inside("getent group").splitlines()}
    return changes | users | groups | set(system.inside("ls -d /root/*").splitlines())


def follow(system: OverlaidRoot, steps: Sequence[Step]) -> None:
    for step in steps:
        install_trial.follow(system, step)


def test_by_hand(system: OverlaidRoot) -> None:
    before = left(system)
    system.path = f"{PROGRAMS}:{PATH}"  # what the text has one set in one's shell
    follow(system, [step for step in STEPS if step not in REMOVAL])
    install_trial.look_after(system)
    follow(system, REMOVAL)
    assert left(system) - before == set()


def test_by_packages(system: OverlaidRoot) -> None:
    before = left(system)
    system.inside(install_trial.NEWER)
    system.inside(BUILD)
    system.inside(INSTALL)
    follow(system, [step for step in STEPS if step not in REMOVAL and step.part not in BY_HAND])
    install_trial.look_after(system)
    install_trial.upgrade(system)
    system.inside(PURGE.replace("purge", "purge -y"))
    users = {f"{kind} {name}" for kind in ("user", "group") for name in ("mrf-kms", "mrfp")}
    assert left(system) - before == users | {"/root/alice.psk"}
    assert system.inside("dpkg-query -W -f '${Package} ' 'ims-floor-control*' 2>/dev/null || true") == ""


def test_what_stays_is_seen(system: OverlaidRoot) -> None:
    """The judge of the other tests."""
    before = left(system)
    system.inside("touch /etc/new /usr/lib/new; mkdir /opt/empty; rm /etc/os-release; touch /root/new")
    assert left(system) - before == {"/etc/new", "/usr/lib/new", "/opt/empty", "/etc/os-release", "/root/new"}


def test_a_service_is_as_restricted_as_its_unit_says(system: OverlaidRoot) -> None:
    """The judge again: user, rights and what can be written, of a service that tells."""
    unit = (ROOT / "configs" / "systemd" / "mrf-kms.service").read_text()
    shown = "cat /proc/self/status; umask; ls -d /root/*"
    tried = "touch /etc/new; touch /var/lib/mrf-kms/new && echo wrote"
    unit = re.sub(
        r"^ExecStart=.*$", f'ExecStart=/bin/sh -c "{shown}; {tried}; false"', unit, flags=re.MULTILINE
    )
    system.inside("adduser --system --group --no-create-home --home /var/lib/mrf-kms mrf-kms")
    (system.folder / "etc/systemd/system/mrf-kms.service").write_text(unit)
    output = system.inside("systemctl start mrf-kms.service || true")
    uid = system.inside("id -u mrf-kms").strip()
    for line in (
        f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}",
        "NoNewPrivs:\t1",
        "CapBnd:\t0000000000000000",
        "0077",
        "wrote",
    ):
        assert line in output.splitlines(), output
    assert "touch: cannot touch '/etc/new': Read-only file system" in output
    assert "ls: cannot access '/root/*': Permission denied" in output
