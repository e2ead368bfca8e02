"""This machine's Debian with a layer on top that takes every change: a place to install into, gone afterwards.

Namespaces of its own for mounts, processes and the network (loopback with the address of INSTALL.md's example), and
small_init.py as its init. Needs root and overlayfs.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from install_trial import ADDRESS, PATH, SOURCES, Entered
from lab import ROOT

LEFT_OUT = shutil.ignore_patterns(".*", "run", "__pycache__", "*.egg-info", "build", "dist")
ENTER = """
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir changes work root
mount -t overlay -o lowerdir=/,upperdir=changes,workdir=work overlay root
mount --rbind /dev root/dev
mount -t proc proc root/proc
mount -t sysfs sysfs root/sys
for folder in run tmp var/tmp root var/lib/apt/lists; do mount -t tmpfs -o mode=1777 tmpfs "root/$folder"; done
chmod 755 root/run
mkdir -p root/run/changes root/run/host root/run/small-init root/run/wheels root/run/systemd/system root"$3"
mount --bind changes root/run/changes
mount --bind "$2" root/run/host
mount --bind "$2/systemctl" root/usr/bin/systemctl
mkdir root/run/before
cd root
pivot_root . run/before
umount -l /run/before
rmdir /run/before
ip link set lo up
ip address add "$4" dev lo
echo mounted
cd /
exec /usr/bin/python3 -B /run/host/small_init.py
"""


class NotPossible(Exception):
    """This machine does not let us; the text has its words."""


class OverlaidRoot(Entered):
    """Commands in it are run by `inside`; its files are below `folder`."""

    def changes(self) -> Iterator[str]:
        """Every file that is new, changed or removed, and every new folder; /run, /tmp and /root are not kept."""
        for path in sorted((self.folder / "run" / "changes").rglob("*")):
            name = path.relative_to(self.folder / "run" / "changes")
            mode = path.lstat().st_mode
            if stat.S_ISCHR(mode) and not os.path.lexists(Path("/", name)):
                continue  # the mark of something removed that only this layer had
            if not stat.S_ISDIR(mode) or not Path("/", name).is_dir():
                yield f"/{name}"


@contextmanager
def overlaid_root(folder: Path, path: str = PATH) -> Iterator[OverlaidRoot]:
    """Such a root, with the sources where INSTALL.md is followed; raises NotPossible."""
    if os.geteuid() != 0:
        raise NotPossible("only root may mount")
    host = folder / "host"
    (folder / "mounts").mkdir()
    host.mkdir()
    shutil.copy(Path(__file__).with_name("small_init.py"), host)
    (host / "systemctl").write_text('#!/bin/sh\nexec /usr/bin/python3 -B /run/host/small_init.py "$@"\n')
    (host / "systemctl").chmod(0o755)
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    command += ["/bin/sh", "-euc", ENTER, "enter", str(folder / "mounts"), str(host), SOURCES, ADDRESS]
    with (folder / "init.log").open("w+") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "mounted\n":
                raise NotPossible((folder / "init.log").read_text())
            assert process.stdout.readline() == "ready\n", (folder / "init.log").read_text()
            [leader] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            system = OverlaidRoot(Path(f"/proc/{leader}/root"), int(leader), path)
            shutil.copytree(ROOT, system.folder / SOURCES.lstrip("/"), ignore=LEFT_OUT, dirs_exist_ok=True)
            yield system
        finally:
            process.kill()  # and with it, by --kill-child, all that runs in there
            process.communicate()
