"""What systemd does for a service, as far as units of this project ask for it: init of a test's root, and `systemctl`.

    small_init.py              be init until standard input ends; what it keeps is in /run/small-init
    small_init.py VERB ...     be systemctl

Honoured of a unit: Type=notify with NotifyAccess, ExecStartPre, ExecStart, ExecReload, Environment, EnvironmentFile,
User, Group, State-, Logs- and RuntimeDirectory, UMask, LimitNOFILE, LimitCORE, ProtectSystem=strict, ProtectHome,
PrivateTmp, NoNewPrivileges, CapabilityBoundingSet; and WantedBy. Not played: filters of system calls and address
families, devices, restarts, the bite of the watchdog; script/install-trial has a real systemd. Runs on Debian's Python
without anything else.
"""

from __future__ import annotations

import argparse
import grp
import json
import os
import pwd
import re
import resource
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOME = Path("/run/small-init")
CONTROL = HOME / "control"
FOLDERS = (Path("/etc/systemd/system"), Path("/lib/systemd/system"))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DIRECTORIES = {"RuntimeDirectory": "/run", "StateDirectory": "/var/lib", "LogsDirectory": "/var/log"}
START_SECONDS = 90.0  # systemd's own
STOP_SECONDS = 90.0
NOT_RUNNING = 3
PROTECT = """
writable=$1 strict=$2 homes=$3 temporary=$4
shift 4
for folder in $writable; do mount --bind "$folder" "$folder"; done
[ "$temporary" != yes ] || for folder in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$folder"; done
[ "$homes" != yes ] || for folder in /root /home; do mount -t tmpfs -o mode=000,ro tmpfs "$folder"; done
[ "$strict" != strict ] || for folder in / /run; do mount -o remount,bind,ro "$folder"; done
cd /
exec "$@"
"""


class Refused(Exception):
    """The command cannot be carried out; the text says why."""


@dataclass
class Unit:
    """One unit file, and the process that runs for it."""

    name: str
    path: Path
    keys: dict[str, list[str]]
    process: subprocess.Popen[bytes] | None = None
    ready: threading.Event = field(default_factory=threading.Event)

    @property
    def log(self) -> Path:
        """What it wrote."""
        return HOME / f"{self.name}.log"

    @property
    def active(self) -> bool:
        """It runs and has said that it is ready."""
        return self.process is not None and self.process.poll() is None and self.ready.is_set()

    def key(self, name: str, default: str = "") -> str:
        """The last value of a key."""
        return self.keys.get(name, [default])[-1]


def read(name: str) -> Unit:
    """Find and read a unit file."""
    for folder in FOLDERS:
        if (folder / name).is_file():
            keys: dict[str, list[str]] = {}
            for line in (folder / name).read_text().replace("\\\n", " ").splitlines():
                key, equals, value = line.partition("=")
                if equals and not line.startswith(("#", ";")):
                    keys.setdefault(key.strip(), []).append(value.strip())
            return Unit(name, folder / name, keys)
    raise Refused(f"Unit {name} could not be found.")


def environment(unit: Unit) -> dict[str, str]:
    """What the unit's commands see."""
    user = pwd.getpwnam(unit.key("User", "root"))
    found = {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
    }
    words = [word for value in unit.keys.get("Environment", []) for word in shlex.split(value)]
    for value in unit.keys.get("EnvironmentFile", []):
        file = Path(value.removeprefix("-"))
        if file.exists() or not value.startswith("-"):
            words += shlex.split(file.read_text(), comments=True)
    found |= dict(word.split("=", 1) for word in words)
    found["NOTIFY_SOCKET"] = str(HOME / f"{unit.name}.notify")
    found["WATCHDOG_USEC"] = str(int(unit.key("WatchdogSec", "0")) * 1_000_000)
    if unit.process is not None:
        found["MAINPID"] = str(unit.process.pid)
    return found


