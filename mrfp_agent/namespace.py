"""Sockets in another network namespace: one helper thread that has entered it makes them for the whole process.

A socket belongs to the namespace of the thread that made it, for good, and may be used by any thread afterwards.
Entering needs CAP_SYS_ADMIN, which nothing else of the MRFP does.
"""

from __future__ import annotations

import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
Identity = tuple[int, int]


def identity(name: str) -> Identity | None:
    """What tells this namespace from a later one of the same name; None when there is none."""
    try:
        found = (FOLDER / name).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class NamespaceSockets:
    """Makes sockets in the network namespace called `name`; "" is the one of the process and needs no thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._entered: Identity | None = None
        self._thread: ThreadPoolExecutor | None = None

    def tcp(self, family: socket.AddressFamily) -> socket.socket:
        """A TCP socket. Raises OSError when the namespace is not there or may not be entered."""
        return self.make(family, socket.SOCK_STREAM)

    def make(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Any socket. Raises OSError."""
        if not self.name:
            return socket.socket(family, kind, protocol)
        current = identity(self.name)
        if self._thread is None or current != self._entered:
            self.close()
            self._thread = ThreadPoolExecutor(1, f"netns-{self.name}")
            try:
                self._thread.submit(_enter, self.name).result()
            except OSError:
                self.close()
                raise
            self._entered = current
        return self._thread.submit(socket.socket, family, kind, protocol).result()

    def close(self) -> None:
        """End the thread; sockets live on."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None


def _enter(name: str) -> None:
    """Move this thread, and only this one."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"network namespace {name}: {os.strerror(number)}")
    finally:
        os.close(descriptor)
