"""Who is in the conference, as its focus tells: subscribes, and shows who comes, leaves, and has the floor."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence

from aiosipua import SipRequest, SipResponse

from mrf_protocols.conference_info import ConferenceInfoError, EndpointStatus, Mirror, Update, User
from mrf_ue.show import Show
from mrf_ue.sip import SipEndpoint
from mrf_ue.sip_subscription import Ended, Output, Subscription, Told
from mrf_ue.sip_transactions import Send


class RosterWatch:
    """One subscription on asyncio, at the endpoint of a call."""

    def __init__(self, uri: str, endpoint: SipEndpoint, show: Show) -> None:
        self._endpoint = endpoint
        self._show = show
        self._loop = asyncio.get_running_loop()
        self._call_id = secrets.token_hex(12)
        self._machine = Subscription(
            uri, endpoint.end, self._call_id, lambda: secrets.token_hex(8), reliable=endpoint.reliable
        )
        self._mirror = Mirror()
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Subscribe."""
        self._endpoint.attach(self._call_id, self)
        self._carry_out(self._machine.subscribe(self._loop.time()))

    async def close(self, seconds: float) -> None:
        """Unsubscribe, and wait as long for the end."""
        self._carry_out(self._machine.unsubscribe(self._loop.time()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        if self._timer is not None:
            self._timer.cancel()
        self._endpoint.forget(self._call_id)

    def receive(self, message: SipRequest | SipResponse) -> None:
        """A message of the subscription."""
        self._carry_out(self._machine.receive(message, self._loop.time()))

    def _carry_out(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case Send(message, first):
                    self._endpoint.send(message, first=first)
                case Told(body):
                    self._take(body)
                case Ended(reason):
                    self._over.set()
                    self._show("WHO", f"no more is told: {reason}")
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._machine.next_deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._carry_out(self._machine.tick(self._loop.time()))

    def _take(self, body: str) -> None:
        before = self._mirror.users
        try:
            update = self._mirror.apply(body)
        except ConferenceInfoError as error:
            self._show("WHO", f"a NOTIFY that cannot be read: {error}")
            return
        if update is Update.GAP:
            self._carry_out(self._machine.subscribe(self._loop.time()))
        for line in differences(before, self._mirror.users):
            self._show("WHO", line)


def differences(before: Mapping[str, User], after: Mapping[str, User]) -> Iterator[str]:
    """What has changed, in words."""
    for entity in before.keys() - after.keys():
        if _present(before[entity]):
            yield f"- {_name(before[entity])}"
    for entity, user in after.items():
        was = before.get(entity)
        if was == user:
            continue
        if not _present(user):
            if was is None or _present(was):
                yield f"- {_name(user)}{_why(user)}"
        elif was is None or not _present(was):
            yield f"+ {_name(user)}{_floors(user)}"
        elif _floors(was) != _floors(user):
            yield f"  {_name(user)}{_floors(user) or ' has no floor'}"


def _present(user: User) -> bool:
    return any(endpoint.status is not EndpointStatus.DISCONNECTED for endpoint in user.endpoints)


def _name(user: User) -> str:
    return f"{user.display_text} <{user.entity}>" if user.display_text else user.entity


def _why(user: User) -> str:
    methods = [each.disconnection_method.value for each in user.endpoints if each.disconnection_method]
    return f" ({methods[0]})" if methods else ""


def _floors(user: User) -> str:
    controls = [
        media.floor_control
        for each in user.endpoints
        for media in each.media
        if media.floor_control is not None
    ]
    holds = sorted({floor for control in controls for floor in control.holds})
    chairs = sorted({floor for control in controls for floor in control.chairs})
    words = [f"holds floor {', '.join(map(str, holds))}"] if holds else []
    words += [f"chair of {', '.join(map(str, chairs))}"] if chairs else []
    return f": {'; '.join(words)}" if words else ""
