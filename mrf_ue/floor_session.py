"""The UE as floor participant: drives `floor_client` step by step (RFC 8855 10), on one connection after another."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from mrf_protocols.bfcp import Message, Primitive
from mrf_ue.bearer import BearerClosed, Connection, Moved
from mrf_ue.bfcp_trace import error_name, message_name
from mrf_ue.errors import FloorNotGranted, StepTimeout, UeError
from mrf_ue.floor_client import (
    Cancelled,
    Denied,
    ErrorEvent,
    Event,
    FloorClient,
    FloorRequestEvent,
    Granted,
    HelloAcknowledged,
    Released,
    Revoked,
)
from mrf_ue.show import Show, quiet

_LONGEST_OPERATION = 3600.0
"""The machine's own response timer is not used: every step here has its time."""


class FloorSession:
    """One user on one connection. Steps may come in any order; what none waits for is only shown."""

    def __init__(self, connection: Connection, conference_id: int, user_id: int, show: Show = quiet) -> None:
        self.client = FloorClient(conference_id, user_id, response_timeout=_LONGEST_OPERATION)
        self.floor_request_id: int | None = None
        """The request that `request` made, until it is over."""
        self._connection = connection
        self.show = show
        """Is told every message; may be changed."""
        self.renew: Callable[[], Awaitable[None]] | None = None
        """Gets another connection under a new key, by `move`."""
        self.update: Callable[[], Awaitable[None]] | None = None
        """The same without another ticket."""
        self.recover: Callable[[], Awaitable[None]] | None = None
        """The same when the connection is lost; None: its loss ends every step."""
        self._recovering: asyncio.Task[None] | None = None
        self._in_use = asyncio.Event()
        self._in_use.set()
        self._watched: tuple[int, ...] = ()
        self._events: deque[Event] = deque()
        self._clock = asyncio.get_running_loop().time

    async def hello(self, seconds: float) -> HelloAcknowledged:
        """Say Hello and wait for HelloAck. Raises UeError."""
        message = self.client.hello(self._clock())
        self.send(message)
        event = await self._until(_answers(message), seconds, "no HelloAck")
        if isinstance(event, HelloAcknowledged):
            return event
        raise _refused("Hello", event)

    async def request(self, floors: tuple[int, ...], seconds: float) -> Granted:
        """Ask for floors and wait until they are granted. Raises FloorNotGranted, StepTimeout."""
        message = self.client.request(floors, self._clock())
        self.send(message)
        answer = await self._until(_answers(message), seconds, "no response to FloorRequest")
        if not isinstance(answer, FloorRequestEvent):
            raise _refused("FloorRequest", answer)
        request_id = answer.floor_request_id
        self.floor_request_id = request_id
        end: Event = answer
        if not isinstance(answer, _ENDS_OF_WAITING):
            end = await self._until(
                lambda event: isinstance(event, _ENDS_OF_WAITING) and event.floor_request_id == request_id,
                seconds,
                "floor not granted",
            )
        if isinstance(end, Granted):
            return end
        self.floor_request_id = None
        raise _refused("FloorRequest", end)

    async def hold(self, seconds: float) -> None:
        """Keep the floors for a while. Raises FloorNotGranted when they are taken away."""
        request_id = self.floor_request_id
        try:
            event = await self._until(
                lambda event: isinstance(event, Revoked) and event.floor_request_id == request_id, seconds, ""
            )
        except StepTimeout:
            return
        self.floor_request_id = None
        raise _refused("the floor", event)

    async def release(self, seconds: float) -> None:
        """Give the floors back, or take the request back. Raises FloorNotGranted, StepTimeout."""
        if self.floor_request_id is None:
            return
        message = self.client.release(self.floor_request_id, self._clock())
        self.send(message)
        event = await self._until(_answers(message), seconds, "no response to FloorRelease")
        if not isinstance(event, FloorRequestEvent):
            raise _refused("FloorRelease", event)
        self.floor_request_id = None

    async def next_event(self, seconds: float) -> Event:
        """Whatever comes next. Raises StepTimeout, BearerClosed, TlsFailed."""
        return await self._until(lambda _: True, seconds, "nothing came")

    def send(self, message: Message) -> None:
        """Send a message that `client` has made. Raises BearerClosed, TlsFailed."""
        self.show("BFCP", f"-> {message_name(message)}")
        if message.primitive == Primitive.FLOOR_QUERY:
            self._watched = message.floor_ids
        try:
            self._connection.send(message)
        except BearerClosed:
            if self.recover is None and self._in_use.is_set():
                raise  # else it is sent again on the next connection

    def move(self, connection: Connection) -> None:
        """Go on with another connection. What was not answered is sent again (RFC 8855 6.1), and who was told of floors
        asks again when the old connection was lost."""
        old, self._connection = self._connection, connection
        lost = old.over
        self._in_use.set()
        old.retire(connection)
        waiting = [each for each in self.client.outstanding if each.primitive != Primitive.FLOOR_QUERY]
        if lost and self._watched:
            waiting.append(self.client.query_floors(self._watched, self._clock()))
        for message in waiting if lost else []:
            self.send(message)

    def rest(self) -> None:
        """There is no connection for now, by agreement: steps wait for the next one, as long as they may."""
        self._in_use.clear()
        self._connection.close()

    def drop(self) -> None:
        """Break the connection, as a network does that fails."""
        self._connection.abort()

    async def _until(self, wanted: Callable[[Event], bool], seconds: float, otherwise: str) -> Event:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    event = await self._next()
                    if wanted(event):
                        return event
        except TimeoutError:
            raise StepTimeout(f"{otherwise} in {seconds:g} s") from None

    async def _next(self) -> Event:
        while not self._events:
            connection = self._connection
            item = await connection.messages.get()
            if isinstance(item, Moved):
                continue
            if isinstance(item, UeError):
                connection.messages.put_nowait(item)  # for every later step as well
                if connection is self._connection:
                    await self._lost(item)
                continue
            self.show("BFCP", f"<- {message_name(item)}")
            self._events.extend(self.client.receive(item))
        return self._events.popleft()

    async def _lost(self, failure: UeError) -> None:
        """The connection has gone: get another one, however long the step that noticed may wait. Raises UeError."""
        if not self._in_use.is_set():
            await self._in_use.wait()
            return
        if self.recover is None:
            raise failure
        if self._recovering is None or self._recovering.done():
            self.show("BFCP", f"{failure}: coming back")
            self._recovering = asyncio.ensure_future(self.recover())
        await asyncio.shield(self._recovering)


_ENDS_OF_WAITING = (Granted, Denied, Revoked, Cancelled, Released)


def _answers(message: Message) -> Callable[[Event], bool]:
    """Whether an event is the response to this request."""
    return lambda event: getattr(event, "transaction_id", None) == message.transaction_id


def _refused(what: str, event: Event) -> FloorNotGranted:
    if isinstance(event, ErrorEvent):
        text = f": {event.info}" if event.info else ""
        return FloorNotGranted(f"{what} got Error {error_name(event.code)}{text}")
    if isinstance(event, FloorRequestEvent):
        text = f": {event.info}" if event.info else ""
        return FloorNotGranted(f"{what} was {type(event).__name__.lower()}{text}")
    return FloorNotGranted(f"{what} got {type(event).__name__}")
