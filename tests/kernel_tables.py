"""What the kernel knows of other programs' sockets and processes, for waiting on programs that tell nothing."""

from __future__ import annotations

from pathlib import Path

_ESTABLISHED, _LISTEN = "01", "0A"


def _rows(transport: str, port: int) -> list[list[str]]:
    found = []
    for table in (Path(f"/proc/net/{transport}"), Path(f"/proc/net/{transport}6")):
        rows = table.read_text().splitlines()[1:] if table.exists() else []
        found += [row.split() for row in rows]
    return [row for row in found if int(row[1].rpartition(":")[2], 16) == port]


def is_bound(transport: str, port: int) -> bool:
    """Whether somebody listens on a port, "tcp" or "udp". Nobody notices, as by connecting to it."""
    return any(transport == "udp" or row[3] == _LISTEN for row in _rows(transport, port))


def connections(port: int) -> int:
    """TCP connections that somebody has on this local port."""
    return sum(row[3] == _ESTABLISHED for row in _rows("tcp", port))


def has_ended(pid: int) -> bool:
    """Whether a process is over and its sockets are closed, also while nobody has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
