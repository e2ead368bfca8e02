"""The way from SIP workers to the engine: datagrams on loopback that carry a cookie.

Kamailio loads the script once, then forks its processes. The receiving socket is bound before the fork, so every
process knows the port without configuring one, and each datagram starts with a random cookie that only these
processes share: another local program cannot talk the engine into anything. The object is created once per Kamailio
start and outlives a reload of the script, which would otherwise move the port in one process only.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import socket

from mrfc import jobs

COOKIE_OCTETS = 16
MAX_DATAGRAM = 65_000  # a loopback datagram holds 65,507 octets; a longer INVITE is refused
RECEIVE_BUFFER = 4 << 20  # a burst of some thousand calls, while the engine is busy with one

# A wait for the engine occupies a TCP worker of Kamailio: long enough for a busy engine, short for a dead one.
QUERY_TIMEOUT = 2.0


class JobTooLargeError(OSError):
    """A job that does not fit a datagram, with an engine that is well."""


class EngineChannel:
    """Both ends of the way from workers to engine. Bind it before the fork."""

    def __init__(self) -> None:
        self._cookie = secrets.token_bytes(COOKIE_OCTETS)
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.setblocking(False)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.receiver.bind(("127.0.0.1", 0))
        self._sender: socket.socket | None = None

    def open_sender(self) -> socket.socket:
        """Give this process a socket of its own; call it after the fork."""
        if self._sender is not None:
            self._sender.close()
        self._sender = sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setblocking(False)
        sender.connect(self.receiver.getsockname())
        return sender

    def post(self, job: jobs.Job) -> None:
        """Send one job without waiting. Raises OSError when the engine cannot take it (dead, or its queue full)."""
        data = self._cookie + jobs.encode(job)
        if len(data) > MAX_DATAGRAM:
            raise JobTooLargeError(f"job of {len(data)} octets does not fit a datagram")
        (self._sender or self.open_sender()).send(data)

    def unwrap(self, datagram: bytes) -> jobs.Job | None:
        """The job in a received datagram, or None when it was not sent by a worker of this Kamailio."""
        if not hmac.compare_digest(datagram[:COOKIE_OCTETS], self._cookie):
            return None
        return jobs.decode(datagram[COOKIE_OCTETS:])

    def query(self, method: str, path: str, body: str, authorization: str = "") -> jobs.QueryAnswer:
        """Ask the engine and wait for its answer. Raises OSError (TimeoutError) when it gives none in time."""
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as mailbox:
            mailbox.bind(("127.0.0.1", 0))
            mailbox.settimeout(QUERY_TIMEOUT)
            self.post(jobs.QueryJob(mailbox.getsockname()[1], method, path, body, authorization))
            while True:
                datagram = mailbox.recv(65_535)
                if hmac.compare_digest(datagram[:COOKIE_OCTETS], self._cookie):
                    return jobs.decode_answer(datagram[COOKIE_OCTETS:])

    def answer_query(self, query: jobs.QueryJob, answer: jobs.QueryAnswer) -> None:
        """Send the answer to a waiting `query` call. An answer that does not fit a datagram becomes a 500."""
        data = self._cookie + jobs.encode(answer)
        if len(data) > MAX_DATAGRAM:
            data = self._cookie + jobs.encode(jobs.QueryAnswer(500, "text/plain", "answer too long"))
        with contextlib.suppress(OSError):  # the worker has gone: nobody waits
            self.receiver.sendto(data, ("127.0.0.1", query.reply_port))
