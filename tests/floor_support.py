"""A conference at a media gateway in this process, with secured users: for tests of floor control end to end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from mrfp_support import IDENTITY, KEY, LocalMrfp, User, come, until

from mrf_protocols.bfcp import Attribute, Message, Primitive
from mrf_protocols.h248 import mp
from mrf_protocols.h248.values import CHOOSE_CONTEXT
from mrf_protocols.tls_psk import TlsRole

EVENTS = mp.EventRequest(floor_decisions=True)


@dataclass
class Participant:
    """A user of the meeting: its termination and its end of the connection."""

    meeting: Meeting
    user_id: int
    place: mp.TerminationConfigured
    user: User
    transaction: int = 0

    @property
    def termination(self) -> str:
        """Its TerminationID."""
        return self.place.termination

    def message(self, primitive: Primitive, *attributes: Attribute) -> Message:
        """A request with the next transaction id."""
        self.transaction = self.transaction % 0xFFFF + 1
        return Message(primitive, 4321, self.transaction, self.user_id, attributes)

    def say(self, primitive: Primitive, *attributes: Attribute) -> None:
        """Send a request."""
        self.user.send(self.message(primitive, *attributes))

    async def hears(self, *names: str) -> list[Message]:
        """The next messages; their names must be these, in order."""
        found = [await self.user.receive() for _ in names]
        assert [message.name for message in found] == list(names)
        return found


@dataclass
class Meeting:
    """A context with its users; `reports` is what the MRFC is told, as (request, state)."""

    mrfp: LocalMrfp
    conference: mp.Conference
    participants: list[Participant] = field(default_factory=list)

    @property
    def context(self) -> int:
        """Its number."""
        return self.participants[0].place.context

    async def join(self, tls: bool = True, conference: mp.Conference | None = None) -> Participant:
        """Another user comes, and its connection."""
        user_id = len(self.participants) + 1
        first = not self.participants
        procedure = mp.ConfigureBfcpTermination(
            ("127.0.0.1", 9),
            user_id,
            CHOOSE_CONTEXT if first else self.context,
            self.conference if first else conference,
            psk=KEY,
            psk_identity=IDENTITY,
            events=EVENTS,
        )
        if not tls:
            procedure = replace(procedure, transport=mp.Transport.TCP_BFCP, psk=None, psk_identity=None)
        place = self.mrfp.configure(procedure)
        assert place.local is not None
        user = await come(place.local)
        if tls:
            await user.secure(TlsRole.CLIENT)
        else:
            await until(lambda: self.mrfp.gateway.status()["established"] > len(self.participants))
        participant = Participant(self, user_id, place, user)
        self.participants.append(participant)
        return participant

    @property
    def reports(self) -> list[tuple[int, str]]:
        """What the MRFC was told of floor requests."""
        return [
            (each.floor_request_id, each.state.value)
            for each in self.mrfp.indications
            if isinstance(each, mp.FloorRequestReport)
        ]


@asynccontextmanager
async def meeting(*floors: mp.Floor, users: int = 0, **options: object) -> AsyncIterator[Meeting]:
    """A meeting with some users; at the end nothing may be left of it."""
    made = Meeting(LocalMrfp(**options), mp.Conference(4321, floors or (mp.Floor(1),)))  # type: ignore[arg-type] # passed on as they are
    for _ in range(users):
        await made.join()
    yield made
    made.mrfp.gateway.release_everything()
    for participant in made.participants:
        participant.user.writer.close()
    assert made.mrfp.left_over() == {}
