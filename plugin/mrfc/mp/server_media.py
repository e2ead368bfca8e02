"""Our side of a call's BFCP stream, as session descriptions tell it: the floor control server's."""

from __future__ import annotations

from mrf_protocols import sdp
from mrfc.state import store


def server_media(
    calls: store.Store, call: store.Call, local: tuple[str, int], mikey_message: bytes
) -> sdp.ServerMedia:
    """What an offer or answer of ours says of the stream; `mikey_message` empty: no key-mgmt."""
    conference = calls.conference(call.conference_user)
    if conference is None:
        raise LookupError("the call's conference has gone")
    return sdp.ServerMedia(
        address=sdp.Address(*local),
        conference_id=conference.conference_id,
        user_id=call.user_id,
        floors=tuple(sdp.FloorStreams(floor.id, tuple(floor.streams)) for floor in conference.floors),
        key_mgmt=(sdp.KeyMgmt(sdp.MIKEY, mikey_message),) if mikey_message else (),
    )
