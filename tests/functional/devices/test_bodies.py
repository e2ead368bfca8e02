"""Bodies of several parts in real INVITEs and their answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiosipua import SipRequest
from system_support import Scene

ISUP = b"Content-Type: application/isup\r\nContent-Disposition: signal; handling=%s\r\n\r\n\x01\x10"


def in_parts(kind: str, *others: bytes) -> Callable[[SipRequest], None]:
    """Puts the offer of an INVITE behind other parts."""

    def edit(request: SipRequest) -> None:
        if request.method == "INVITE":
            own = b"Content-Type: application/sdp\r\nContent-Disposition: session\r\n\r\n" + request.body
            parts = b"".join(b"--=b\r\n" + part + b"\r\n" for part in (*others, own))
            request.body = parts + b"--=b--\r\n"
            request.set_header("Content-Type", f'multipart/{kind}; boundary="=b"')

    return edit


@pytest.mark.parametrize(
    ("kind", "other"),
    [("mixed", ISUP % b"optional"), ("alternative", b"Content-Type: text/plain\r\n\r\nno SDP here")],
)
async def test_the_offer_is_found(scene: Scene, kind: str, other: bytes) -> None:
    ue = await scene.ue()
    ue.endpoint.edit = in_parts(kind, other)
    await ue.join_bfcp()
    await ue.request_floor()
    await ue.release_floor()
    await ue.bye()


async def test_a_part_that_must_be_understood_is_refused(scene: Scene) -> None:
    ue = await scene.ue()
    ue.endpoint.edit = in_parts("mixed", ISUP % b"required")
    scene.expect("mrfc", "refused: 415.*application/isup as signal")
    response = await ue.dial()
    assert response.status_code == 415
    assert "multipart/mixed" in (" ".join(response.get_header_values("Accept")))
