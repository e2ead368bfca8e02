"""Runs subscriptions in their dialogs: sends NOTIFYs when they are due, and takes the answers (RFC 6665 4.2.2).

When one is due says the machine, mrfc.sip.subscription; what it says is the matter of its event package.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mrfc import jobs
from mrfc.calls.calls import Calls
from mrfc.calls.carriers import Carrier, Carriers, carrier_logger
from mrfc.config import Sip
from mrfc.sip import capabilities
from mrfc.sip.sip_dialog import request
from mrfc.sip.subscription import Subscription
from mrfc.sip.trace import SipTrace

_Notice = TypeVar("_Notice")


@dataclass(frozen=True, slots=True)
class Message:
    """What a NOTIFY says: the values of Event and Subscription-State, a body ("" for none), and more for the trace."""

    event: str
    state: str
    content_type: str
    body: str
    traced: dict[str, str] = field(default_factory=dict)


class Subscribed(ABC, Generic[_Notice]):
    """A subscription, the dialog it is in, and the CSeq number of its last NOTIFY."""

    def __init__(self, carrier: Carrier, subscription: Subscription[_Notice]) -> None:
        self.carrier = carrier
        self.subscription = subscription
        self.cseq = 0
        self.timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def message(self, notice: _Notice) -> Message:
        """What a NOTIFY says that goes out now."""

    @abstractmethod
    def over(self) -> None:
        """The subscription has ended."""

    def count(self, result: str) -> None:
        """What became of a NOTIFY: its status, or "not_sent"."""


class Subscriptions(Generic[_Notice]):
    """All subscriptions of an event package."""

    def __init__(self, config: Sip, calls: Calls, carriers: Carriers, trace: SipTrace) -> None:
        self._config = config
        self._calls = calls
        self._carriers = carriers
        self._trace = trace
        self._by_dialog: dict[jobs.CallKey, list[Subscribed[_Notice]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_dialog.values()))

    def any_in(self, dialog: jobs.CallKey) -> bool:
        """Whether a dialog carries any."""
        return dialog in self._by_dialog

    def add(self, subscribed: Subscribed[_Notice]) -> None:
        """One more; `send` has to follow."""
        carrier = subscribed.carrier
        self._by_dialog.setdefault(carrier.dialog.key, []).append(subscribed)
        self._carriers.hold(carrier)

    def on_response(self, job: jobs.ResponseJob) -> bool:
        """The response to a NOTIFY; False when it is none of these."""
        for subscribed in self._by_dialog.get(job.dialog.key, []):
            if subscribed.cseq == job.cseq:
                subscribed.count(str(job.status))
                self.send(subscribed, subscribed.subscription.answered(job.status, _now()))
                return True
        return False

    def send(self, subscribed: Subscribed[_Notice], notice: _Notice | None) -> None:
        """Send what is due, and wait for what comes next."""
        subscription = subscribed.subscription
        if notice is not None and not self._notify(subscribed, subscribed.message(notice)):
            subscribed.count("not_sent")
            subscription.ended = True
        if subscribed.timer is not None:
            subscribed.timer.cancel()
            subscribed.timer = None
        if subscription.deadline is None:
            self._forget(subscribed)
        else:
            subscribed.timer = asyncio.get_running_loop().call_at(
                subscription.deadline, self._tick, subscribed
            )

    def _tick(self, subscribed: Subscribed[_Notice]) -> None:
        subscribed.timer = None
        deadline = subscribed.subscription.deadline
        now = max(_now(), deadline or 0.0)  # the loop may be early by its clock's resolution
        self.send(subscribed, subscribed.subscription.tick(now))

    def _notify(self, subscribed: Subscribed[_Notice], message: Message) -> bool:
        carrier = subscribed.carrier
        subscribed.cseq = carrier.next_cseq()
        headers = [
            ("Contact", capabilities.contact(self._config, carrier.conference_user)),
            ("Event", message.event),
            ("Subscription-State", message.state),
        ]
        if message.body:
            headers.append(("Content-Type", message.content_type))
        notify = request(carrier, "NOTIFY", subscribed.cseq, tuple(headers), message.body)
        if not self._calls.sip.send(notify):
            carrier_logger(self._calls, carrier).warning("NOTIFY could not be sent")
            return False
        self._trace.sent(carrier.dialog, subscribed.cseq, "NOTIFY", state=message.state, **message.traced)
        return True

    def _forget(self, subscribed: Subscribed[_Notice]) -> None:
        key = subscribed.carrier.dialog.key
        others = self._by_dialog.get(key, [])
        if subscribed not in others:
            return
        others.remove(subscribed)
        if not others:
            del self._by_dialog[key]
        self._carriers.release(subscribed.carrier)
        subscribed.over()


def _now() -> float:
    return asyncio.get_running_loop().time()
