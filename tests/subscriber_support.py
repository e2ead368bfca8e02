"""Watchers of conferences on the laboratory: a SIP peer that subscribes, and takes what it is told."""

from __future__ import annotations

from collections.abc import Callable

from sip_peer import Message, SipPeer

from mrf_protocols.conference_info import Mirror, Update

MEETING = "sip:meeting@conf.example"
Peers = Callable[..., SipPeer]


def subscribe(
    watcher: SipPeer, *headers: str, target: str = MEETING, expires: int = 600, **more: str | int
) -> Message:
    """SUBSCRIBE; gives its final response."""
    lines = ("Event: conference", f"Expires: {expires}", *headers)
    watcher.request("SUBSCRIBE", target, *lines, **more)  # type: ignore[arg-type] # passed on as they are
    return watcher.response("SUBSCRIBE")


def unsubscribe(watcher: SipPeer, accepted: Message) -> Message:
    """End a subscription; gives the last NOTIFY."""
    again = subscribe(
        watcher, expires=0, call_id=accepted["Call-ID"], cseq=accepted.cseq + 50, to_tag=accepted.to_tag
    )
    assert again.status == 200
    return watcher.wait(lambda m: m.method == "NOTIFY" and "terminated" in m["Subscription-State"])


def follow(watcher: SipPeer, mirror: Mirror, wanted: Callable[[], bool]) -> None:
    """Take NOTIFYs until there is to be seen what shall be."""
    while not wanted():
        assert mirror.apply(watcher.incoming("NOTIFY").body) is Update.TAKEN


def tag(value: str | None) -> str:
    """The tag in a From or To."""
    return (value or "").partition(";tag=")[2]
