"""NOTIFY fan-out: CPU time of all Kamailio processes for each NOTIFY of a change, and how long a whole audience waits.

The subscribers are dialogs behind one socket of this process, which answers every NOTIFY. Their interval is 0, so that
each change is told at once. A change is a participant who comes or leaves: a whole dial-in, whose own cost, measured
without subscribers in the same run, is taken off.
"""

from __future__ import annotations

import secrets
import socket
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from dial_ins import Caller, lab_settings
from figures import Figure, Table
from lab import Lab, Settings
from processes import cpu_seconds, family

MEETING = "sip:meeting@conf.example"
PATIENCE = 60.0  # seconds for a whole audience to be told


class Audience:
    """Subscribers who answer; `told` are the moments at which NOTIFYs came."""

    def __init__(self, lab: Lab) -> None:
        self._server = ("127.0.0.1", lab.ports.sip)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.told: list[float] = []
        self.accepted = 0
        self._seen: set[tuple[bytes, bytes]] = set()
        self._open = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def subscribe(self) -> None:
        """One more subscriber."""
        host, port = self._socket.getsockname()
        lines = [
            f"SUBSCRIBE {MEETING} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 70",
            f"From: <sip:watcher@ops.example>;tag={secrets.token_hex(6)}",
            f"To: <{MEETING}>",
            f"Call-ID: {secrets.token_hex(10)}",
            "CSeq: 1 SUBSCRIBE",
            f"Contact: <sip:watcher@{host}:{port}>",
            "Event: conference",
            "Content-Length: 0",
        ]
        self._socket.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), self._server)

    def _serve(self) -> None:
        while self._open:
            try:
                data, source = self._socket.recvfrom(65_535)
            except TimeoutError:
                continue
            if data.startswith(b"NOTIFY "):
                self._answer(data, source)
            elif data.startswith(b"SIP/2.0 200 "):
                self.accepted += 1

    def _answer(self, data: bytes, source: tuple[str, int]) -> None:
        names = (b"via:", b"from:", b"to:", b"call-id:", b"cseq:")
        lines = [line for line in data.split(b"\r\n\r\n")[0].split(b"\r\n") if line.lower().startswith(names)]
        self._socket.sendto(b"\r\n".join([b"SIP/2.0 200 OK", *lines, b"Content-Length: 0", b"", b""]), source)
        values = {line.partition(b":")[0].lower(): line for line in lines}
        key = (values[b"call-id"], values[b"cseq"])
        if key not in self._seen:
            self._seen.add(key)
            self.told.append(time.monotonic())

    def close(self) -> None:
        """Answer nothing any more."""
        self._open = False
        self._thread.join()
        self._socket.close()


def settings() -> Settings:
    """As for dial-ins, and open to subscribers."""
    chosen = lab_settings()
    chosen.mrfc["roster"] = {
        "allow_subscribe": ["sip:watcher@ops.example"],
        "interval": 0.0,
        "departed_kept": 0.0,
        "subscriptions": 20_000,
    }
    return chosen


def until(lab: Lab, what: str, audience: Audience, told: int) -> None:
    """Wait until so many NOTIFYs came."""
    lab.wait_for(what, lambda: len(audience.told) >= told, PATIENCE)


def change(lab: Lab, caller: Caller, audience: Audience, subscribers: int) -> tuple[float, float]:
    """Microseconds for each NOTIFY that one dial-in brings, and ms from the first to the one that told the last."""
    pids = family(lab.elements["mrfc"].pid)
    audience.told.clear()
    before = cpu_seconds(pids)
    caller.mrfc(1, 1)
    until(lab, "all subscribers to be told", audience, subscribers)
    time.sleep(0.5)  # the second change, which is told together with the first to whom is late
    spent = cpu_seconds(pids) - before
    moments = sorted(audience.told)
    return spent * 1e6 / len(moments), (moments[subscribers - 1] - moments[0]) * 1e3


def run(quick: bool) -> Table:
    """An audience that grows no more, and what each change costs."""
    subscribers, rounds = (20, 2) if quick else (1_000, 7)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Lab(folder / "load", settings()) as lab:
            lab.start()
            caller = Caller(lab, folder)
            caller.mrfc(1, 1)  # first uses of everything
            alone = median(caller.mrfc(1, 1)[1] for _ in range(rounds))
            audience = Audience(lab)
            for number in range(subscribers):
                audience.subscribe()
                until(lab, "the full state", audience, number + 1)
            changes = [change(lab, caller, audience, subscribers) for _ in range(rounds)]
            audience.close()
    cost = median(cost for cost, _ in changes) - alone / (2 * subscribers)
    return Table(
        f"A change told to {subscribers} subscribers",
        [
            Figure("CPU of a NOTIFY and its 200, all Kamailio processes", cost, "us"),
            Figure("NOTIFYs per second and core", 1e6 / cost, "/s"),
            Figure("from the first to the last who is told", median(wait for _, wait in changes), "ms"),
        ],
    )
