"""Why the focus refuses an INVITE, and with what response: the table that docs/errors.md prints.

RFC 4567 3.1.3 asks for 488 with Warning 306 or 399 when key management fails; RFC 3261 20.43 has the warn-codes for
sessions that do not fit; 503 with Retry-After is for what another attempt may find mended.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mrf_protocols import sdp
from mrf_protocols.conference_info import CONTENT_TYPE as CONFERENCE_INFO
from mrfc.sip.port import Fields, Response

RETRY_AFTER = 5  # seconds
CONFERENCE = "conference"  # the event package of RFC 4575


@dataclass(frozen=True, slots=True)
class Answer:
    """A failure response: status, reason phrase, Warning code (0: none) and whether to come again."""

    status: int
    reason: str
    warning: int
    meaning: str


class Cause(enum.Enum):
    """Every way in which a request can fail here."""

    UNKNOWN_CONFERENCE = Answer(404, "Not Found", 0, "no conference has this URI")
    BAD_EXTENSION = Answer(420, "Bad Extension", 0, "the request requires an option we do not have")
    INTERVAL_TOO_SMALL = Answer(
        422, "Session Interval Too Small", 0, "Session-Expires is shorter than sip.min_se"
    )
    UNSUPPORTED_TYPE = Answer(415, "Unsupported Media Type", 0, "the body is not application/sdp")
    BAD_INVITEE = Answer(400, "Bad Request", 399, "who shall be called is no SIP URI")
    UNREACHABLE = Answer(503, "Service Unavailable", 0, "an INVITE of ours cannot be sent")
    NOT_ALLOWED = Answer(
        403, "Forbidden", 0, "the configuration does not allow this requester to ask for calls"
    )
    BAD_REFER = Answer(
        400, "Bad Request", 399, "the REFER has not one Refer-To, or its headers cannot be read"
    )
    BAD_EVENT = Answer(489, "Bad Event", 0, "the SUBSCRIBE is not for the event package conference")
    NOT_ACCEPTABLE = Answer(406, "Not Acceptable", 0, "the subscriber does not take conference information")
    TOO_BRIEF = Answer(
        423, "Interval Too Brief", 0, "the subscription is shorter than the configuration allows"
    )
    BAD_SUBSCRIBE = Answer(400, "Bad Request", 399, "the headers of the SUBSCRIBE cannot be read")
    NO_FILTERS = Answer(
        415, "Unsupported Media Type", 0, "the SUBSCRIBE has a body, and there are no filters"
    )
    NOT_A_SUBSCRIBER = Answer(
        403, "Forbidden", 0, "the configuration does not allow this requester to watch the conference"
    )
    SUBSCRIPTIONS_FULL = Answer(
        503, "Service Unavailable", 0, "the conference has no room for a subscription"
    )
    REFER_UNSUPPORTED = Answer(
        501, "Not Implemented", 399, "the REFER asks for something else than a plain INVITE"
    )
    UNKNOWN_PARTICIPANT = Answer(404, "Not Found", 0, "nobody with this URI is in the conference")
    BAD_LIST = Answer(400, "Bad Request", 399, "the URI list is missing, too long or cannot be read")
    UNSUPPORTED_PART = Answer(
        415, "Unsupported Media Type", 0, "a part of the body is neither session description nor URI list"
    )
    MIXER_UNAVAILABLE = Answer(503, "Service Unavailable", 0, "the mixer refuses the media, or is silent")
    MIXER_KEEPS = Answer(488, "Not Acceptable Here", 399, "the mixer does not take the change of media")
    BAD_BODY = Answer(400, "Bad Request", 399, "the parts of the body cannot be read")
    NO_CONTACT = Answer(400, "Bad Request", 399, "the request has no usable Contact")
    NO_OFFER = Answer(488, "Not Acceptable Here", 399, "the INVITE carries no offer")
    BAD_SDP = Answer(400, "Bad Request", 399, "the session description cannot be parsed")
    OFFER_REJECTED = Answer(
        488, "Not Acceptable Here", 399, "the offer has no BFCP stream that can be served"
    )
    BAD_KEY_MANAGEMENT = Answer(
        488, "Not Acceptable Here", 306, "the key management message cannot be understood"
    )
    TICKET_UNACCEPTABLE = Answer(
        488, "Not Acceptable Here", 399, "the ticket's type, policy or algorithms are refused"
    )
    REPLAYED = Answer(488, "Not Acceptable Here", 399, "the TRANSFER_INIT was seen before")
    REUSED = Answer(488, "Not Acceptable Here", 399, "a ticket that may be used only once was used before")
    TICKET_REFUSED = Answer(
        488, "Not Acceptable Here", 399, "the KMS does not resolve the ticket for this conference"
    )
    KMS_UNAVAILABLE = Answer(503, "Service Unavailable", 0, "the KMS is silent or out of order")
    MRFP_UNAVAILABLE = Answer(503, "Service Unavailable", 0, "no MRFP is in service, or it is silent")
    MRFP_REFUSED = Answer(503, "Service Unavailable", 0, "the MRFP refused the termination")
    NO_ADDRESS = Answer(
        488,
        "Not Acceptable Here",
        301,
        "the MRFP has no address of this IP version, or none for this network",
    )
    DRAINING = Answer(503, "Service Unavailable", 0, "an operator drains this MRFC: it takes no new calls")
    FULL = Answer(486, "Busy Here", 0, "the conference or the MRFC is full")
    TOO_OFTEN = Answer(500, "Server Internal Error", 0, "the participant asks for new connections too often")
    NO_PRACK = Answer(504, "Server Time-out", 0, "no PRACK came for our provisional response")
    PENDING = Answer(491, "Request Pending", 0, "an INVITE or UPDATE of ours in this dialog is not finished")
    OUT_OF_TURN = Answer(
        500, "Server Internal Error", 0, "the previous request of this kind in the dialog is not answered yet"
    )
    NO_DIALOG = Answer(481, "Call/Transaction Does Not Exist", 0, "the dialog is not known here")
    OLD_CSEQ = Answer(500, "Server Internal Error", 0, "the CSeq number is not higher than the last one")
    INTERNAL = Answer(500, "Server Internal Error", 0, "a fault of the MRFC, see its log")


ACCEPT_PARTS = "application/sdp, application/resource-lists+xml, multipart/mixed, multipart/alternative"


class Refusal(Exception):
    """Raised by a step of a procedure to end it with a failure response.

    `detail` is for the log and the Warning; `warning` replaces the cause's warn-code where the fault has its own;
    `retry_after` is in seconds, `headers` are further fields of the response. `mikey_error` is the
    Error no (RFC 3830 6.12) of a fault in key management, `mikey` the Error message that tells it.
    """

    def __init__(
        self,
        cause: Cause,
        detail: str = "",
        warning: int = 0,
        retry_after: int | None = None,
        headers: Fields = (),
        *,
        mikey_error: int | None = None,
        mikey: bytes = b"",
    ) -> None:
        super().__init__(f"{cause.value.status} {cause.value.reason}: {detail or cause.value.meaning}")
        self.cause = cause
        self.detail = detail
        self.warning = warning or cause.value.warning
        self.headers = headers
        self.retry_after = retry_after
        self.mikey_error = mikey_error
        self.mikey = mikey
        if retry_after is None and (cause.value.status in (486, 503) or cause is Cause.OLD_CSEQ):
            self.retry_after = RETRY_AFTER

    def response(self, agent: str) -> Response:
        """The response to send; `agent` is the warn-agent, our host name."""
        answer = self.cause.value
        headers = list(self.headers)
        if self.warning:
            headers.append(("Warning", f'{self.warning} {agent} "{quotable(self.detail or answer.meaning)}"'))
        if self.retry_after is not None:
            headers.append(("Retry-After", str(self.retry_after)))
        if self.cause is Cause.UNSUPPORTED_TYPE:
            headers.append(("Accept", "application/sdp, multipart/mixed, multipart/alternative"))
        if self.cause is Cause.UNSUPPORTED_PART:
            headers.append(("Accept", ACCEPT_PARTS))
        if self.cause is Cause.BAD_EVENT:
            headers.append(("Allow-Events", CONFERENCE))
        if self.cause is Cause.NOT_ACCEPTABLE:
            headers.append(("Accept", CONFERENCE_INFO))
        if self.cause is Cause.NO_FILTERS:
            headers.append(("Accept", ""))  # no type of body (RFC 3261 20.1)
        if self.cause is Cause.TOO_BRIEF:
            headers.append(("Min-Expires", self.detail))
        if self.cause is Cause.BAD_EXTENSION:
            headers.append(("Unsupported", self.detail))
        if not self.mikey:
            return Response(answer.status, answer.reason, tuple(headers))
        # RFC 4567 4.1.2: the cause may be described in a message of the key management protocol
        body = sdp.serialize(sdp.refusal_with(self.mikey, agent, int.from_bytes(self.mikey[4:8])))
        return Response(answer.status, answer.reason, tuple(headers), "application/sdp", body)


def quotable(text: str) -> str:
    """Text fit for a quoted string on one header line (RFC 3261 25.1)."""
    return "".join(c if c.isprintable() and c not in '"\\' else "'" for c in text)[:200]
