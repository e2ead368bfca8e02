"""The audience of a conference: who watches it, and what they see, a roster that follows the calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from mrf_protocols.conference_info import CONTENT_TYPE, Description, Part, document
from mrfc import jobs
from mrfc.calls.carriers import Carrier
from mrfc.calls.subscriptions import Message, Subscribed
from mrfc.config import MrfcConfig
from mrfc.measures import Measures
from mrfc.roster import view
from mrfc.roster.roster import Roster
from mrfc.roster.subscription import ConferenceSubscription, Content, Notice
from mrfc.state.seats import most_participants
from mrfc.state.store import Call, Conference


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all audiences share. `on_news` is told each audience that has something new to see without an event of a
    call, `on_over` each watch that has ended."""

    config: MrfcConfig
    measures: Measures
    on_news: Callable[[Audience], None]
    on_over: Callable[[Watch], None]


class Audience:
    """`watches` in the order in which they came; it lives as long as there is one."""

    def __init__(self, surroundings: Surroundings, conference: Conference) -> None:
        self.surroundings = surroundings
        self.conference = conference
        self.roster = Roster(
            f"sip:{conference.user}@{surroundings.config.sip.domain}", self._description(conference)
        )
        self.watches: dict[Watch, None] = {}
        self._shown: dict[str, dict[jobs.CallKey, Call]] = {}  # by the entity of their user
        self._departures: dict[str, asyncio.TimerHandle] = {}  # users who are shown a little longer

    def _description(self, conference: Conference) -> Description:
        config = self.surroundings.config
        return view.description(conference, config.sip.domain, most_participants(conference, config.limits))

    def describe(self, conference: Conference) -> None:
        """The conference may be called otherwise."""
        self.conference = conference
        self.roster.describe(self._description(conference))

    def show(self, call: Call) -> None:
        """A participant is in, or is in otherwise."""
        entity = view.entity(call)
        calls = self._shown.setdefault(entity, {})
        calls[call.dialog.key] = call
        if (timer := self._departures.pop(entity, None)) is not None:
            timer.cancel()
        self.roster.put(view.user(self.conference, calls.values()))

    def hide(self, call: Call) -> None:
        """A participant has left, or was not in; he is shown as departed for a while."""
        entity = view.entity(call)
        calls = self._shown.get(entity, {})
        if calls.pop(call.dialog.key, None) is None:
            return
        if calls:
            self.roster.put(view.user(self.conference, calls.values()))
            return
        del self._shown[entity]
        was, kept = self.roster.user(entity), self.surroundings.config.roster.departed_kept
        if was is None or not kept:
            self.roster.remove(entity)
        else:
            self.roster.put(view.departed(was, call, time.time()))
            later = asyncio.get_running_loop().call_later
            self._departures[entity] = later(kept, self._forget_departed, entity)

    def _forget_departed(self, entity: str) -> None:
        self._departures.pop(entity, None)
        self.roster.remove(entity)
        self.surroundings.on_news(self)

    def stop(self) -> None:
        """Nobody watches any more."""
        for timer in self._departures.values():
            timer.cancel()


class Watch(Subscribed[Notice]):
    """A subscription to a conference; `as_participant`: its sender may watch as long as he takes part."""

    subscription: ConferenceSubscription

    def __init__(
        self, audience: Audience, carrier: Carrier, subscription: ConferenceSubscription, as_participant: bool
    ) -> None:
        super().__init__(carrier, subscription)
        self.audience = audience
        self.as_participant = as_participant

    def message(self, notice: Notice) -> Message:
        return Message(self.subscription.event, notice.state, CONTENT_TYPE, self._document(notice.content))

    def _document(self, content: Content) -> str:
        subscription, roster = self.subscription, self.audience.roster
        now = asyncio.get_running_loop().time()
        if content is Content.NOTHING:
            return ""
        if content is Content.DELETED:
            subscription.told(roster.number, now)
            return document(roster.entity, subscription.version, Part.DELETED)
        size = self.audience.surroundings.config.roster.document_size
        changes = roster.changes(subscription.known, subscription.begun, size)
        if changes.part is Part.FULL:
            subscription.begun = changes.latest
        subscription.told(changes.known, now)
        return document(roster.entity, subscription.version, changes.part, changes.inside)

    def count(self, result: str) -> None:
        self.audience.surroundings.measures.notifies.labels(result).inc()

    def over(self) -> None:
        self.audience.surroundings.on_over(self)
