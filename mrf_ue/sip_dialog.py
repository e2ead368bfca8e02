"""Dialogs of SIP (RFC 3261 12) and the requests and responses inside them, sans-IO."""

from dataclasses import dataclass

from aiosipua import (
    SipRequest,
    SipResponse,
    Via,
    parse_address,
    parse_uri,
    stringify_uri,
    stringify_via,
)
from aiosipua.utils import format_addr

from mrf_ue.sip_transactions import copy_header, cseq_number

USER_AGENT = "mrf-ue"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE"


@dataclass(frozen=True, slots=True)
class LocalEnd:
    """This end as the far end sees it.

    `identity` is the SIP URI of the user, (`host`, `port`) where requests reach it, `transport` one of
    udp, tcp, tls, `display_name` how the user wants to be shown, "" for no name.
    """

    identity: str
    host: str
    port: int
    transport: str
    display_name: str = ""

    @property
    def address(self) -> str:
        """Name and URI, as they stand in From (RFC 3261 20.20)."""
        quoted = self.display_name.replace("\\", "\\\\").replace('"', '\\"')
        return (f'"{quoted}" ' if quoted else "") + f"<{self.identity}>"

    @property
    def contact(self) -> str:
        """The Contact header of this end."""
        user = parse_uri(self.identity).user
        where = format_addr(self.host, self.port)
        suffix = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"<sip:{user}@{where}{suffix}>" if user else f"<sip:{where}{suffix}>"

    def via(self, branch: str) -> str:
        """The Via header of a new request; `rport` (RFC 3581) lets responses pass a NAT."""
        params: dict[str, str | None] = {"branch": branch, "rport": None}
        return stringify_via(
            Via(transport=self.transport.upper(), host=self.host, port=self.port, params=params)
        )


@dataclass(frozen=True, slots=True)
class Dialog:
    """What identifies a dialog and leads requests through it.

    `local` and `remote` are the From/To header values of this end and the far end, tags included; `target` is
    the far end's Contact URI; `routes` are Route header values in the order they are sent.
    """

    call_id: str
    local: str
    remote: str
    target: str
    routes: tuple[str, ...] = ()

    def matches(self, request: SipRequest) -> bool:
        """Whether a request of the far end belongs to this dialog (RFC 3261 12.2.2)."""
        return (
            request.call_id == self.call_id
            and header_tag(request, "From") == tag_of(self.remote)
            and header_tag(request, "To") == tag_of(self.local)
        )

    def request(self, method: str, cseq: int, end: LocalEnd, branch: str) -> SipRequest:
        """A request inside the dialog (RFC 3261 12.2.1.1)."""
        uri, routes = self.target, self.routes
        if routes and not _loose(routes[0]):
            # a strict router of RFC 2543 wants its own URI on top and the target at the end
            uri, routes = _route_uri(routes[0]), (*routes[1:], f"<{self.target}>")
        ids = (self.call_id, self.local, self.remote)
        return new_request(method, uri, cseq=cseq, end=end, branch=branch, ids=ids, routes=routes)


def new_request(
    method: str,
    uri: str,
    *,
    cseq: int,
    end: LocalEnd,
    branch: str,
    ids: tuple[str, str, str],
    routes: tuple[str, ...] = (),
) -> SipRequest:
    """A request with the headers that RFC 3261 8.1.1 demands; `ids` are Call-ID, From and To."""
    request = SipRequest(method=method, uri=uri)
    request.add_header("Via", end.via(branch))
    for route in routes:
        request.add_header("Route", route)
    call_id, from_, to = ids
    request.set_header("From", from_)
    request.set_header("To", to)
    request.set_header("Call-ID", call_id)
    request.set_header("CSeq", f"{cseq} {method}")
    request.set_header("Max-Forwards", "70")
    if method != "ACK":
        request.set_header("User-Agent", USER_AGENT)
    return request


def dialog_of_answer(invite: SipRequest, response: SipResponse) -> Dialog:
    """The caller's dialog, from its INVITE and a response with a To tag (RFC 3261 12.1.2)."""
    return Dialog(
        call_id=invite.call_id or "",
        local=invite.get_header("From") or "",
        remote=response.get_header("To") or "",
        target=contact_uri(response) or invite.uri,
        routes=tuple(reversed(response.get_header_values("Record-Route"))),
    )


def dialog_of_invite(invite: SipRequest, local_tag: str) -> Dialog:
    """The called end's dialog, from the INVITE (RFC 3261 12.1.1)."""
    return Dialog(
        call_id=invite.call_id or "",
        local=f"{invite.get_header('To') or ''};tag={local_tag}",
        remote=invite.get_header("From") or "",
        target=contact_uri(invite),
        routes=tuple(invite.get_header_values("Record-Route")),
    )


def new_response(
    request: SipRequest, status: int, reason: str, *, to_tag: str = "", contact: str = ""
) -> SipResponse:
    """A response to `request` (RFC 3261 8.2.6); `to_tag` is added where To has none."""
    response = SipResponse(status_code=status, reason_phrase=reason)
    for name in ("Via", "Record-Route", "From", "Call-ID", "CSeq"):
        if name != "Record-Route" or 100 < status < 300:
            copy_header(request, response, name)
    to = request.get_header("To") or ""
    response.set_header("To", to if header_tag(request, "To") or not to_tag else f"{to};tag={to_tag}")
    if contact:
        response.set_header("Contact", contact)
    if status == 405 or (status == 200 and request.method in ("INVITE", "OPTIONS")):
        response.set_header("Allow", ALLOW)
    if request.method == "OPTIONS" and status == 200:
        response.set_header("Accept", "application/sdp")
    response.set_header("User-Agent", USER_AGENT)
    return response


def in_dialog_reply(request: SipRequest, end: LocalEnd) -> SipResponse:
    """The response to a request inside a dialog that is not BYE: nothing changes the session."""
    if request.method == "OPTIONS" or (request.method == "UPDATE" and not request.body):
        return new_response(request, 200, "OK", contact=end.contact)
    if request.method in ("INVITE", "UPDATE"):
        return new_response(request, 488, "Not Acceptable Here")
    return new_response(request, 405, "Method Not Allowed")


def contact_uri(message: SipRequest | SipResponse) -> str:
    """The URI of the first Contact header, or an empty string."""
    values = message.get_header_values("Contact")
    return stringify_uri(parse_address(values[0]).uri) if values else ""


def tag_of(value: str) -> str:
    """The tag of a From or To header value, or an empty string."""
    return parse_address(value).tag or ""


def header_tag(message: SipRequest | SipResponse, name: str) -> str:
    """The tag in From or To of a message, or an empty string."""
    return tag_of(message.get_header(name) or "")


def remote_cseq_is_new(request: SipRequest, last: int) -> bool:
    """Whether the far end's request comes after the last one seen (RFC 3261 12.2.2)."""
    return cseq_number(request) > last


def _route_uri(route: str) -> str:
    return stringify_uri(parse_address(route).uri)


def _loose(route: str) -> bool:
    return "lr" in parse_address(route).uri.params
