"""Requests within a dialog on Kamailio: what RFC 3261 12.2.2 and RFC 3311 ask of a focus."""

from __future__ import annotations

import pytest
from system_support import Scene, new_branch

from lab import CALLER
from mrf_ue.sip_dialog import new_request


async def test_update_with_and_without_offer(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.join_bfcp()
    ue.send_in_dialog("UPDATE")
    refresh = await ue.final("UPDATE")
    assert (refresh.status_code, refresh.body) == (200, b"")
    assert "isfocus" in (refresh.get_header("Contact") or "")
    ue.send_in_dialog("UPDATE", ue.call.machine._body)
    same = await ue.final("UPDATE", 2)
    assert (same.status_code, same.body) == (200, ue.answer_body)
    await ue.hello()
    await ue.bye()


@pytest.mark.parametrize("method", ["INFO", "MESSAGE", "FOO"])
async def test_methods_that_are_not_served(scene: Scene, method: str) -> None:
    ue = await scene.ue()
    await ue.join_bfcp()
    ue.send_in_dialog(method)
    response = await ue.final(method)
    assert response.status_code == 405
    assert "UPDATE" in ",".join(response.get_header_values("Allow"))
    await ue.bye()


async def test_options_and_a_low_cseq(scene: Scene) -> None:
    ue = await scene.ue()
    await ue.join_bfcp()
    ue.send_in_dialog("OPTIONS")
    assert (await ue.final("OPTIONS")).status_code == 200
    ue.send_in_dialog("UPDATE", cseq_step=0)
    late = await ue.final("UPDATE")
    assert (late.status_code, late.get_header("Retry-After")) == (500, "5")
    await ue.bye()


@pytest.mark.parametrize("method", ["UPDATE", "PRACK", "INFO", "OPTIONS"])
async def test_a_dialog_that_is_not_there(scene: Scene, method: str) -> None:
    ue = await scene.ue()
    ids = ("unknown-call", f"<{CALLER}>;tag=1", f"<{scene.lab.conference()}>;tag=nobody")
    ue.endpoint.send(
        new_request(method, scene.lab.conference(), cseq=1, end=ue.endpoint.end, branch=new_branch(), ids=ids)
    )
    assert (await ue.final(method)).status_code == 481
