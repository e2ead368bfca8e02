"""INSTALL.md, followed in an empty Debian system that systemd-nspawn boots. Started by script/install-trial.

Commands that need the Internet (apt-get, pip) run first, in the order of the text; all others then run in the booted
system, whose only network is loopback with the addresses of the example on it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = "/root/ims-floor-control"
PROGRAMS = "/opt/ims-floor-control/venv/bin"
ADDRESS = "192.0.2.20/24"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
BLOCK = re.compile(r"(?P<before>[^\n]*\n\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL)
FILE = re.compile(r"`(/etc/ims-floor-control/[\w.-]+)`")
PACKAGES = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "packages.md").read_text(), re.DOTALL)
"""To build, to install, to remove."""
[UPGRADE] = re.findall(
    r"```sh\n([^`]*?apt-get.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL
)
NEWER = "SOURCE_DATE_EPOCH=$(($(date +%s) + 3600)) script/deb run/newer"
"""What an upgrade takes: packages of a later version."""
BY_HAND = ("## 2. The programs", "## 3. Users and files")


class TrialError(Exception):
    """The text does not lead where it should."""


@dataclass(frozen=True)
class Step:
    """A block of INSTALL.md: commands, or what a file shall hold."""

    part: str
    kind: str
    text: str
    file: str = ""

    @property
    def needs_internet(self) -> bool:
        return self.kind == "sh" and bool(re.search(r"^\s*apt-get|pip install", self.text, re.MULTILINE))


def steps(text: str) -> Iterator[Step]:
    """The blocks of INSTALL.md in their order."""
    for part in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        title = part.splitlines()[0]
        file = ""
        at = 0
        for found in BLOCK.finditer(part):
            named = FILE.findall(part[at : found.start("kind")])
            at = found.end()
            file = named[-1] if named else file
            yield Step(title, found["kind"], found["text"], "" if found["kind"] == "sh" else file)


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def run(
    command: Sequence[str], *, environment: dict[str, str] | None = None, capture: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program without input; `capture` keeps what it prints."""
    output = subprocess.PIPE if capture else None
    return subprocess.run(
        command,
        check=False,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if capture else None,
    )


class Entered:
    """A system whose namespaces commands can enter: `leader` is its init, `path` where it looks for programs."""

    def __init__(self, folder: Path, leader: int = 0, path: str = f"{PROGRAMS}:{PATH}") -> None:
        self.folder = folder
        self.leader = leader
        self.path = path
        self.environment: dict[str, str] = {}

    def inside(self, commands: str, check: bool = True) -> str:
        """Run commands in the booted system, in the folder with the sources; gives what they print."""
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p"]
        environment = {"PATH": self.path, "HOME": "/root", "LC_ALL": "C.UTF-8", **self.environment}
        done = run(
            [*enter, "/bin/sh", "-euc", f"cd {SOURCES}\n{commands}"],
            environment=environment,
            capture=True,
        )
        if check:
            self._checked(done, commands)
        return done.stdout

    def _checked(self, done: subprocess.CompletedProcess[str], commands: str) -> None:
        if done.returncode:
            output = done.stdout or ""
            raise TrialError(f"exit status {done.returncode} of\n{commands}\n{output[-4000:]}")


