"""What processes cost: CPU time and memory, from /proc. Both hold, also beside busy neighbours."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
        found += map(int, children.split())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far, all threads (first field of schedstat, in ns)."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e9


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident and proportional set size in kB."""

    rss: int
    pss: int


def memory(pid: int) -> Memory:
    """Memory of one process now."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    return Memory(sizes["Rss"], sizes["Pss"])


def allow_many_files(wanted: int = 0) -> int:
    """Raise this process's limit of open files, which its children inherit; returns it.

    To `wanted`, if that is more than the hard limit and this process may raise that.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # only root may
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, wanted),) * 2)
        return max(most, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def build_c(name: str, folder: Path) -> Path:
    """Compile one of the C programs of this folder."""
    source = Path(__file__).with_name(f"{name}.c")
    program = folder / name
    subprocess.run(["cc", "-O2", "-o", program, source, "-lssl", "-lcrypto"], check=True)
    return program
