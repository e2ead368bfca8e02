"""Readiness of media sockets, all of them behind one descriptor of the event loop.

A termination registers and removes three sockets in its life. In the event loop that costs several times the
system call, and each event a handle of its own. Here an epoll of their own is what the event loop watches.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT

_EVENTS_AT_ONCE = 64
"""Sockets served before the event loop has its turn; the others stay ready for the next one."""

Ready = Callable[[int], None]
"""Called with READ, WRITE or both, and with other bits on an error."""


class Readiness:
    """Calls back as long as a watched socket is ready; level-triggered."""

    __slots__ = ("_epoll", "_users", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._users: dict[int, Ready] = {}
        loop.add_reader(self._epoll.fileno(), self._serve)

    def watch(self, descriptor: int, events: int, user: Ready) -> None:
        """Watch an open socket for READ, WRITE, both or (0) neither, from now on only for these."""
        if descriptor in self._users:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._users[descriptor] = user

    def forget(self, descriptor: int) -> None:
        """A socket is about to be closed, watched or not. The kernel itself drops a closed one from the epoll."""
        self._users.pop(descriptor, None)

    def close(self) -> None:
        """Watch nothing any more. Not usable afterwards."""
        if not self._epoll.closed:
            self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._users.clear()

    def _serve(self) -> None:
        users = self._users
        for descriptor, events in self._epoll.poll(0, _EVENTS_AT_ONCE):
            user = users.get(descriptor)  # another one may just have closed it
            if user is None:
                continue
            try:
                user(events)
            except (
                Exception
            ) as error:  # a fault at one socket is told as asyncio does, and costs no other its turn
                self.loop.call_exception_handler({"message": "fault at a media socket", "exception": error})
