"""What one keeps of a SIP dialog, and the requests that go out within it (RFC 3261 12)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from mrfc.jobs import DialogId, ResponseJob
from mrfc.sip import charging, uri
from mrfc.sip.port import OutgoingRequest
from mrfc.sip.refusal import quotable

NO_CSEQ = -1
"""The number of the peer's last request while there was none (RFC 3261 12.1.2: empty)."""


@dataclass(slots=True, kw_only=True)
class SipDialog:
    """The state of a dialog (RFC 3261 12.1), whatever it is used for: a call, subscriptions, or both.

    `route_set` is in the order in which our requests take it. `local_cseq` is the number of our last request, 0 before
    the first. `owns_call_id`: we made the Call-ID, which decides who waits longer after a 491 (RFC 3261 14.1).
    `peer_allows` are the methods of the peer's last Allow. `charging` is the P-Charging-Vector of our requests, "" for
    none.
    """

    dialog: DialogId
    local_uri: str
    remote_uri: str
    remote_target: str
    route_set: tuple[str, ...]
    remote_cseq: int
    local_cseq: int = 0
    owns_call_id: bool = False
    peer_allows: frozenset[str] = frozenset()
    charging: str = ""

    def next_cseq(self) -> int:
        """The number of another request of ours."""
        self.local_cseq += 1
        return self.local_cseq


def new_dialog_id(domain: str) -> DialogId:
    """What names a dialog that an INVITE of ours begins; the peer's tag comes later. Nobody can guess it."""
    return DialogId(f"{secrets.token_hex(16)}@{domain}", secrets.token_hex(12), "")


def route_set_of(response: ResponseJob) -> tuple[str, ...]:
    """The route set that a response to an INVITE of ours gives its dialog (RFC 3261 12.1.2)."""
    return tuple(reversed(uri.split_routes(response.record_route)))


def request(
    dialog: SipDialog, method: str, cseq: int, headers: tuple[tuple[str, str], ...] = (), body: str = ""
) -> OutgoingRequest:
    """A request within a dialog, sent along its route set (RFC 3261 12.2.1.1), with more `headers`."""
    own = (
        ("From", f"<{dialog.local_uri}>;tag={dialog.dialog.local_tag}"),
        ("To", f"<{dialog.remote_uri}>;tag={dialog.dialog.remote_tag}"),
        ("Call-ID", dialog.dialog.call_id),
        ("CSeq", f"{cseq} {method}"),
        *headers,
        *charging.fields(dialog.charging),
    )
    target, routes = dialog.remote_target, dialog.route_set
    if routes and uri.is_strict_router(routes[0]):  # its URI goes to the request line, ours to the end
        target, routes = uri.address_of(routes[0]), (*routes[1:], f"<{target}>")
        next_hop = target
    else:
        next_hop = uri.address_of(routes[0]) if routes else ""
    return OutgoingRequest(method, target, next_hop, (*own, *(("Route", route) for route in routes)), body)


def bye(dialog: SipDialog, reason: str, status: int = 503) -> OutgoingRequest:
    """The BYE that ends a dialog from our side (RFC 3261 15.1.1), with a Reason (RFC 3326)."""
    why = ("Reason", f'SIP;cause={status};text="{quotable(reason)}"')
    return request(dialog, "BYE", dialog.next_cseq(), (why,))
