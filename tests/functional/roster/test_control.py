"""Identity, privacy, charging and removal on Kamailio: neighbours that are trusted, and who may have others leave."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable

from aiosipua import SipRequest
from sip_peer import Answer, SipPeer
from subscriber_support import Peers, follow, subscribe, tag, unsubscribe
from system_support import Scene, Ue

from lab import CALLER, Lab, tool
from mrf_protocols.conference_info import EndpointStatus, Mirror

VECTOR = "icid-value=4711;icid-generated-at=127.0.0.1"


def edited(**fields: str) -> Callable[[SipRequest], None]:
    """Header fields for an INVITE of the UE."""

    def edit(request: SipRequest) -> None:
        if request.method == "INVITE":
            for name, value in fields.items():
                request.set_header(name.replace("_", "-"), value)

    return edit


def listed(lab: Lab) -> str:
    """The calls as an operator sees them."""
    command = [tool("mrfc-ctl"), "calls", "--url", f"http://127.0.0.1:{lab.ports.http}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def records(lab: Lab) -> list[str]:
    """The call records in the log."""
    return [line for line in lab.elements["mrfc"].output().splitlines() if "call record:" in line]


async def test_who_asks_for_privacy_is_anonymous_everywhere(lab: Lab, peer: Peers) -> None:
    """The neighbour, which is trusted, asserts who it is; nobody else learns it. The charging vector goes on."""
    watcher, mirror, scene = peer(), Mirror(), Scene(lab)
    accepted = await asyncio.to_thread(subscribe, watcher)
    before = len(records(lab))
    try:
        ue = await scene.ue()
        ue.endpoint.edit = edited(
            P_Asserted_Identity=f'"Alice" <{CALLER}>', Privacy="id", P_Charging_Vector=VECTOR
        )
        await ue.join()
        await asyncio.to_thread(follow, watcher, mirror, lambda: mirror.state.user_count == 1)
        [user] = mirror.users.values()
        assert user.entity.endswith("@anonymous.invalid")
        assert "lice" not in repr(mirror.users)
        assert "lice" not in await asyncio.to_thread(listed, lab)
        await ue.bye()
        await asyncio.to_thread(follow, watcher, mirror, lambda: not mirror.users)
    finally:
        await scene.close()
    await asyncio.to_thread(lab.wait_for, "the call record", lambda: len(records(lab)) > before)
    record = records(lab)[-1]
    assert "who=sip:anonymous-" in record
    assert record.count("icid=4711") == 1
    await asyncio.to_thread(unsubscribe, watcher, accepted)


async def refer_bye(half: SipPeer, ue: Ue, tags: tuple[str, str], at: str, target: str) -> list[str]:
    """REFER with method=BYE within the dialog of a UE, whose SIP half is a peer; the bodies of both NOTIFYs."""
    half.tag = tags[0]
    half.request("REFER", at, f"Refer-To: <{target};method=BYE>", call_id=ue.call_id, cseq=60, to_tag=tags[1])
    assert (await asyncio.to_thread(half.response, "REFER")).status == 202
    return [(await asyncio.to_thread(half.incoming, "NOTIFY")).body.strip() for _ in range(2)]


async def test_the_creator_of_a_conference_has_somebody_removed_and_then_ends_it(
    lab: Lab, peer: Peers
) -> None:
    half, watcher, mirror, scene = peer("alice", "ue.example"), peer(), Mirror(), Scene(lab)
    half.answers["BYE"] = Answer()
    try:
        creator = await scene.ue("conf-factory")
        response = await creator.dial()
        await creator.wait_answer()
        await creator.ack()
        tags = (tag(response.get_header("From")), tag(response.get_header("To")))
        contact = response.get_header("Contact") or ""
        user = contact.partition("sip:")[2].partition("@")[0]
        conference = lab.conference(user)
        await asyncio.to_thread(subscribe, watcher, target=conference)
        other = await scene.ue(user)
        other.endpoint.edit = edited(Privacy="id")
        await other.join()
        await asyncio.to_thread(follow, watcher, mirror, lambda: mirror.state.user_count == 2)
        guest = next(entity for entity in mirror.users if entity.endswith(".invalid"))
        told = await refer_bye(half, creator, tags, conference, guest)
        assert told == ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]
        assert "removed from the conference" in await other.far_end_bye()
        await asyncio.to_thread(follow, watcher, mirror, lambda: mirror.state.user_count == 1)
        assert all(endpoint.status is EndpointStatus.CONNECTED for endpoint in mirror.users[CALLER].endpoints)
        half.request(
            "REFER",
            conference,
            f"Refer-To: <{conference};method=BYE>",
            call_id=creator.call_id,
            cseq=61,
            to_tag=tags[1],
        )
        assert (await asyncio.to_thread(half.response, "REFER")).status == 202
        bye = await asyncio.to_thread(half.incoming, "BYE")  # the REFER has brought another Contact
        assert "removed" in bye["Reason"]
        last = await asyncio.to_thread(
            watcher.wait, lambda m: m.method == "NOTIFY" and "terminated" in m["Subscription-State"]
        )
        assert last["Subscription-State"] == "terminated;reason=noresource"
        for _ in range(2):  # a REFER reports to the end, also to who has left
            await asyncio.to_thread(half.incoming, "NOTIFY")
    finally:
        await scene.close()


async def test_others_have_nobody_removed(lab: Lab, peer: Peers) -> None:
    half, scene = peer("alice", "ue.example"), Scene(lab)
    try:
        ue = await scene.ue()
        response = await ue.dial()
        await ue.wait_answer()
        await ue.ack()
        half.tag = tag(response.get_header("From"))
        half.request(
            "REFER",
            lab.conference(),
            f"Refer-To: <{CALLER};method=BYE>",
            call_id=ue.call_id,
            cseq=60,
            to_tag=tag(response.get_header("To")),
        )
        assert (await asyncio.to_thread(half.response, "REFER")).status == 403
        ue.call.machine._cseq = 70  # the REFER has counted on
        await ue.bye()
    finally:
        await scene.close()