def directories(unit: Unit) -> list[str]:
    """Make the unit's directories."""
    user, group = (
        pwd.getpwnam(unit.key("User", "root")).pw_uid,
        grp.getgrnam(unit.key("Group", "root")).gr_gid,
    )
    made = []
    for key, above in DIRECTORIES.items():
        for name in unit.key(key).split():
            folder = Path(above, name)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(int(unit.key(f"{key}Mode", "0755"), 8))
            os.chown(folder, user, group)
            made.append(str(folder))
    return made


def run(unit: Unit, line: str) -> subprocess.Popen[bytes]:
    """Start one of the unit's command lines, with what the unit takes away from it."""
    values = environment(unit)
    command = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-euc", PROTECT, unit.name]
    command += [" ".join(directories(unit)), *map(unit.key, ("ProtectSystem", "ProtectHome", "PrivateTmp"))]
    files = min(int(unit.key("LimitNOFILE", "524288")), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    command += ["prlimit", f"--nofile={files}", f"--core={unit.key('LimitCORE', '0')}"]
    command += ["setpriv", f"--reuid={unit.key('User', 'root')}", f"--regid={unit.key('Group', 'root')}"]
    command += (
        ["--init-groups", "--no-new-privs"] if unit.key("NoNewPrivileges") == "yes" else ["--init-groups"]
    )
    if unit.keys.get("CapabilityBoundingSet") == [""]:
        command += ["--inh-caps=-all", "--bounding-set=-all"]
    command += [
        re.sub(r"\$\{?(\w+)\}?", lambda name: values.get(name[1], ""), word) for word in shlex.split(line)
    ]
    with unit.log.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=values,
            umask=int(unit.key("UMask", "0022"), 8),
            start_new_session=True,
        )


def listen(unit: Unit) -> None:
    """Take what the unit's processes notify, until there is nobody left to do so."""
    address = HOME / f"{unit.name}.notify"
    address.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(address))
    address.chmod(0o666)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def take() -> None:
        while True:
            data, more, _, _ = listening.recvmsg(4096, socket.CMSG_SPACE(12))
            sender = struct.unpack("3i", more[0][2])[0]
            may = unit.key("NotifyAccess") == "all" or (unit.process and sender == unit.process.pid)
            if may and b"READY=1" in data:
                unit.ready.set()

    threading.Thread(target=take, daemon=True).start()


