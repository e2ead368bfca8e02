"""The operator's hook: told of every floor that changes hands, so that a mixer can follow; its answer confirms.

Events of one conference go out one after the other, in order; each is tried again until it is answered, up to a number
of attempts. What cannot be told in time is given up, and then the floor it was for is denied.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import aiohttp
import msgspec

from mrf_ops.logs import BoundLogger, bind
from mrfc.config import MediaHook as Settings
from mrfc.state.mixer_leg import MixerLeg

log = logging.getLogger(__name__)

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that a later attempt may turn into success."""


class FloorStreams(msgspec.Struct, frozen=True):
    """A floor and the SDP labels of the media streams that it controls."""

    id: int
    streams: tuple[str, ...]


class MixedStream(msgspec.Struct, frozen=True):
    """A stream at the mixer: position of its m-line from 0, its label ("" without one), kind of media."""

    index: int
    label: str
    media: str


class AtMixer(msgspec.Struct, frozen=True):
    """The dialog with the mixer that serves a participant's media; the tags as the mixer has them in From and To."""

    call_id: str
    from_tag: str
    to_tag: str
    streams: tuple[MixedStream, ...]

    @classmethod
    def of(cls, leg: MixerLeg | None) -> AtMixer | None:
        """The same of what is kept of the dialog."""
        if leg is None:
            return None
        streams = tuple(MixedStream(each.index, each.label, each.media) for each in leg.streams)
        return cls(leg.dialog.call_id, leg.dialog.local_tag, leg.dialog.remote_tag, streams)


class FloorEvent(msgspec.Struct, frozen=True):
    """What the hook is told: the body of the POST, as JSON.

    `event` is grant or release. `number` counts the events of a conference from 1 without gaps, so that a receiver can
    put aside what it has had before.
    """

    conference: str
    conference_id: int
    number: int
    event: Literal["grant", "release"]
    request: int
    floors: tuple[FloorStreams, ...]
    user: int
    participant: str
    call_id: str
    mixer: AtMixer | None = None


class HookFailed(Exception):
    """The hook said no, or did not answer; the text says which."""


Post = Callable[[bytes], Awaitable[int]]
"""Sends a body and gives the HTTP status. Raises OSError, TimeoutError, aiohttp.ClientError."""


@dataclass(slots=True)
class _Waiting:
    event: FloorEvent
    answer: asyncio.Future[None]


class HttpPost:
    """POST to the configured URL, on connections that stay open."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, body: bytes) -> int:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if self._settings.token_file is not None:
                headers["Authorization"] = f"Bearer {self._settings.token_file.reveal().decode()}"
            self._session = aiohttp.ClientSession(
                headers=headers, timeout=aiohttp.ClientTimeout(total=self._settings.timeout)
            )
        async with self._session.post(self._settings.url, data=body, allow_redirects=False) as answer:
            await answer.read()
            return answer.status

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class MediaHook:
    """Queues and their workers, one for each conference that has something to tell."""

    def __init__(self, settings: Settings, post: Post) -> None:
        self._settings = settings
        self._post = post
        self._queues: dict[str, deque[_Waiting]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}

    @property
    def waiting(self) -> int:
        """Events that have no answer yet."""
        return sum(map(len, self._queues.values()))

    def tell(self, event: FloorEvent) -> asyncio.Future[None]:
        """Queue an event. The result is None when the hook has taken it, else HookFailed."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody has to ask
        queue = self._queues.setdefault(event.conference, deque())
        if len(queue) >= self._settings.queue:
            _logger(event).error("media hook: %d events wait, %s is dropped", len(queue), event.event)
            answer.set_exception(HookFailed("too many events wait for the media hook"))
            return answer
        queue.append(_Waiting(event, answer))
        if event.conference not in self._workers:
            self._workers[event.conference] = loop.create_task(self._work(event.conference, queue))
        return answer

    async def close(self) -> None:
        """Give up what waits."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, conference: str, queue: deque[_Waiting]) -> None:
        try:
            while queue:
                waiting = queue[0]  # stays until it is answered, so that it counts
                try:
                    await self._deliver(waiting.event)
                except HookFailed as error:
                    _logger(waiting.event).error(
                        "media hook: %s of request %d not taken: %s",
                        waiting.event.event,
                        waiting.event.request,
                        error,
                    )
                    waiting.answer.set_exception(error)
                else:
                    waiting.answer.set_result(None)
                queue.popleft()
        finally:
            for waiting in queue:
                if not waiting.answer.done():
                    waiting.answer.set_exception(HookFailed("the MRFC stops"))
            self._queues.pop(conference, None)
            self._workers.pop(conference, None)

    async def _deliver(self, event: FloorEvent) -> None:
        body = msgspec.json.encode(event)
        pause, trouble = self._settings.first_pause, ""
        for attempt in range(self._settings.attempts):
            if attempt:
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._settings.longest_pause)
            try:
                status = await self._post(body)
            except (OSError, TimeoutError, aiohttp.ClientError) as error:
                trouble = str(error) or type(error).__name__
                continue
            if 200 <= status < 300:
                return
            if status not in AGAIN:
                raise HookFailed(f"HTTP status {status}")
            trouble = f"HTTP status {status}"
        raise HookFailed(f"{trouble} after {self._settings.attempts} attempts")


def _logger(event: FloorEvent) -> BoundLogger:
    number, user = str(event.conference_id), str(event.user)
    return bind(log, call=event.call_id, conference=event.conference, bfcp_conference=number, user=user)
