"""A new conference that its MRFP cannot have: another MRFP may."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from focus_world import Caller, FakeMrfp, MrfpRefused, MrfpUnavailable, World, make_world

from mrf_protocols.h248.mp import Acknowledgement, Procedure


class Pool(FakeMrfp):
    """Three MRFPs, the first preferred. `refusals`: what each refuses everything with."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: dict[str, int] = {}
        self.asked: list[str] = []

    def choose_mrfp(self, without: Collection[str] = ()) -> str:
        for name in ("first", "second", "third"):
            if name not in without:
                return name
        raise MrfpUnavailable("no other MRFP")

    async def request(self, mrfp: str, procedure: Procedure) -> Acknowledgement:
        self.asked.append(mrfp)
        if code := self.refusals.get(mrfp):
            await self.reached(procedure)
            raise MrfpRefused(code, "Refused")
        return await super().request(mrfp, procedure)


async def calling(folder: Path, refusals: dict[str, int], callers: int = 1) -> tuple[World, Pool, list[int]]:
    """What becomes of so many callers at once."""
    pool = Pool()
    pool.refusals = refusals
    world = make_world(folder, mrfp=pool)
    made = [Caller(world.kms) for _ in range(callers)]
    for caller in made:
        world.focus.on_invite(caller.invite())
    await world.settle()
    return world, pool, [world.sip.answers[caller.transaction].status for caller in made]


@pytest.mark.parametrize("code", [412, 502, 503, 510, 511, 530, 531])
async def test_another_mrfp_may_have_what_this_one_has_not(tmp_path: Path, code: int) -> None:
    world, pool, statuses = await calling(tmp_path, {"first": code, "second": code}, callers=2)
    assert statuses == [200, 200]
    assert pool.asked == ["first", "second", "third", "third"]
    [conference] = [each for each in world.store.conferences() if each.context is not None]
    assert conference.mrfp == "third"


async def test_no_mrfp_has_it(tmp_path: Path) -> None:
    """The answer is that of the first, whose choice it was."""
    world, pool, statuses = await calling(tmp_path, {"first": 531, "second": 510, "third": 510})
    assert (statuses, pool.asked) == ([488], ["first", "second", "third"])
    assert not any(world.busy().values())


async def test_a_request_that_is_wrong_is_wrong_everywhere(tmp_path: Path) -> None:
    _, pool, statuses = await calling(tmp_path, {"first": 449})
    assert (statuses, pool.asked) == ([503], ["first"])


async def test_a_conference_stays_where_it_is(tmp_path: Path) -> None:
    world, pool, _ = await calling(tmp_path, {})
    pool.refusals = {"first": 510}
    late = Caller(world.kms)
    world.focus.on_invite(late.invite())
    await world.settle()
    assert world.sip.answers[late.transaction].status == 503
    assert pool.asked == ["first", "first"]
