"""What a service tells systemd (sd_notify, Type=notify) and how it ends; nothing of it is needed to run without."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping

EXIT_CANNOT_RUN = 1
"""Something of this host is in the way (a taken port, a full disk): it may be gone the next time."""
EXIT_CONFIGURATION = os.EX_CONFIG
"""The configuration cannot be used; systemd shows 78/CONFIG. Starting again would not help."""


def cannot_listen(keys: str, host: str, port: int, error: OSError) -> str:
    """One sentence for a port that cannot be opened, and what to do; `keys` name it in the configuration."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            mend = f"another program has it (ss -ltunp 'sport = :{port}' shows which): stop that, or change {keys}"
        case None | errno.EADDRNOTAVAIL:  # asyncio of Python 3.13 passes over addresses that are not there
            mend = f"no interface of this host has the address (ip address shows them): change {keys}"
        case errno.EACCES:
            mend = f"ports below 1024 need CAP_NET_BIND_SERVICE: grant that, or change {keys}"
        case _:
            mend = f"{error.strerror or error}: see {keys}"
    return f"cannot listen on {place}: {mend}"


class Service:
    """The notification socket that systemd gave us, if any."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog = int(microseconds) / 1e6 if microseconds.isdigit() else None
        """Seconds within which `alive` has to be called again; None when nobody waits for it."""

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is over; `status` is one line for `systemctl status`."""
        self.tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self.tell("RELOADING=1")

    def stopping(self) -> None:
        """The end begins."""
        self.tell("STOPPING=1")

    def alive(self) -> None:
        """The watchdog may rest."""
        self.tell("WATCHDOG=1")

    def tell(self, *lines: str) -> None:
        """Send lines of sd_notify(3). A supervisor that does not listen must not harm the service."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notification:
                notification.setblocking(False)
                notification.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return
