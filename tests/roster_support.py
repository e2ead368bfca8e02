"""A focus in memory and those who watch its conferences, for unit tests."""

from __future__ import annotations

import itertools
from typing import Any

from focus_world import ALICE, MEETING, Caller, World, header

from mrf_protocols.conference_info import Mirror, Update
from mrfc import jobs
from mrfc.sip.port import OutgoingRequest, Response

WATCHER = "sip:watcher@ops.example"
FACTORY = "sip:conf-factory@conf.example"
PROXY = "192.0.2.99"
"""A trusted neighbour, where the test says so."""
NUMBERS = itertools.count(5000)
OPEN: dict[str, Any] = {"allow_subscribe": ["sip:*@ops.example"], "interval": 0.0, "departed_kept": 0.0}


def fields(**headers: str) -> tuple[tuple[str, str], ...]:
    """Header fields as workers hand them over."""
    return tuple((name.replace("_", "-"), value) for name, value in headers.items())


class Watcher:
    """Somebody who subscribes and answers NOTIFYs."""

    def __init__(self, world: World, dialog: jobs.DialogId | None = None, who: str = WATCHER) -> None:
        self.world = world
        self.who = who
        number = next(NUMBERS)
        self.in_dialog = dialog is not None
        self.dialog = dialog or jobs.DialogId(f"watch-{number}", "focus-tag", "watcher-tag")
        self.cseq = 100
        self.mirror = Mirror()

    def subscribe(self, target: str = MEETING, **changes: Any) -> Response:
        number = next(NUMBERS)
        self.cseq += 1
        values: dict[str, Any] = {
            "transaction": jobs.TransactionId(number, 1),
            "dialog": self.dialog,
            "cseq": self.cseq,
            "request_uri": target,
            "from_uri": self.who,
            "to_uri": target,
            "contact_uri": "sip:watcher@192.0.2.3",
            "record_route": () if self.in_dialog else ("<sip:proxy;lr>",),
            "in_dialog": self.in_dialog,
            "require": "",
            "content_type": "",
            "body": "",
        }
        given = {"event": ("conference",), "expires": ("600",), "accept": ()} | changes
        lists = {name: given.pop(name) for name in ("event", "expires", "accept")}
        values["headers"] = tuple((name, value) for name, found in lists.items() for value in found)
        job = jobs.SubscribeJob(**(values | given))
        self.world.focus.notifier.on_subscribe(job)
        answer = self.world.sip.answers[job.transaction]
        self.in_dialog = self.in_dialog or answer.status == 200
        return answer

    def notifies(self) -> list[OutgoingRequest]:
        sent = self.world.sip.sent("NOTIFY")
        return [notify for notify in sent if header(notify, "Call-ID") == self.dialog.call_id]

    def answer(self, status: int = 200) -> OutgoingRequest:
        """Answer the last NOTIFY, and take what it says."""
        notify = self.notifies()[-1]
        if notify.body:
            assert self.mirror.apply(notify.body) in (Update.TAKEN, Update.GONE)
        number = int(header(notify, "CSeq").split()[0])
        response = jobs.ResponseJob(self.dialog, "NOTIFY", number, status, "x")
        self.world.focus.on_response(response)
        return notify

    async def told(self) -> Mirror:
        """Let everything be told; gives what is known then."""
        await self.world.settle()
        self.answer()
        await self.world.settle()
        return self.mirror


async def join(
    world: World, user: str = "alice", uri: str = ALICE, target: str = MEETING, **more: Any
) -> Caller:
    caller = Caller(world.kms, user, uri, target)
    world.focus.on_invite(caller.invite(**more))
    await world.settle()
    world.focus.on_ack(caller.ack())
    return caller