class System(Entered):
    """One Debian system in a folder."""

    def prepare(self, base: Path, release: str) -> None:
        """A fresh copy of the empty system, with the sources in it."""
        if not (base / "sbin" / "init").exists():
            say(f"debootstrap: an empty Debian, {release} (once)")
            shutil.rmtree(base, ignore_errors=True)
            packages = "systemd,systemd-sysv,dbus,iproute2,procps"
            command = ["debootstrap", "--variant=minbase", f"--include={packages}", release, str(base)]
            if run(command, capture=True).returncode:
                raise TrialError("debootstrap failed")
        shutil.rmtree(self.folder, ignore_errors=True)
        run(["cp", "-a", str(base), str(self.folder)])
        sources = self.folder / SOURCES.lstrip("/")
        sources.mkdir(parents=True)
        listed = run(["git", "-C", str(ROOT), "ls-files", "-z"], capture=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (sources / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, sources / name)

    def online(self, commands: str) -> None:
        """Run commands with this host's network, before the system is booted."""
        command = [
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--as-pid2",
            "-D",
            str(self.folder),
        ]
        command += [
            "--resolv-conf=copy-host",
            f"--chdir={SOURCES}",
            "--setenv=DEBIAN_FRONTEND=noninteractive",
        ]
        command += [f"--setenv={key}={os.environ[key]}" for key in os.environ if key.startswith("PIP_")]
        if "PIP_CERT" in os.environ:
            command += [
                f"--bind-ro={BUNDLE}:/run/host-authorities.crt",
                "--setenv=PIP_CERT=/run/host-authorities.crt",
            ]
        self._checked(run([*command, "/bin/sh", "-euxc", commands], capture=True), commands)

    @contextmanager
    def booted(self) -> Iterator[None]:
        """With systemd running in it."""
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--private-network"]
        with (self.folder.parent / "console.log").open("wb") as console:
            process = subprocess.Popen(
                [*command, "-D", str(self.folder)], stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        try:
            self.leader = self._wait_for_init(process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait_for_init(self, process: subprocess.Popen[bytes]) -> int:
        end = time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            for child in children:
                self.leader = int(child)
                state = self.inside("systemctl is-system-running || true", check=False)
                if state.strip() in ("running", "degraded"):
                    return int(child)
            time.sleep(0.3)  # systemd in the container tells this process nothing
        raise TrialError(f"the system does not boot, see {self.folder.parent}/console.log")


def edit(text: str, wanted: str) -> str:
    """A TOML file with keys changed as a person would: each in its table, replacing what stands there."""
    lines = text.splitlines()
    table = ""
    for line in wanted.splitlines():
        if line.startswith("["):
            table = line.strip()
        elif "=" in line:
            key = line.split("=")[0].strip()
            start, end = _table(lines, table)
            places = [at for at in range(start, end) if re.match(rf"(# )?{key} =", lines[at])]
            if not places:
                raise TrialError(
                    f"{table} {key} is not in the configuration file that comes with the program"
                )
            lines[places[0]] = line
    return "\n".join(lines) + "\n"


def _table(lines: list[str], title: str) -> tuple[int, int]:
    if title not in lines:
        raise TrialError(f"{title} is not in the configuration file that comes with the program")
    start = lines.index(title) + 1
    following = (at for at in range(start, len(lines)) if lines[at].startswith("["))
    return start, next(following, len(lines))


def follow(system: Entered, step: Step) -> None:
    """Do what one block says."""
    if step.kind != "sh":
        path = system.folder / step.file.lstrip("/")
        say(f"{step.part}: {step.file}")
        path.write_text(edit(path.read_text(), step.text) if step.kind == "toml" else step.text)
        return
    commands = step.text
    if "CALL-ID" in commands:
        files = "/tmp/ue-trace.jsonl"  # noqa: S108 - inside of the container
        listed = system.inside(f"mrfc-ctl ladder --trace {files}")
        commands = commands.replace("CALL-ID", listed.split()[0])
    say(f"{step.part}: {commands.strip().splitlines()[0]}")
    output = system.inside(commands)
    print("\n".join(f"   {line}" for line in output.splitlines()[-12:]))
    if "enable --now mrfp-agent" in commands:
        wait_for_mrfp(system)
    if "mrf-ue dial-in" in commands and "all went well" not in output:
        raise TrialError(f"no dial-in:\n{output}")


def wait_for_mrfp(system: Entered) -> None:
    """The MRFP registers within a second; on a busy machine it may take longer than the next command."""
    end = time.monotonic() + 60
    while '"in_service": true' not in (state := system.inside("mrfc-ctl mrfps --json")):
        if time.monotonic() > end:
            raise TrialError(f"no MRFP is in service: {state}")
        time.sleep(0.2)


def look_after(system: Entered) -> None:
    """What INSTALL.md promises of the services, once they run."""
    for unit in ("mrf-kms", "mrfp-agent", "mrfc"):
        system.inside(f"systemctl is-active {unit}.service; systemctl reload {unit}.service")
        shown = system.inside(f"systemctl show -p Type,WatchdogUSec,NRestarts,ActiveState {unit}.service")
        if "NRestarts=0" not in shown or "ActiveState=active" not in shown:
            raise TrialError(f"{unit}: {shown}")
    wait_for_mrfp(system)
    say("services are ready, reload, and were not restarted by the watchdog")


def watched(system: System) -> None:
    """A service whose event loop stands still is started anew, and one whose loop turns is left alone."""
    for unit, port in (("mrfp-agent", 9464), ("mrfc", 2944), ("mrf-kms", 8088)):
        folder = f"/run/systemd/system/{unit}.service.d"
        system.inside(
            f"mkdir -p {folder}; printf '[Service]\\nWatchdogSec=2\\nTimeoutAbortSec=2\\n' >{folder}/trial.conf\n"
            f"systemctl daemon-reload; systemctl restart {unit}.service; sleep 6; systemctl is-active {unit}.service"
        )
        restarts = f"systemctl show -p NRestarts --value {unit}.service"
        if system.inside(restarts).strip() != "0":
            raise TrialError(f"{unit} is restarted though its loop turns")
        owner = f"ss -Hltnp 'sport = :{port}' | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p' | head -n 1"
        system.inside(f"kill -STOP $({owner})")
        system.inside(
            f'for _ in $(seq 40); do sleep 0.5; [ "$({restarts})" = 0 ] || break; done\n'
            f'[ "$({restarts})" != 0 ]\n'
            f"for _ in $(seq 40); do systemctl is-active {unit}.service && break; sleep 0.5; done\n"
            f"rm -r {folder}; systemctl daemon-reload; systemctl restart {unit}.service"
        )
    wait_for_mrfp(system)
    say("the watchdog starts anew what stands still, and nothing else")


def upgrade(system: Entered) -> None:
    """Newer packages, as docs/operations.md says: nothing is stopped but the KMS until one restarts it, and no
    configuration is lost."""
    state = "systemctl show -p MainPID mrfc.service mrfp-agent.service; md5sum /etc/ims-floor-control/*.*"
    before = system.inside(state)
    [install] = [line for line in UPGRADE.splitlines() if line.startswith("apt-get install")]
    told = system.inside(f"cd run/newer; {install}")
    after = system.inside(state)
    if before != after or "mrfc.service still runs the former version" not in told:
        raise TrialError(f"an upgrade changes what it should not:\n{before}{told}{after}")
    system.inside(f"systemctl is-active mrf-kms.service; cd run/newer; {UPGRADE}")
    wait_for_mrfp(system)
    if system.inside(state).partition("/etc")[0] == before.partition("/etc")[0]:
        raise TrialError("the services were not restarted")
    say("an upgrade leaves calls and configuration alone")


def packages_instead(system: System) -> None:
    """Parts 2 and 3 as docs/packages.md says."""
    for commands in (NEWER, *PACKAGES[:2]):
        say(f"docs/packages.md: {commands.splitlines()[0]}")
        system.online(commands.replace("apt-get install", "apt-get install -y"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trial; returns the exit status."""
    parser = argparse.ArgumentParser(prog="install-trial", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "run" / "trial")
    parser.add_argument("--packages", action="store_true", help="by the packages of script/deb")
    parser.add_argument(
        "--release", choices=("bookworm", "trixie"), default="bookworm", help="Debian 12 or 13"
    )
    options = parser.parse_args(arguments)
    began = time.monotonic()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    system = System(folder / "system")
    todo = list(steps((ROOT / "INSTALL.md").read_text()))
    try:
        system.prepare(folder / f"base-{options.release}", options.release)
        for step in todo:
            if step.needs_internet and not (options.packages and step.part in BY_HAND):
                say(f"{step.part}: {step.text.strip().splitlines()[0]}")
                system.online(step.text.replace("apt-get install", "apt-get update; apt-get install -y"))
        if options.packages:
            packages_instead(system)
        with system.booted():
            system.inside(f"ip address add {ADDRESS} dev lo; ip link set lo up")
            for step in todo:
                if step.needs_internet or (options.packages and step.part in BY_HAND):
                    continue
                if step.part == "## Remove it":
                    look_after(system)
                    watched(system)
                    if options.packages:
                        upgrade(system)
                        system.inside(PACKAGES[2].replace("apt-get purge", "apt-get purge -y"))
                        break
                follow(system, step)
            left = system.inside("ls -d /opt/ims-floor-control /etc/ims-floor-control 2>/dev/null || true")
            if left:
                raise TrialError(f"left behind: {left}")
    except TrialError as error:
        print(f"install-trial: {error}", file=sys.stderr)
        return 1
    say(f"INSTALL.md leads to a dial-in, in {time.monotonic() - began:.0f} s with downloads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
