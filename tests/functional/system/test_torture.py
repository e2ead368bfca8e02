"""Torture messages to a running MRFC: each gets its answer, none harms, and another's call goes on meanwhile."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from system_support import Scene
from torture_messages import OWN, RFC_4475, answered_to, plain

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("MRF_SHARED_DATA", ROOT.parent / "shared" / "data")) / "sip4475"
"""The messages of RFC 4475, appendix A, as NAME.dat, where there are some."""
SECONDS = 30.0


class Shower:
    """Sends each message from a socket of its own, and gives the status of the final responses."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server

    def statuses(self, messages: Sequence[bytes], expected: Sequence[int]) -> list[int]:
        """Waits for every final response that is expected, and then for one more, to a plain request."""
        found = [0] * len(messages)
        sockets = [self._socket() for _ in messages]
        try:
            with selectors.DefaultSelector() as selector:
                for number, (sock, message) in enumerate(zip(sockets, messages, strict=True)):
                    selector.register(sock, selectors.EVENT_READ, number)
                    sock.send(answered_to(message, sock.getsockname()[1]))
                self._collect(
                    selector,
                    found,
                    lambda: not any(e and not f for e, f in zip(expected, found, strict=True)),
                )
                last = self._socket()
                selector.register(last, selectors.EVENT_READ, len(found))
                found.append(0)
                last.send(
                    answered_to(plain("OPTIONS", "sip:meeting@conf.example", 10_000), last.getsockname()[1])
                )
                self._collect(selector, found, lambda: found[-1] != 0)
                last.close()
        finally:
            for sock in sockets:
                sock.close()
        return found[:-1]

    def _socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.connect(self._server)
        return sock

    @staticmethod
    def _collect(selector: selectors.BaseSelector, found: list[int], done: object) -> None:
        end = time.monotonic() + SECONDS
        assert callable(done)
        while not done() and time.monotonic() < end:
            for key, _ in selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                status = int(key.fileobj.recv(65_535).split()[1])
                found[key.data] = status if status >= 200 else found[key.data]


@pytest.fixture
def shower(scene: Scene) -> Shower:
    scene.may_log("mrfc", "")  # Kamailio says a lot
    return Shower(("127.0.0.1", scene.lab.ports.sip))


def no_tracebacks(scene: Scene) -> None:
    for element in ("mrfc", "mrfp", "kms"):
        assert not [line for line in scene.logs[element].lines() if "Traceback" in line]


def differing(
    names: Sequence[str], expected: Sequence[int], found: Sequence[int]
) -> dict[str, tuple[int, int]]:
    rows = zip(names, expected, found, strict=True)
    return {name: (wanted, came) for name, wanted, came in rows if wanted != came}


async def test_own_messages(scene: Scene, shower: Shower) -> None:
    """Each quirk of RFC 4475 and some more, in our own words."""
    messages = [
        own.edit(plain(own.method, scene.lab.conference(), number, own.body))
        for number, own in enumerate(OWN)
    ]
    expected = [own.status for own in OWN]
    wrong = differing([own.quirk for own in OWN], expected, shower.statuses(messages, expected))
    assert not wrong, wrong
    no_tracebacks(scene)


@pytest.mark.skipif(
    not DATA.is_dir(), reason="the messages of RFC 4475 are not on this machine; ours are tried above"
)
async def test_messages_of_rfc_4475(scene: Scene, shower: Shower) -> None:
    messages = {path.stem: path.read_bytes() for path in sorted(DATA.glob("*.dat"))}
    assert messages.keys() == RFC_4475.keys()
    expected = [RFC_4475[name].status for name in messages]
    assert differing(list(messages), expected, shower.statuses(list(messages.values()), expected)) == {}
    no_tracebacks(scene)
