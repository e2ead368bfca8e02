"""A list of URIs in the creating INVITE, with a UE that proves who it is and peers that are called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sip_peer import Answer, SipPeer
from system_support import Scene, Ue

from lab import Lab

Peers = Callable[..., SipPeer]
OPTION = "recipient-list-invite"


def with_list(ue: Ue, *uris: str, require: bool = True) -> None:
    """Let the INVITE of this UE carry a list."""
    entries = "".join(f'<entry uri="{uri}" cp:copyControl="to"/>' for uri in uris)
    document = (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n'
        '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"'
        f' xmlns:cp="urn:ietf:params:xml:ns:copycontrol"><list>{entries}</list></resource-lists>'
    )

    def body(offer: bytes) -> bytes:
        head = b"--x\r\nContent-Type: application/sdp\r\n\r\n" + offer
        head += b"\r\n--x\r\nContent-Type: application/resource-lists+xml\r\n"
        return head + f"Content-Disposition: recipient-list\r\n\r\n{document}\r\n--x--\r\n".encode()

    def edit(request: object) -> None:
        if getattr(request, "method", "") == "INVITE":
            request.set_header("Content-Type", 'multipart/mixed;boundary="x"')  # type: ignore[attr-defined]  # SipRequest
            if require:
                request.set_header("Require", OPTION)  # type: ignore[attr-defined]  # as above

    ue.edit_offer = body
    ue.endpoint.edit = edit


@pytest.mark.parametrize("callee", ["conf-factory", "meeting"])
async def test_two_are_called(lab: Lab, peer: Peers, callee: str) -> None:
    bob, carol = peer("bob", "127.0.0.1"), peer("carol", "127.0.0.1")
    bob.answers = carol.answers = {"INVITE": Answer((486,))}
    scene = Scene(lab)
    try:
        ue = await scene.ue(callee)
        with_list(ue, bob.address, carol.address, bob.address)
        response = await ue.dial()
        assert response.status_code == 200
        for each in (bob, carol):
            invite = each.incoming("INVITE")
            assert invite.target == each.address
            assert "a=floorctrl:s-only" in invite.body
        bob.nothing("INVITE", 0.3)
        await ue.wait_answer()
        ue.check_answer()
        await ue.ack()
        await ue.bye()
    finally:
        await scene.close()


@pytest.mark.parametrize(("uris", "status"), [(("tel:+4930",), 400), ((), 400), (("sip:a@h",), 403)])
async def test_refused(lab: Lab, uris: tuple[str, ...], status: int) -> None:
    scene = Scene(lab)
    try:
        ue = await scene.ue("conf-factory")
        with_list(ue, *uris)
        assert (await ue.dial()).status_code == status
    finally:
        await scene.close()


@pytest.mark.parametrize(("require", "status"), [(True, 420), (False, 415)])
async def test_closed_as_it_comes(closed: Lab, require: bool, status: int) -> None:
    scene = Scene(closed)
    try:
        ue = await scene.ue("conf-factory")
        with_list(ue, "sip:bob@127.0.0.1", require=require)
        response = await ue.dial()
        assert response.status_code == status
        assert response.get_header("Unsupported") == (OPTION if require else None)
    finally:
        await scene.close()
