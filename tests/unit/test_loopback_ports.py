"""Ports that are given once, to one process, and only when nobody has them."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import loopback_ports
from loopback_ports import END, FIRST, SLICE, PortGiver, Slice, free_ports, media_ports, port_range

FOLDER = Path(loopback_ports.__file__).parent
NOBODY_S = 11_990  # below what is given to anybody


def test_none_is_given_twice_though_nobody_uses_them() -> None:
    ports = [*free_ports(250), *range(*port_range(20)), *free_ports(3)]
    assert len(set(ports)) == len(ports)
    assert all(FIRST <= port < END for port in ports)


def test_a_slice_is_one_process_s_until_it_ends() -> None:
    program = (
        f"import loopback_ports as p; kept = p.Slice.take({NOBODY_S}, 10); print(kept, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=FOLDER
    ) as other:
        assert other.stdout is not None
        assert "Slice" in other.stdout.readline()
        assert Slice.take(NOBODY_S, 10) is None
        other.communicate("\n")
    taken = Slice.take(NOBODY_S, 10)
    assert taken is not None
    taken.close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_one_that_somebody_has_is_left_out(kind: socket.SocketKind) -> None:
    first, last = port_range(30)
    with socket.socket(type=kind) as taken:
        taken.bind(("127.0.0.1", first + 7))
        giver = PortGiver()
        giver._left = range(first, last + 1)
        assert giver.give(10) == range(first + 10, first + 20)


def test_the_order_begins_anew_when_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before = PortGiver()
    first = before.give(SLICE)[0]
    before._slices[0].close()
    monkeypatch.setattr(loopback_ports, "FIRST", first)
    monkeypatch.setattr(loopback_ports, "END", first + SLICE)
    giver = PortGiver()
    assert giver.give(SLICE) == giver.give(SLICE)
    with pytest.raises(loopback_ports.NoPortsError):
        PortGiver().give(1)


def test_media_ports_are_for_one_laboratory_at_a_time() -> None:
    one, two = media_ports(), media_ports()
    assert not set(one.ports) & set(two.ports)
    one.close()
    two.close()
