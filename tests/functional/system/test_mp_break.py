"""The association between MRFC and MRFP breaks and comes back: calls go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from system_support import System, lonely_scene, until


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[System]:
    """A laboratory whose MRFC keeps calls for a while."""
    with System.running(tmp_path / "lab", mp={"loss_grace": 20.0}) as running:
        yield running


async def test_calls_survive_a_break(patient: System) -> None:
    """The floor is still held, the next user joins the same context, and all is given back at the end."""
    async with lonely_scene(patient.lab) as scene:
        scene.expect("mrfc", "association with MRFP mrfp broken")
        scene.expect("mrfp", "MRFC at .* lost")
        staying, leaving = await scene.ue(), await scene.ue()
        await staying.join_bfcp()
        await staying.request_floor()
        await leaving.join_bfcp()
        patient.mp.cut()
        await scene.told("mrfc", "mrfp is back with 2 terminations")
        await staying.hello()
        await leaving.bye()
        coming = await scene.ue()
        await coming.join_bfcp()
        await staying.release_floor()
        await until(lambda: patient.lab.mrfp_status()["contexts"] == 1)
        for ue in (staying, coming):
            await ue.bye()
