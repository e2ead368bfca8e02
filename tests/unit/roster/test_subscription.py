"""Subscriptions to a conference with explicit time: when a NOTIFY goes out, and when there is nobody to notify."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrfc.roster.roster import NOTHING
from mrfc.roster.subscription import GONE, MOST_FAILURES, ConferenceSubscription, Content, Notice
from mrfc.sip.subscription import ANSWER_LIMIT

INTERVAL = 5.0
ACTIVE = "active;expires="


@dataclass
class Run:
    """A subscription and everything that was told; `latest` is the number of the last change."""

    expires: int = 600
    now: float = 1_000.0
    latest: int = 1
    notices: list[Notice] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = ConferenceSubscription("conference", self.expires, INTERVAL, self.now)
        self.take(self.machine.subscribed(self.expires, self.latest, self.now))

    def take(self, notice: Notice | None) -> Notice | None:
        if notice is not None:
            self.notices.append(notice)
            if notice.content is not Content.NOTHING:
                self.machine.told(self.latest, self.now)
        return notice

    def change(self) -> Notice | None:
        self.latest += 1
        return self.take(self.machine.news(self.latest, self.now))

    def answer(self, status: int = 200) -> Notice | None:
        return self.take(self.machine.answered(status, self.now))

    def wait(self, seconds: float) -> None:
        """Let time pass, with every tick that is due."""
        end = self.now + seconds
        while (deadline := self.machine.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            before = (len(self.notices), self.machine.deadline)
            self.take(self.machine.tick(self.now))
            assert (len(self.notices), self.machine.deadline) != before or self.machine.ended, (
                "a tick for nothing"
            )
        self.now = end


def test_the_first_notify_is_the_full_state_at_once() -> None:
    run = Run()
    assert run.notices == [Notice(f"{ACTIVE}600", Content.STATE)]
    assert (run.machine.known, run.machine.version) == (1, 1)


def test_one_at_a_time_and_what_happens_meanwhile_together() -> None:
    run = Run()
    assert run.change() is None
    assert run.change() is None
    assert run.answer() is None  # the interval has not passed
    run.wait(INTERVAL - 0.1)
    assert len(run.notices) == 1
    run.wait(0.1)
    assert run.notices[1:] == [Notice(f"{ACTIVE}595", Content.STATE)]
    assert run.machine.known == 3
    run.answer()
    run.wait(100)
    assert len(run.notices) == 2
    assert run.change() is not None  # the last one is long ago


def test_the_rest_of_a_large_state_follows_without_a_pause() -> None:
    machine = ConferenceSubscription("conference", 600, INTERVAL, 0.0)
    assert machine.subscribed(600, 10, 0.0) is not None
    machine.told(4, 0.0)
    assert machine.answered(200, 0.1) == Notice(f"{ACTIVE}599", Content.STATE)
    machine.told(10, 0.1)
    assert machine.answered(200, 0.2) is None
    assert machine.version == 2


def test_a_refresh_brings_the_full_state_at_once() -> None:
    run = Run()
    run.answer()
    run.wait(1)
    notice = run.take(run.machine.subscribed(900, run.latest, run.now))
    assert notice == Notice(f"{ACTIVE}900", Content.STATE)
    assert run.machine.version == 2


def test_a_refresh_while_a_notify_is_under_way_waits_for_its_answer() -> None:
    run = Run()
    assert run.take(run.machine.subscribed(900, run.latest, run.now)) is None
    assert run.machine.known == NOTHING
    assert run.answer() == Notice(f"{ACTIVE}900", Content.STATE)


@pytest.mark.parametrize("first", [True, False])
def test_expires_0_is_a_last_full_state(first: bool) -> None:
    run = Run(expires=0 if first else 600)
    if not first:
        run.answer()
        run.take(run.machine.subscribed(0, run.latest, run.now))
    assert run.notices[-1] == Notice("terminated;reason=timeout", Content.STATE)
    assert run.machine.ending
    assert not run.machine.ended
    assert run.answer() is None
    assert run.machine.ended
    assert run.machine.deadline is None


def test_expiry() -> None:
    run = Run()
    run.answer()
    run.wait(599.9)
    assert len(run.notices) == 1
    run.wait(0.1)
    assert run.notices[-1] == Notice("terminated;reason=timeout", Content.STATE)


@pytest.mark.parametrize(
    ("reason", "content"),
    [("noresource", Content.DELETED), ("rejected", Content.NOTHING), ("deactivated", Content.NOTHING)],
)
def test_an_end_waits_for_the_notify_under_way(reason: str, content: Content) -> None:
    run = Run()
    assert run.take(run.machine.end(reason, run.now)) is None
    assert run.machine.ending
    run.change()
    assert run.answer() == Notice(f"terminated;reason={reason}", content)
    assert run.take(run.machine.end("other", run.now)) is None
    run.answer()
    assert run.machine.ended


def test_a_subscriber_who_vanishes() -> None:
    run = Run()
    run.change()
    run.wait(ANSWER_LIMIT)
    assert run.machine.ended
    assert len(run.notices) == 1
    assert run.change() is None
    assert run.answer() is None


@pytest.mark.parametrize("status", sorted(GONE))
def test_nobody_to_notify(status: int) -> None:
    run = Run()
    run.answer(status)
    assert run.machine.ended


def test_a_notify_that_failed_for_now_is_followed_by_the_full_state() -> None:
    run = Run()
    assert run.answer(503) is None
    assert run.machine.known == NOTHING
    run.wait(INTERVAL)
    assert len(run.notices) == 2
    run.answer(200)
    for _ in range(MOST_FAILURES):
        run.wait(INTERVAL)
        run.change()
        assert not run.machine.ended
        run.answer(500)
        run.wait(INTERVAL)
    assert run.machine.ended


STEPS = st.lists(
    st.one_of(
        st.just(("change",)),
        st.tuples(st.just("answer"), st.sampled_from([200, 200, 200, 503, 481])),
        st.tuples(st.just("wait"), st.floats(0.01, 40.0)),
        st.tuples(st.just("refresh"), st.sampled_from([0, 60, 600])),
        st.tuples(st.just("end"), st.sampled_from(["noresource", "rejected"])),
    ),
    max_size=30,
)


@given(STEPS)
def test_whatever_happens(steps: list[tuple[object, ...]]) -> None:
    """One NOTIFY at a time, nothing after the last one, the interval kept, and an end for everything."""
    run = Run()
    for step in steps:
        told, outstanding = len(run.notices), run.machine._answer_due is not None
        match step:
            case ("change",):
                run.change()
            case ("answer", int(status)):
                if outstanding:
                    run.answer(status)
                    outstanding = False
            case ("wait", float(seconds)):
                run.wait(seconds)
                continue
            case ("refresh", int(expires)):
                if not run.machine.ending:
                    run.take(run.machine.subscribed(expires, run.latest, run.now))
            case ("end", str(reason)):
                run.take(run.machine.end(reason, run.now))
        assert len(run.notices) - told <= (0 if outstanding else 1)
    last = [notice for notice in run.notices if notice.state.startswith("terminated")]
    assert len(last) <= 1
    assert not last or run.notices[-1] is last[0]
    run.wait(700 + ANSWER_LIMIT)
    assert run.machine.ended
