"""Ports on loopback for elements that are told theirs before they start.

None is given twice while others are left, to nobody: a process takes slices of the ports for itself, and keeps each by
an abstract Unix socket of that name, which ends with the process whatever becomes of it. All lie below the range from
which the kernel picks, so no connection and no "port 0" takes one before the element listens.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable

FIRST, END = 20_000, 32_000
SLICE = 400
MEDIA_FIRST, MEDIA_END = 12_000, 20_000
MEDIA_COUNT = 400


class NoPortsError(Exception):
    """Others have them all."""


class Slice:
    """Some ports that no other process takes until this one closes it, or ends."""

    def __init__(self, ports: range, kept: socket.socket) -> None:
        self.ports = ports
        self._kept = kept

    @classmethod
    def take(cls, first: int, count: int) -> Slice | None:
        """None: another has it, or somebody listens on one of the ports."""
        kept = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            kept.bind(f"\0ims-floor-control/ports/{first}")
        except OSError:
            kept.close()
            return None
        taken = cls(range(first, first + count), kept)
        if not _free(taken.ports):
            taken.close()
            return None
        return taken

    def close(self) -> None:
        """Let others have it."""
        self._kept.close()


class PortGiver:
    """Gives ports one after the other; the order begins anew when nothing is left."""

    def __init__(self) -> None:
        self._slices: list[Slice] = []
        self._left = range(0)
        self._next = secrets.randbelow((END - FIRST) // SLICE)

    def give(self, count: int) -> range:
        """Neighbouring ports, at most SLICE. Raises NoPortsError."""
        if count > SLICE:
            raise ValueError(f"{count} ports are more than a slice")
        while True:
            while len(self._left) >= count:
                wanted, self._left = self._left[:count], self._left[count:]
                if _free(wanted):
                    return wanted
            self._left = self._slice()

    def _slice(self) -> range:
        total = (END - FIRST) // SLICE
        for _ in range(total):
            first = FIRST + self._next % total * SLICE
            self._next += 1
            if taken := Slice.take(first, SLICE):
                self._slices.append(taken)
                return taken.ports
        if not self._slices:
            raise NoPortsError(f"no ports are left between {FIRST} and {END}")
        self._slices.append(self._slices.pop(0))
        return self._slices[-1].ports


def _free(ports: Iterable[int]) -> bool:
    """Nobody has one of them, on TCP or UDP, at any address of the host."""
    for port in ports:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("", port))
                udp.bind(("", port))
            except OSError:
                return False
    return True


_giver = PortGiver()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has for TCP or UDP, and nobody else will be given. Raises NoPortsError."""
    return [_giver.give(1)[0] for _ in range(count)]


def port_range(count: int) -> tuple[int, int]:
    """First and last of some neighbouring ports like those of `free_ports`. Raises NoPortsError."""
    given = _giver.give(count)
    return given[0], given[-1]


def media_ports() -> Slice:
    """MEDIA_COUNT ports for the MRFP of a laboratory, until they are closed. Raises NoPortsError."""
    slices = (MEDIA_END - MEDIA_FIRST) // MEDIA_COUNT
    start = secrets.randbelow(slices)
    for number in range(slices):
        first = MEDIA_FIRST + (start + number) % slices * MEDIA_COUNT
        if taken := Slice.take(first, MEDIA_COUNT):
            return taken
    raise NoPortsError(f"no media ports are left between {MEDIA_FIRST} and {MEDIA_END}")
