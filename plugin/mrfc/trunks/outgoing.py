"""Requests of ours on their way: which trunk they take, the Contact for it, and the answer to its challenges.

The focus knows nothing of it. A request that is challenged is sent again with the next CSeq number (RFC 3261 22.2), so
from then on the numbers on the wire are ahead of those of the focus; here they are told from each other, both ways.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from mrf_ops.logs import bind
from mrf_protocols.mikey import MikeyError, kms_user_identity
from mrf_protocols.mikey.identity import matches_any
from mrfc import jobs
from mrfc.config import Sip
from mrfc.sip import headers
from mrfc.sip.port import OutgoingRequest, Response, SipPort
from mrfc.trunks import paths
from mrfc.trunks.digest import Challenge, DigestError, Login, best
from mrfc.trunks.servers import is_meant, names_of
from mrfc.trunks.settings import OTHERS, Trunk

log = logging.getLogger(__name__)

CHALLENGES = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}
ANSWERS = 3
"""Challenges to one request: a server and a proxy may each send one, and a nonce may have grown old."""
REMEMBERED = 16
"""Requests of a dialog whose responses may still come."""
SWEEP = 256
"""New legs after which those of calls that have ended are thrown away."""


@dataclass(slots=True)
class _Proof:
    """A challenge, and how often it was answered."""

    challenge: Challenge
    count: int = 0


@dataclass(slots=True)
class _Sent:
    """A request as the focus made it, its number on the wire, and the challenges to it that were answered."""

    request: OutgoingRequest
    cseq: int
    wire: int
    answered: list[str] = field(default_factory=list)
    cancelled: bool = False
    impostor: bool = False  # somebody has answered whose certificate does not name the server


@dataclass(slots=True)
class _Leg:
    """A dialog of ours through a trunk, or over TLS without one; `names` are those of its server."""

    trunk: Trunk | None
    names: frozenset[str]
    ahead: int = 0
    proofs: dict[str, _Proof] = field(default_factory=dict)
    sent: list[_Sent] = field(default_factory=list)


class Outgoing:
    """The SIP port of the focus, in front of that of Kamailio (mrfc.sip.port.SipPort).

    `stands` tells whether a call of ours is still there; `random` gives fresh hexadecimal digits; `verify` says whether
    servers have to be named by their certificates.
    """

    on_impostor: Callable[[str], None] = staticmethod(lambda trunk: None)
    """Told the trunk, or what stands for none, of a response that is not of the server that we meant."""

    def __init__(
        self,
        inner: SipPort,
        sip: Sip,
        trunks: Sequence[Trunk],
        stands: Callable[[jobs.CallKey], bool],
        random: Callable[[], str],
        *,
        verify: bool = True,
    ) -> None:
        self.inner = inner
        self._verify = verify
        self._sip = sip
        self._trunks = tuple(trunk for trunk in trunks if trunk.next_hop)
        self._stands = stands
        self._random = random
        self._legs: dict[jobs.CallKey, _Leg] = {}
        self._new = 0

    def take_over(self, trunks: Sequence[Trunk], *, verify: bool) -> None:
        """Other trunks, for calls to come; workers are told."""
        self._trunks = tuple(trunk for trunk in trunks if trunk.next_hop)
        self._verify = verify
        self.inner.renewed()

    # the port

    def renewed(self) -> None:
        """Have the workers read the configuration again."""
        self.inner.renewed()

    def answer(self, transaction: jobs.TransactionId, response: Response) -> bool:
        """Answer a suspended request."""
        return self.inner.answer(transaction, response)

    def provisional(self, transaction: jobs.TransactionId, response: Response) -> bool:
        """Send a provisional response."""
        return self.inner.provisional(transaction, response)

    def publish(self, event: str) -> bool:
        """Hand an event on."""
        return self.inner.publish(event)

    def counted(self, trunk: str, result: str) -> int:
        """What the workers have counted."""
        return self.inner.counted(trunk, result)

    def send(self, request: OutgoingRequest) -> bool:
        """Send a request along its trunk."""
        fields = dict(request.headers)
        key = (fields.get("Call-ID", ""), _tag(fields.get("From", "")))
        leg = self._legs.get(key)
        if leg is None and request.method == "INVITE" and not _tag(fields.get("To", "")):
            leg = self._open(key, request)
        if leg is None:
            return self._pass(request)
        if leg.trunk is not None and not _tag(fields.get("To", "")):
            request = replace(request, next_hop=leg.trunk.next_hop)
        cseq = int(fields["CSeq"].split()[0])
        sent = _Sent(request, cseq, cseq + leg.ahead)
        leg.sent = [*leg.sent[1 - REMEMBERED :], sent]
        return self._pass(self._numbered(leg, sent))

    def cancel(self, call_id: str, cseq: int, status: int) -> bool:
        """Cancel an INVITE of ours, by its number on the wire."""
        legs = [leg for (found, _), leg in self._legs.items() if found == call_id]
        for sent in [each for leg in legs for each in leg.sent if each.cseq == cseq]:
            sent.cancelled = True
            cseq = sent.wire
        return self.inner.cancel(call_id, cseq, status)

    # responses

    def on_response(self, job: jobs.ResponseJob) -> jobs.ResponseJob | None:
        """A response as the focus shall see it; None when it was a challenge that has been answered."""
        leg = self._legs.get(job.dialog.key)
        if leg is None:
            return job
        sent = next((each for each in leg.sent if each.wire == job.cseq), None)
        if sent is None:  # repeated, of an attempt that has been answered
            return job if job.status < 300 else None
        if self._verify and not is_meant(sent.request, leg.names, job):
            return self._impostor(leg, sent, job)
        if job.status in CHALLENGES and self._answer(leg, sent, job):
            return None
        return msgspec.structs.replace(job, cseq=sent.cseq)

    def _impostor(self, leg: _Leg, sent: _Sent, job: jobs.ResponseJob) -> jobs.ResponseJob | None:
        """The focus sees that the server cannot be had (RFC 3261 8.1.3.1), once, and nothing of what it has said."""
        if sent.impostor:
            return None
        sent.impostor = True
        if job.status < 200:
            self.inner.cancel(job.dialog.call_id, sent.wire, 503)
        trunk = leg.trunk.name if leg.trunk is not None else OTHERS
        self.on_impostor(trunk)
        bind(log, call=job.dialog.call_id).warning(
            "the certificate of who answers for %s, trunk %s, names %s",
            sent.request.next_hop or sent.request.request_uri,
            trunk,
            ", ".join(job.certified) or "nobody",
        )
        return jobs.ResponseJob(
            job.dialog, job.method, sent.cseq, 503, "Server Not Named By Its Certificate", source=job.source
        )

    def _answer(self, leg: _Leg, sent: _Sent, job: jobs.ResponseJob) -> bool:
        asked, _ = CHALLENGES[job.status]
        try:
            challenge = best(headers.values(job.headers, asked))
        except DigestError:
            return False
        again = asked in sent.answered and not challenge.stale  # what we can prove is not enough
        if (
            leg.trunk is None
            or not leg.trunk.username
            or sent.cancelled
            or again
            or len(sent.answered) >= ANSWERS
        ):
            return False
        leg.proofs[asked] = _Proof(challenge)
        leg.ahead += 1
        sent.answered.append(asked)
        sent.wire = sent.cseq + leg.ahead
        return self._pass(self._numbered(leg, sent))

    # legs

    def _open(self, key: jobs.CallKey, request: OutgoingRequest) -> _Leg | None:
        trunk = self._trunk_for(request.request_uri)
        hop = trunk.next_hop if trunk is not None else request.next_hop or request.request_uri
        if trunk is None and paths.of_uri(hop).transport != "tls":
            return None
        self._new += 1
        if self._new % SWEEP == 0:
            self._legs = {known: leg for known, leg in self._legs.items() if self._stands(known)}
        names = names_of(hop).union(trunk.subjects if trunk is not None else ())
        leg = self._legs[key] = _Leg(trunk, names)
        return leg

    def _trunk_for(self, uri: str) -> Trunk | None:
        try:
            identity = kms_user_identity(uri) if self._trunks else ""
        except MikeyError:
            return None
        return next((each for each in self._trunks if matches_any(tuple(each.callees), identity)), None)

    def _numbered(self, leg: _Leg, sent: _Sent) -> OutgoingRequest:
        """A request with its number on the wire and everything the trunk has asked us to prove."""
        request = sent.request
        changed = tuple((name, self._renumbered(leg, sent, name, value)) for name, value in request.headers)
        return replace(request, headers=changed + tuple(self._proven(leg, request)))

    @staticmethod
    def _renumbered(leg: _Leg, sent: _Sent, name: str, value: str) -> str:
        if name == "CSeq":
            return f"{sent.wire} {sent.request.method}"
        if name == "RAck":  # RFC 3262 7.2: it names the INVITE by its number
            response, number, method = value.split()
            wire = next((each.wire for each in leg.sent if str(each.cseq) == number), number)
            return f"{response} {wire} {method}"
        return value

    def _proven(self, leg: _Leg, request: OutgoingRequest) -> list[tuple[str, str]]:
        if leg.trunk is None or (secret := leg.trunk.password_file) is None:
            return []
        login = Login(leg.trunk.username, secret.reveal().decode())
        fields = []
        for asked, answered in CHALLENGES.values():
            if (proof := leg.proofs.get(asked)) is not None:
                proof.count += 1
                value = login.answer(
                    proof.challenge, request.method, request.request_uri, proof.count, self._random()
                )
                fields.append((answered, value))
        return fields

    def _pass(self, request: OutgoingRequest) -> bool:
        path = paths.of_uri(request.next_hop or request.request_uri)
        return self.inner.send(replace(request, headers=paths.readdressed(request.headers, self._sip, path)))


def _tag(value: str) -> str:
    return headers.parameter(value[value.rfind(">") :], "tag")
