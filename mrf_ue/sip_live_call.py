"""Calls in progress, on asyncio: turn the events of the machines into awaitable steps."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from aiosipua import SipRequest, SipResponse

from mrf_ue.errors import SipRefused, StepTimeout
from mrf_ue.show import Show
from mrf_ue.sip_call import (
    Answered,
    CallState,
    HungUp,
    NoAnswer,
    OutgoingCall,
    Progress,
    Refused,
    Released,
)
from mrf_ue.sip_incoming_call import Acknowledged, Cancelled, IncomingCall
from mrf_ue.sip_modify import Modifications, Modified, ModifyTimeout, Reoffered
from mrf_ue.sip_transactions import Send

_Result = TypeVar("_Result")


class Endpoint(Protocol):
    """What a call needs of the endpoint it belongs to."""

    show: Show

    def send(self, message: SipRequest | SipResponse, *, first: bool = True) -> None:
        """Send a message of the call."""

    def forget(self, call_id: str) -> None:
        """The call is over."""


class Machine(Protocol):
    """What a live call needs of its machine."""

    call_id: str
    state: CallState
    changes: Modifications

    def bye(self, now: float) -> list[Any]:
        """End the call."""

    def receive(self, message: SipRequest | SipResponse, now: float) -> list[Any]:
        """A message of the call."""

    def tick(self, now: float) -> list[Any]:
        """Time has passed."""

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""


_MachineT = TypeVar("_MachineT", bound=Machine)


class LiveCall(Generic[_MachineT]):
    """A call in either direction: carries out what its machine says, keeps its timer, and hangs up."""

    def __init__(self, machine: _MachineT, endpoint: Endpoint) -> None:
        self.machine = machine
        self.hung_up = asyncio.Event()
        """Set when the far end has ended the call."""
        self.on_reoffer: Callable[[SipRequest], None] | None = None
        """Is told each request of the far end that wants to change the session, and has to see to its answer."""
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._released = asyncio.Event()
        self._modified: asyncio.Future[SipResponse] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def call_id(self) -> str:
        """The Call-ID, which is the correlation id of everything that belongs to the call."""
        return self.machine.call_id

    async def bye(self, seconds: float) -> None:
        """Hang up and wait for the response; nothing when the call is over. Raises StepTimeout."""
        self._carry_out(self.machine.bye(self._loop.time()))
        if self.machine.state is CallState.ENDING:
            await within(self._released.wait(), seconds, "no response to BYE")

    async def reinvite(self, sdp: bytes, seconds: float) -> SipResponse:
        """Send a re-INVITE with an offer; gives the 2xx, which is acknowledged. Raises SipRefused, StepTimeout."""
        if self.machine.changes.busy or self.machine.state is not CallState.CONFIRMED:
            raise SipRefused("another change of the session is under way", 491)
        self._modified = self._loop.create_future()
        self._carry_out(self.machine.changes.offer(sdp, self._loop.time()))
        return await within(self._modified, seconds, "no answer to the re-INVITE")

    def answer_reoffer(
        self, status: int, reason: str, sdp: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Answer what `on_reoffer` was told last."""
        self._carry_out(self.machine.changes.answer(status, reason, sdp, self._loop.time(), headers))

    async def while_up(self, step: Awaitable[_Result]) -> _Result:
        """Do a step, unless the far end hangs up first. Raises SipRefused then.

        A step that fails while the call ends fails because of that: the focus takes floors and connection back when
        it hangs up, and the two can be noticed in the same moment.
        """
        work = asyncio.ensure_future(step)
        end = asyncio.ensure_future(self.hung_up.wait())
        try:
            await asyncio.wait((work, end), return_when=asyncio.FIRST_COMPLETED)
            if self.hung_up.is_set() and (not work.done() or work.exception() is not None):
                raise SipRefused("the far end hung up")
            return work.result()
        finally:
            for task in (work, end):
                task.cancel()
            await asyncio.gather(work, end, return_exceptions=True)

    def close(self) -> None:
        """Stop the timer of the call and forget it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._endpoint.forget(self.call_id)

    def receive(self, message: SipRequest | SipResponse) -> None:
        """A message of this call."""
        self._carry_out(self.machine.receive(message, self._loop.time()))

    def _carry_out(self, outputs: Sequence[object]) -> None:
        for output in outputs:
            match output:
                case Send(message, first):
                    self._endpoint.send(message, first=first)
                case Released() | NoAnswer("BYE"):
                    self._released.set()
                case HungUp():
                    self.hung_up.set()
                    self._released.set()
                    self._endpoint.show("SIP", "<- BYE: the far end hung up")
                case Modified() | ModifyTimeout():
                    self._take_modified(output)
                case Reoffered(request):
                    self._take_reoffer(request)
                case _:
                    self._event(output)
        self._rearm()

    def _take_modified(self, output: Modified | ModifyTimeout) -> None:
        if self._modified is None or self._modified.done():
            return
        if isinstance(output, ModifyTimeout):
            self._modified.set_exception(StepTimeout("no response to the re-INVITE"))
        elif output.response.status_code < 300:
            self._modified.set_result(output.response)
        else:
            self._modified.set_exception(refusal(output.response))

    def _take_reoffer(self, request: SipRequest) -> None:
        if self.on_reoffer is None:
            self.answer_reoffer(488, "Not Acceptable Here")
        else:
            self.on_reoffer(request)

    def _event(self, output: object) -> None:
        """What only one direction knows."""

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.machine.next_deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._carry_out(self.machine.tick(self._loop.time()))


class Call(LiveCall[OutgoingCall]):
    """One call of this end, step by step. Every step may be left out: tests call them in any order."""

    def __init__(self, machine: OutgoingCall, endpoint: Endpoint) -> None:
        super().__init__(machine, endpoint)
        self._provisional = asyncio.Event()
        self._final: asyncio.Future[SipResponse] = self._loop.create_future()

    async def invite(self, sdp: bytes) -> None:
        """Send the INVITE with an SDP offer."""
        self._carry_out(self.machine.invite(sdp, self._loop.time()))

    async def wait_provisional(self, seconds: float) -> None:
        """Wait for the first 1xx. Raises StepTimeout."""
        await within(self._provisional.wait(), seconds, "no provisional response")

    async def wait_answer(self, seconds: float) -> SipResponse:
        """The 2xx. Raises SipRefused, StepTimeout."""
        return await within(asyncio.shield(self._final), seconds, "no answer to the INVITE")

    async def ack(self, body: bytes = b"") -> None:
        """Acknowledge the 2xx; `body` is the answer to an offer that came with it."""
        self._carry_out(self.machine.ack(body))

    async def cancel(self, seconds: float) -> int:
        """Cancel the INVITE and wait for its end; gives the final status. A 2xx that was faster is
        acknowledged and hung up (RFC 3261 9.1). Raises StepTimeout.
        """
        self._carry_out(self.machine.cancel(self._loop.time()))
        try:
            answer = await self.wait_answer(seconds)
        except SipRefused as refused:
            return refused.status
        await self.ack()
        await self.bye(seconds)
        return answer.status_code

    def _event(self, output: object) -> None:
        match output:
            case Progress(response):
                self._provisional.set()
                self._endpoint.show("SIP", f"<- {response.status_code} {response.reason_phrase}")
            case Answered(response):
                if not self._final.done():
                    self._final.set_result(response)
            case Refused(response):
                self._fail(refusal(response))
            case NoAnswer():
                self._fail(StepTimeout("no response to INVITE"))

    def _fail(self, error: SipRefused | StepTimeout) -> None:
        if not self._final.done():
            self._final.set_exception(error)
            self._final.exception()  # a caller who does not wait need not be warned


class AnsweringCall(LiveCall[IncomingCall]):
    """One call of the far end, step by step."""

    def __init__(self, machine: IncomingCall, endpoint: Endpoint) -> None:
        super().__init__(machine, endpoint)
        self._acknowledged = asyncio.Event()

    async def ring(self) -> None:
        """180 Ringing."""
        self._carry_out(self.machine.ring())

    async def accept(self, sdp: bytes) -> None:
        """200 with the SDP answer."""
        self._carry_out(self.machine.accept(sdp, self._loop.time()))

    async def refuse(self, status: int, reason: str, *headers: tuple[str, str], sdp: bytes = b"") -> None:
        """A final response that ends the call; `sdp` is its body."""
        self._carry_out(self.machine.refuse(status, reason, self._loop.time(), headers, sdp))

    async def wait_ack(self, seconds: float) -> None:
        """Wait for the ACK of our 200. Raises SipRefused, StepTimeout."""
        await self.while_up(within(self._acknowledged.wait(), seconds, "no ACK for the 200"))

    def _event(self, output: object) -> None:
        match output:
            case Acknowledged():
                self._acknowledged.set()
            case Cancelled():
                self.hung_up.set()
                self._endpoint.show("SIP", "<- CANCEL: the caller gave up")


async def within(step: Awaitable[_Result], seconds: float, otherwise: str) -> _Result:
    """Do a step in its time. Raises StepTimeout with the text `otherwise`."""
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError:
        raise StepTimeout(f"{otherwise} in {seconds:g} s") from None


def refusal(response: SipResponse) -> SipRefused:
    """What a 3xx-6xx tells the user."""
    warning = "; ".join(response.get_header_values("Warning"))
    text = f"the call was refused: {response.status_code} {response.reason_phrase}"
    return SipRefused(text, response.status_code, warning, response.body)
