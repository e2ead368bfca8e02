"""Reliable provisional responses on Kamailio (RFC 3262): a suspended INVITE that is answered several times."""

from __future__ import annotations

from aiosipua import SipRequest, SipResponse
from system_support import Scene, Ue, new_branch, until

from mrf_ue.sip_dialog import header_tag, new_request


def progress(ue: Ue) -> list[SipResponse]:
    """The 183s that came."""
    return [
        each for each in ue.endpoint.messages if isinstance(each, SipResponse) and each.status_code == 183
    ]


def prack(ue: Ue, response: SipResponse, rack: str, cseq: int) -> None:
    """Acknowledge a provisional response, at its Contact."""
    target = (response.get_header("Contact") or "").partition("<")[2].partition(">")[0]
    ids = (ue.call_id, response.get_header("From") or "", response.get_header("To") or "")
    request = new_request("PRACK", target, cseq=cseq, end=ue.endpoint.end, branch=new_branch(), ids=ids)
    request.set_header("RAck", rack)
    ue.endpoint.send(request)


async def dialled(scene: Scene) -> tuple[Ue, SipResponse]:
    """A UE that requires 100rel, and the first 183."""
    ue = await scene.ue()

    def require(sent: SipRequest) -> None:
        if sent.method == "INVITE":
            sent.set_header("Require", "100rel")

    ue.endpoint.edit = require
    await ue.get_ticket()
    await ue.invite()
    await until(lambda: progress(ue))
    return ue, progress(ue)[0]


async def test_the_200_waits_for_the_prack(scene: Scene) -> None:
    """The 183 is sent again after T1, and is the same."""
    ue, first = await dialled(scene)
    assert (first.get_header("Require"), first.body) == ("100rel", b"")
    await until(lambda: len(progress(ue)) == 2)
    assert {each.get_header("RSeq") for each in progress(ue)} == {first.get_header("RSeq")}
    assert ue.endpoint.responses("INVITE") == []
    cseq = ue.call.machine._cseq
    prack(ue, first, f"1 {cseq} INVITE", cseq + 1)
    assert (await ue.final("PRACK")).status_code == 481
    prack(ue, first, f"{first.get_header('RSeq')} {cseq} INVITE", cseq + 2)
    assert (await ue.final("PRACK", 2)).status_code == 200
    final = await ue.final()
    assert final.status_code == 200
    assert final.get_header("RSeq") is None
    assert header_tag(final, "To") == header_tag(first, "To")
    ue.call.machine._cseq = cseq + 2
    await ue.leave()


async def test_cancelled_between_183_and_prack(scene: Scene) -> None:
    ue, _ = await dialled(scene)
    assert await ue.cancel() == 487
    assert (await ue.final("CANCEL")).status_code == 200
