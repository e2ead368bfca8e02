"""Floor control by script: several users in memory, at a real floor control server."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from mrf_protocols.bfcp import Message, decode, encode
from mrf_ue.bearer import BearerClosed, Connection
from mrf_ue.console import Console, ConsoleOptions
from mrf_ue.errors import BearerFailed, FloorNotGranted, StepTimeout, TlsFailed
from mrf_ue.floor_session import FloorSession
from mrf_ue.show import quiet
from mrfp_agent.floor_control import Floor, FloorControlServer, Output, Policy, Send

ALICE, BOB, CHAIR = 1, 2, 3
SECONDS = 30.0


class Room:
    """A floor control server and a connection for each user, without a network."""

    def __init__(self, *floors: Floor) -> None:
        self.floors = tuple(floor.floor_id for floor in floors)
        self.server = FloorControlServer(4321, floors)
        self.seats = {user: Seat(self, user) for user in (ALICE, BOB, CHAIR)}
        for user in self.seats:
            self.server.add_user(user)
            self.server.connection_up(user, 0.0)

    def deliver(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Send):
                self.seats[output.user_id].messages.put_nowait(decode(encode(output.message)))

    async def script(
        self, user: int, text: str, *, chair: bool = False, seconds: float = SECONDS
    ) -> list[str]:
        """Run a script; gives what was shown of the floors."""
        shown: list[str] = []

        def show(topic: str, line: str) -> None:
            shown.append(line)

        session = FloorSession(cast(Connection, self.seats[user]), 4321, user, quiet)
        options = ConsoleOptions(tuple(text.strip().splitlines()), chair)
        await Console(session, self.floors, options, show, seconds).run()
        return shown


class Seat:
    """The connection of a user."""

    def __init__(self, room: Room, user: int) -> None:
        self.room = room
        self.user = user
        self.messages: asyncio.Queue[Message | BearerFailed | TlsFailed] = asyncio.Queue()

    def send(self, message: Message) -> None:
        self.room.deliver(self.room.server.receive(self.user, decode(encode(message)), 0.0))


CHAIRED = Floor(1, policy=Policy.CHAIR_MODERATED, chair=CHAIR)


async def test_a_chaired_meeting_of_three() -> None:
    room = Room(CHAIRED)
    alice, bob, chair = await asyncio.gather(
        room.script(ALICE, "ask because I know\nexpect granted\nexpect revoked\nrequests"),
        room.script(BOB, "wait 0.05\nask\nexpect accepted\nexpect granted\nrelease\nexpect released"),
        room.script(
            CHAIR,
            "expect request\ngrant\nwait 0.1\naccept\nfloors\nrevoke time is over\ngrant\nwait 0.1\nfloors",
            chair=True,
        ),
    )
    assert "request 1 for floor 1: revoked (time is over)" in alice
    assert "no requests" in alice
    assert (
        'waits for you: request 1 of user 1 for floor 1, pending: "I know"; grant 1, accept 1, deny 1?'
        in chair
    )
    assert "floor 1: held by user 1 (request 1); queue: user 2 (request 2)" in chair
    assert "request 2 for floor 1: accepted, position 1" in bob
    assert "floor 1: held by you (request 2)" in bob
    assert chair[-1] == "floor 1: free"


async def test_names_are_shown_and_uris_to_the_chair_only() -> None:
    room = Room(CHAIRED)
    room.server.add_user(ALICE, "Alice", "sip:alice@example")
    room.server.add_user(BOB, None, "sip:bob@example")
    _, bob, chair = await asyncio.gather(
        room.script(ALICE, "ask\nexpect granted"),
        room.script(BOB, "wait 0.05\nask\nexpect accepted\nfloors"),
        room.script(CHAIR, "expect request\ngrant\nexpect request\naccept\nwait 0.05\nfloors", chair=True),
    )
    assert any('request 1 of user 1 "Alice" <sip:alice@example> for floor 1' in line for line in chair)
    holder, next_one = (
        'user 1 "Alice" <sip:alice@example> (request 1)',
        "user 2 <sip:bob@example> (request 2)",
    )
    assert f"floor 1: held by {holder}; queue: {next_one}" in chair
    assert any(line.startswith('floor 1: held by user 1 "Alice" (request 1)') for line in bob)


async def test_denied_and_asked_again_with_priority() -> None:
    room = Room(CHAIRED)
    alice, _ = await asyncio.gather(
        room.script(ALICE, "ask 1 priority highest\nexpect denied\nask\nexpect granted"),
        room.script(CHAIR, "expect request\ndeny 1 later\nexpect request\ngrant 2\nwait 0.05", chair=True),
    )
    assert "request 1 for floor 1: denied (later)" in alice
    assert "request 2 for floor 1: granted" in alice


async def test_who_is_no_chair_is_told_so() -> None:
    room = Room(Floor(1))
    await room.script(ALICE, "ask\nexpect granted")
    bob = await room.script(BOB, "wait 0.02\nrevoke")
    assert any("ChairAction refused, Error 5" in line for line in bob)
    assert room.server.holders(1) == (ALICE,)


async def test_asking_for_somebody_else_and_for_several_floors() -> None:
    room = Room(Floor(1), Floor(2))
    alice = await room.script(ALICE, "ask 1 2 for 2\nexpect granted\nrequests 2\nhello")
    assert "request 1 for floor 1, 2: granted" in alice
    assert "request 1 of user 2 for floor 1, 2, granted" in alice
    assert "the server is there" in alice


async def test_watching_other_floors_and_none() -> None:
    room = Room(Floor(1), Floor(2))
    alice = await room.script(ALICE, "watch 2\nwait 0.02\nfloors\nwatch none\nwait 0.02\nfloors")
    assert alice[-1] == "no floor is watched"
    assert "floor 2: free" in alice


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("expect granted 0.05", FloorNotGranted, "there is none"),
        ("ask\nexpect revoked 0.05", FloorNotGranted, "it is granted"),
        ("expect request 0.05", StepTimeout, "no request came"),
    ],
)
async def test_a_script_whose_hope_fails(script: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        await Room(Floor(1)).script(ALICE, script)


@pytest.mark.parametrize("line", ["release", "grant", "grant 9"])
async def test_commands_that_make_no_sense_now_are_told_and_passed_over(line: str) -> None:
    shown = await Room(Floor(1)).script(ALICE, f"{line}\nask\nexpect granted")
    assert any("no request" in words or "no such request" in words for words in shown)


async def test_a_connection_that_breaks_ends_it() -> None:
    room = Room(Floor(1))
    room.seats[ALICE].messages.put_nowait(BearerClosed("gone"))
    with pytest.raises(BearerClosed):
        await room.script(ALICE, "wait 5")


async def test_a_server_that_does_not_answer() -> None:
    room = Room(Floor(1))
    room.seats[ALICE].send = lambda message: None  # type: ignore[method-assign]  # a server that is mute
    with pytest.raises(StepTimeout, match="no response"):
        await room.script(ALICE, "ask", seconds=0.05)