class Init:
    """Carries out one verb at a time."""

    def __init__(self) -> None:
        self._units: dict[str, Unit] = {}

    def serve(self) -> None:
        """Answer until nobody holds the other end of standard input any more."""
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(CONTROL))
            listening.listen()
            print("ready", flush=True)
            while True:
                peer, _ = listening.accept()
                with peer:
                    asked = argparse.Namespace(**json.loads(peer.makefile().readline()))
                    peer.sendall(json.dumps(self._answer(asked)).encode())

    def _answer(self, asked: argparse.Namespace) -> tuple[int, str]:
        verbs: dict[str, Callable[[Unit], str]] = {
            "start": self.start,
            "stop": self.stop,
            "restart": self.restart,
            "reload": self.reload,
            "status": self.status,
            "is-active": lambda unit: "active" if unit.active else "inactive",
            "enable": self.enable,
            "disable": self.disable,
            "show": lambda unit: self.show(unit, asked.property.split(","), asked.value),
        }
        if asked.verb == "daemon-reload":
            self._units = {name: unit for name, unit in self._units.items() if unit.active}
            return 0, ""
        try:
            units = [self._unit(name) for name in asked.units]
            said = [verbs[asked.verb](unit) for unit in units]
            if asked.now:
                said += [(self.start if asked.verb == "enable" else self.stop)(unit) for unit in units]
        except Refused as refused:
            return 1, f"{refused}\n"
        idle = asked.verb in ("status", "is-active") and not all(unit.active for unit in units)
        return NOT_RUNNING if idle else 0, "".join(f"{text}\n" for text in said if text and not asked.quiet)

    def _unit(self, name: str) -> Unit:
        if name not in self._units:
            self._units[name] = read(name if "." in name else f"{name}.service")
        return self._units[name]

    def start(self, unit: Unit) -> str:
        """ExecStartPre, ExecStart, and wait until it is ready."""
        if unit.active:
            return ""
        fresh = read(unit.name)
        unit.keys, unit.process = fresh.keys, None
        unit.ready.clear()
        if unit.key("Type") != "notify":
            raise Refused(f"{unit.name}: only Type=notify is played")
        for line in unit.keys.get("ExecStartPre", []):
            if run(unit, line).wait(START_SECONDS):
                raise Refused(f"{unit.name}: ExecStartPre failed\n{unit.log.read_text()}")
        listen(unit)
        unit.process = run(unit, unit.key("ExecStart"))
        for _ in range(int(START_SECONDS * 10)):
            if unit.ready.wait(0.1) or unit.process.poll() is not None:
                break
        if not unit.active:
            self.stop(unit)
            raise Refused(f"{unit.name} is not ready\n{unit.log.read_text()}")
        return ""

    def stop(self, unit: Unit) -> str:
        """SIGTERM to all of its processes, SIGKILL after a while."""
        if unit.process is not None and unit.process.poll() is None:
            os.killpg(unit.process.pid, signal.SIGTERM)
            try:
                unit.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(unit.process.pid, signal.SIGKILL)
                raise Refused(f"{unit.name} does not stop\n{unit.log.read_text()}") from None
            for name in unit.key("RuntimeDirectory").split():
                shutil.rmtree(Path("/run", name))
        unit.process = None
        return ""

    def restart(self, unit: Unit) -> str:
        """Both."""
        return self.stop(unit) + self.start(unit)

    def reload(self, unit: Unit) -> str:
        """ExecReload."""
        if not unit.active or run(unit, unit.key("ExecReload")).wait(START_SECONDS):
            raise Refused(f"{unit.name} cannot be reloaded\n{unit.log.read_text()}")
        return ""

    def status(self, unit: Unit) -> str:
        """Its state and its last words."""
        last = unit.log.read_text().splitlines()[-10:] if unit.log.exists() else []
        return "\n".join([f"{unit.name}: {'active' if unit.active else 'inactive'}", *last])

    def show(self, unit: Unit, names: Sequence[str], value: bool) -> str:
        """Properties that are asked for."""
        known = {
            "Type": unit.key("Type"),
            "WatchdogUSec": f"{unit.key('WatchdogSec', '0')}s",
            "NRestarts": "0",
            "ActiveState": "active" if unit.active else "inactive",
            "MainPID": str(unit.process.pid if unit.process is not None else 0),
        }
        return "\n".join(known[name] if value else f"{name}={known[name]}" for name in names)

    def enable(self, unit: Unit) -> str:
        """As [Install] says."""
        [target] = unit.keys["WantedBy"]
        link = FOLDERS[0] / f"{target}.wants" / unit.name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(unit.path)
        return f"Created symlink {link} -> {unit.path}."

    def disable(self, unit: Unit) -> str:
        """The opposite."""
        links = list(FOLDERS[0].glob(f"*.wants/{unit.name}"))
        for link in links:
            link.unlink()
        return "\n".join(f"Removed {link}." for link in links)


def systemctl(arguments: Sequence[str]) -> int:
    """Have init carry out a verb; gives the exit status."""
    parser = argparse.ArgumentParser(prog="systemctl")
    parser.add_argument("verb")
    parser.add_argument("units", nargs="*")
    parser.add_argument("-p", "--property", default="")
    for option in ("--value", "--now", "--quiet"):
        parser.add_argument(option, action="store_true")
    asked = parser.parse_intermixed_args(arguments)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(CONTROL))
        connection.sendall(json.dumps(vars(asked)).encode() + b"\n")
        status, output = json.loads(connection.makefile().read())
    print(output, end="")
    return int(status)


if __name__ == "__main__":
    sys.exit(systemctl(sys.argv[1:])) if sys.argv[1:] else Init().serve()
