"""SDP (RFC 8866) with the attributes for BFCP (RFC 8856, RFC 4583), TCP set-up (RFC 4145) and keys (RFC
4567).

`parse` and `serialize` take and give whole session descriptions; `BfcpMedia` is the typed view of a BFCP
m-section; `evaluate_offer`, `answer_bfcp`, `offer_bfcp` and `accept_answer` are the two sides of
offer/answer.
"""

from mrf_protocols.sdp.bfcp import (
    BfcpMedia,
    BfcpProto,
    FloorControlRole,
    FloorStreams,
    bfcp_media,
    bfcp_streams,
    find_bfcp,
    is_bfcp,
)
from mrf_protocols.sdp.codec import encode, parse, serialize
from mrf_protocols.sdp.errors import RejectReason, SdpError, SdpRejected
from mrf_protocols.sdp.key_management import MIKEY, KeyMgmt, KeyMgmtLevel, protocol_list
from mrf_protocols.sdp.mixing import (
    Mixed,
    MixedStream,
    answer_to_mixer,
    from_mixer,
    has_mixable,
    join,
    join_again,
    offer_from_mixer,
    offer_to_mixer,
    with_labels,
    without_mixed,
)
from mrf_protocols.sdp.offer_answer import (
    AcceptedAnswer,
    Agreement,
    AnswerPolicy,
    ClientMedia,
    Party,
    ServerMedia,
    accept_answer,
    answer,
    answer_bfcp,
    evaluate_offer,
    offer_bfcp,
    refuse,
    successor,
)
from mrf_protocols.sdp.refusal import message_in_refusal, refusal_with
from mrf_protocols.sdp.reoffer import Exchange, answer_kept, evaluate_reoffer, reoffer, without_stream
from mrf_protocols.sdp.summary import summary
from mrf_protocols.sdp.transport import ConnectionUse, Setup
from mrf_protocols.sdp.values import (
    Address,
    Attribute,
    Bandwidth,
    Connection,
    MediaDescription,
    Origin,
    SessionDescription,
    Timing,
)

__all__ = [
    "MIKEY",
    "AcceptedAnswer",
    "Address",
    "Agreement",
    "AnswerPolicy",
    "Attribute",
    "Bandwidth",
    "BfcpMedia",
    "BfcpProto",
    "ClientMedia",
    "Connection",
    "ConnectionUse",
    "Exchange",
    "FloorControlRole",
    "FloorStreams",
    "KeyMgmt",
    "KeyMgmtLevel",
    "MediaDescription",
    "Mixed",
    "MixedStream",
    "Origin",
    "Party",
    "RejectReason",
    "SdpError",
    "SdpRejected",
    "ServerMedia",
    "SessionDescription",
    "Setup",
    "Timing",
    "accept_answer",
    "answer",
    "answer_bfcp",
    "answer_kept",
    "answer_to_mixer",
    "bfcp_media",
    "bfcp_streams",
    "encode",
    "evaluate_offer",
    "evaluate_reoffer",
    "find_bfcp",
    "from_mixer",
    "has_mixable",
    "is_bfcp",
    "join",
    "join_again",
    "message_in_refusal",
    "offer_bfcp",
    "offer_from_mixer",
    "offer_to_mixer",
    "parse",
    "protocol_list",
    "refusal_with",
    "refuse",
    "reoffer",
    "serialize",
    "successor",
    "summary",
    "with_labels",
    "without_mixed",
    "without_stream",
]
