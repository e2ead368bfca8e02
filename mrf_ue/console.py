"""Floor control by hand or by script: lines in, what happens out, on a connection that is secured already."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mrf_protocols.bfcp import Message, RequestStatus
from mrf_ue.commands import (
    HELP,
    Ask,
    AskUser,
    Command,
    CommandError,
    Decide,
    Drop,
    Expect,
    Help,
    Quit,
    Rekey,
    Release,
    SayHello,
    ShowFloors,
    Update,
    Wait,
    Watch,
    parse,
)
from mrf_ue.errors import FloorNotGranted, StepTimeout
from mrf_ue.floor_session import FloorSession
from mrf_ue.floor_view import FloorView
from mrf_ue.show import Show

_FOREVER = 365 * 86400.0
_READ = 4096
_LONGEST_LINE = 65536


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """Where commands come from, and what is shown.

    `script`: lines read before, None: the terminal (standard input), as they come. `chair`: say which requests wait for
    a decision.
    """

    script: tuple[str, ...] | None = None
    chair: bool = False


def read_script(path: Path) -> tuple[str, ...]:
    """The lines of a script, each of which must be a command. Raises OSError, ValueError (names the line)."""
    lines = tuple(path.read_text(encoding="utf-8").splitlines())
    for number, line in enumerate(lines, 1):
        try:
            parse(line)
        except CommandError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return lines


class Console:
    """One user at the floors of one conference.

    `floors`: the floors of the conference. `seconds`: for an answer of the server, and for `expect` without a time.
    """

    def __init__(
        self,
        session: FloorSession,
        floors: tuple[int, ...],
        options: ConsoleOptions,
        show: Show,
        seconds: float,
    ) -> None:
        self.view = FloorView(session.client.user_id, chair=options.chair)
        self._session = session
        self._floors = floors
        self._options = options
        self._show = show
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until the commands end or say quit. Raises UeError when the connection fails or a script's hope does."""
        listener = asyncio.get_running_loop().create_task(self._listen())
        commands = asyncio.get_running_loop().create_task(self._obey())
        try:
            await asyncio.wait({listener, commands}, return_when=asyncio.FIRST_COMPLETED)
            (commands if commands.done() else listener).result()
        finally:
            for task in (listener, commands):
                task.cancel()
            await asyncio.gather(listener, commands, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            event = await self._session.next_event(_FOREVER)
            for line in self.view.apply(event):
                self._show("FLOOR", line)
            self._changed.set()

    async def _obey(self) -> None:
        self._watch(self._floors)
        by_hand = self._options.script is None
        lines = terminal_lines() if by_hand else _given(self._options.script or ())
        if by_hand:
            self._show("UE", "help shows the commands")
        async for line in lines:
            try:
                command = parse(line)
                if isinstance(command, Quit):
                    return
                if command is not None:
                    await self._do(command)
            except CommandError as error:
                self._show("UE", str(error))
            except (FloorNotGranted, StepTimeout) as error:
                if not by_hand:
                    raise
                self._show("UE", str(error))

    async def _do(self, command: Command) -> None:
        client, now = self._session.client, self._clock()
        match command:
            case Ask(floors, beneficiary, priority, info):
                self.view.last_request = None
                wanted = floors or self._floors[:1]
                await self._ask(
                    client.request(wanted, now, beneficiary=beneficiary, priority=priority, info=info)
                )
            case Release(request):
                number = request or self.view.last_request
                if number is None:
                    raise CommandError("there is no request to release")
                await self._ask(client.release(number, now))
            case Decide():
                await self._decide(command)
            case Watch(floors):
                self._watch(self._floors if floors is None else floors)
            case AskUser(user):
                await self._ask(client.query_user(now, user))
            case SayHello():
                await self._ask(client.hello(now))
            case Rekey():
                await self._renew(self._session.renew)
            case Update():
                await self._renew(self._session.update)
            case Drop():
                self._session.drop()
            case ShowFloors():
                self._tell(self.view.lines())
            case Help():
                self._tell(HELP.splitlines())
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Expect(state, seconds):
                await self._expect(state, self._seconds if seconds is None else seconds)

    async def _renew(self, renew: Callable[[], Awaitable[None]] | None) -> None:
        if renew is None:
            raise CommandError("this call cannot be given another key")
        await renew()

    async def _decide(self, command: Decide) -> None:
        number = command.request
        if number is None:
            held = (RequestStatus.GRANTED,)
            waiting = (RequestStatus.PENDING, RequestStatus.ACCEPTED)
            number = self.view.first(*(held if command.status is RequestStatus.REVOKED else waiting))
        request = None if number is None else self.view.request(number)
        if number is None or request is None:
            raise CommandError("no such request on the floors that are watched")
        message = self._session.client.decide(
            number,
            dict.fromkeys(request.floor_ids, command.status),
            self._clock(),
            queue_position=command.position,
            info=command.info,
        )
        await self._ask(message)

    def _watch(self, floors: tuple[int, ...]) -> None:
        self.view.floors.clear()
        self._session.send(self._session.client.query_floors(floors, self._clock()))

    async def _ask(self, message: Message) -> None:
        """Send a request and wait for the response, so that the next line of a script sees what this one did."""
        self._session.send(message)

        def over() -> bool:
            return message not in self._session.client.outstanding

        await self._until(over, self._seconds, "no response")

    async def _expect(self, state: RequestStatus | None, seconds: float) -> None:
        if state is None:
            await self._until(
                lambda: self.view.first(RequestStatus.PENDING) is not None, seconds, "no request came"
            )
            return

        def reached() -> bool:
            return self.view.state() == state

        try:
            await self._until(reached, seconds, "")
        except StepTimeout:
            now = self.view.state()
            words = "there is none" if now is None else f"it is {RequestStatus(now).label.lower()}"
            raise FloorNotGranted(
                f"the request was not {state.label.lower()} in {seconds:g} s: {words}"
            ) from None

    async def _until(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise StepTimeout(f"{otherwise} in {seconds:g} s") from None

    def _tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._show("UE", line)


async def _given(lines: tuple[str, ...]) -> AsyncIterator[str]:
    for line in lines:
        yield line


async def terminal_lines() -> AsyncIterator[str]:
    """Lines of standard input as they come, up to its end. The terminal itself edits them."""
    descriptor = sys.stdin.fileno()
    if stat.S_ISREG(os.fstat(descriptor).st_mode):  # a file is always readable, and no loop watches it
        for line in sys.stdin:
            yield line
        return
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()

    def readable() -> None:
        try:
            chunk = os.read(descriptor, _READ)
        except OSError:  # the terminal has gone
            chunk = b""
        if not chunk:
            loop.remove_reader(descriptor)
        chunks.put_nowait(chunk)

    loop.add_reader(descriptor, readable)
    rest = b""
    try:
        while chunk := await chunks.get():
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:_LONGEST_LINE]
            for line in lines:
                yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")
    finally:
        loop.remove_reader(descriptor)
