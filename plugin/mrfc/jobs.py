"""What SIP workers tell the engine: one datagram per SIP event, as plain values.

A SIP worker holds no state. It describes what arrived in one of these structures and posts it to the engine process;
`EngineChannel` (channel.py) carries them. The fields are what Kamailio has parsed already; session descriptions and
key management travel unparsed, since the engine owns those formats.
"""

from __future__ import annotations

import msgspec

CallKey = tuple[str, str]


class TransactionId(msgspec.Struct, frozen=True, array_like=True):
    """A suspended server transaction of Kamailio's tm module: its hash index and label."""

    index: int
    label: int


class DialogId(msgspec.Struct, frozen=True, array_like=True):
    """A dialog as RFC 3261 12 identifies it, seen from the focus."""

    call_id: str
    local_tag: str
    remote_tag: str

    @property
    def key(self) -> CallKey:
        """What names a call on our side from its first message on: the remote tag may come later."""
        return self.call_id, self.local_tag


Headers = tuple[tuple[str, str], ...]
"""Header fields as they came: name in lower case, value."""


class RequestJob(msgspec.Struct, frozen=True, array_like=True):
    """A request whose transaction is suspended until the engine answers it.

    `headers` has the fields that `mrfc.sip.headers.REQUEST` names, one entry per field of the message. `source` is the
    IP address it came from, `from_display` the display name in From as it came.
    """

    transaction: TransactionId
    dialog: DialogId
    cseq: int
    request_uri: str
    from_uri: str
    to_uri: str
    contact_uri: str
    record_route: tuple[str, ...]
    content_type: str
    body: str
    in_dialog: bool
    require: str
    headers: Headers = ()
    source: str = ""
    from_display: str = ""


class InviteJob(RequestJob, frozen=True, tag="invite", array_like=True):
    """An INVITE (RFC 3261 13.3, 14.2)."""


class DialogRequestJob(RequestJob, frozen=True, tag="request", array_like=True, kw_only=True):
    """Another request within a dialog: UPDATE, PRACK, or one of a method that is not served."""

    method: str


class ByeJob(msgspec.Struct, frozen=True, tag="bye", array_like=True):
    """A BYE whose transaction is suspended until the engine answers it."""

    transaction: TransactionId
    dialog: DialogId
    cseq: int


class ReferJob(RequestJob, frozen=True, tag="refer", array_like=True, kw_only=True):
    """A REFER (RFC 3515). `refer_to` and `referred_by` are the values as they came, one entry per header field."""

    refer_to: tuple[str, ...]
    referred_by: tuple[str, ...]
    refer_sub: str


class SubscribeJob(RequestJob, frozen=True, tag="subscribe", array_like=True):
    """A SUBSCRIBE (RFC 6665 4.2.1); `headers` has the fields of `mrfc.sip.headers.SUBSCRIBE`, too."""


class AckJob(msgspec.Struct, frozen=True, tag="ack", array_like=True):
    """The ACK for a 2xx of ours; may overtake nothing or anything: workers run in parallel."""

    dialog: DialogId
    cseq: int
    content_type: str
    body: str


class CancelJob(msgspec.Struct, frozen=True, tag="cancel", array_like=True):
    """A CANCEL that matched a transaction; Kamailio has answered it and sent 487 for the INVITE."""

    call_id: str
    remote_tag: str
    cseq: int


class TimeoutJob(msgspec.Struct, frozen=True, tag="timeout", array_like=True):
    """The suspended INVITE of this dialog ran into the transaction's time limit and was answered 408 by tm."""

    dialog: DialogId


class ResponseJob(msgspec.Struct, frozen=True, tag="response", array_like=True):
    """A response to a request that the engine sent; of provisional ones only those to INVITE are told.

    The fields from `from_uri` on are filled for INVITE and UPDATE; `headers` as in a request. `transport` is what it
    came by, and `certified` whom the certificate of its sender names, over TLS.
    """

    dialog: DialogId
    method: str
    cseq: int
    status: int
    reason: str
    from_uri: str = ""
    to_uri: str = ""
    contact_uri: str = ""
    record_route: tuple[str, ...] = ()
    content_type: str = ""
    body: str = ""
    headers: Headers = ()
    source: str = ""
    transport: str = ""
    certified: tuple[str, ...] = ()


class QueryJob(msgspec.Struct, frozen=True, tag="query", array_like=True):
    """An HTTP request that Kamailio's HTTP server took; the answer goes back to `reply_port` on loopback."""

    reply_port: int
    method: str
    path: str
    body: str
    authorization: str = ""


Job = (
    InviteJob
    | ByeJob
    | ReferJob
    | SubscribeJob
    | DialogRequestJob
    | AckJob
    | CancelJob
    | TimeoutJob
    | ResponseJob
    | QueryJob
)


class QueryAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What the HTTP server shall answer."""

    status: int
    content_type: str
    body: str
    headers: tuple[tuple[str, str], ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)
_answer_decoder = msgspec.msgpack.Decoder(QueryAnswer)


def encode(value: Job | QueryAnswer) -> bytes:
    """One structure as octets for a datagram."""
    return _encoder.encode(value)


def decode(data: bytes) -> Job:
    """The job in a datagram; raises `msgspec.MsgspecError` when it is none."""
    return _decoder.decode(data)


def decode_answer(data: bytes) -> QueryAnswer:
    """The answer to a `QueryJob`; raises `msgspec.MsgspecError` when it is none."""
    return _answer_decoder.decode(data)
