"""Steps of a flow whose parties have certificates at the KMS: built by one side, foretold by the naive one."""

from __future__ import annotations

from functools import cache

import naive_mikey as naive
import naive_public_keys as naive_pk
from certificates import Certified, certify
from mikey_flows import (
    LONGEST_LIFE,
    TPK_NAME,
    Flow,
    Octets,
    granted_policy,
    issued_ticket,
    kms_keys,
    ntp,
    policy_flags,
    resolve_response,
    uri,
    wanted_policy,
)

from mrf_protocols import mikey
from mrf_protocols.mikey.numbers import KeyType

START = 1_700_000_000.0
YEARS = 40 * 365
"""Days that certificates are good for: flows are set anywhere until 2046."""


@cache
def certified(number: int) -> Certified:
    """A key and its certificate, the same throughout a run."""
    return certify(f"party {number}", number, now=START, days=YEARS)


@cache
def key_pair(number: int) -> naive_pk.RsaKey:
    """The same as whole numbers."""
    made = certified(number)
    numbers = made.key.private_numbers()
    public = numbers.public_numbers
    return naive_pk.RsaKey(public.n, public.e, numbers.d, numbers.p, numbers.q, made.der)


def signer(number: int) -> mikey.Signer:
    """The same as mrf_protocols.mikey has it."""
    made = certified(number)
    return mikey.Signer(made.key, (made.der,))


INITIATOR, RESPONDER, KMS = 1, 2, 3


def account(number: int) -> mikey.CertifiedAccount:
    return mikey.CertifiedAccount(signer(number), mikey.EnvelopeKey(key_pair(KMS).certificate))


def rules(flow: Flow, number: int, identity: str, cleared: str = "") -> mikey.KmsRules:
    """A KMS that knows one certificate."""
    user = mikey.Credential("certified", b"", (identity,), key_pair(number).certificate)
    opener = mikey.EnvelopeOpener(signer(KMS).key, key_pair(KMS).certificate)
    return mikey.KmsRules(
        flow.kms,
        max_lifetime=LONGEST_LIFE,
        cleared_flags=policy_flags(cleared),
        public_keys=mikey.PublicKeys(
            (opener,), lambda chain, _: user if chain == (user.certificate,) else None
        ),
    )


def request_ticket(flow: Flow) -> tuple[mikey.GrantedTicket, naive.Granted]:
    """Ticket Request with certificates, built and read by both."""
    octets, csb_id = Octets(flow.random), flow.random.getrandbits(32)
    exchange = mikey.TicketRequestExchange(
        account=account(INITIATOR),
        initiator=flow.initiator,
        kms=flow.kms,
        responders=flow.responders,
        csb_id=csb_id,
        rand=octets,
        now=flow.start,
        suite=flow.suite,
        flags=policy_flags(flow.flags),
        lifetime=flow.lifetime,
        key_types=[KeyType(kind) for kind in flow.key_types],
    )
    size, own, kms = flow.suite.key_length, key_pair(INITIATOR), key_pair(KMS)
    envelope_key, randri = octets.again(size), octets.again(size)
    octets.all_used()
    read = naive_pk.open_init_pk(exchange.request(), naive.IDRI, kms, own)
    assert read.envelope_key == envelope_key
    init = naive_pk.request_init_pk(
        flow.naive_suite,
        csb_id,
        ntp(flow.start),
        randri,
        uri(flow.initiator),
        uri(flow.kms),
        wanted_policy(flow),
        own,
        (own.certificate,),
        kms,
        envelope_key,
        read.padding,
    )
    assert exchange.request() == init
    response = _issues(flow, init, envelope_key, flow.start + 1.5)
    first = exchange.response(response, flow.start + 1.75)
    return first, naive.open_request_resp(init, response, envelope_key)


def _issues(flow: Flow, init: bytes, envelope_key: bytes, now: float) -> bytes:
    """REQUEST_INIT_PK answered by the KMS, as foretold."""
    octets = Octets(flow.random)
    issued = mikey.issue_ticket(
        init,
        rules=rules(flow, INITIATOR, flow.initiator, flow.cleared),
        find_credential=flow.alice,
        ticket_key=flow.ticket_key(TPK_NAME),
        rand=octets,
        now=now,
    )
    octets.again(flow.suite.key_length)  # what would stand for an envelope key that does not open
    wanted = naive.read_policy(
        naive_pk.open_init_pk(init, naive.IDRI, key_pair(KMS), key_pair(INITIATOR)).subject
    )
    policy = granted_policy(flow, wanted, uri(flow.initiator), now)
    ticket, inside = issued_ticket(flow, policy, wanted.keys, octets, now)
    response = naive.request_resp(
        init, envelope_key, ntp(now), uri(flow.kms), ticket, kms_keys(policy, inside)
    )
    assert issued.response == response
    return response


def resolve(flow: Flow, responder: mikey.TransferResponder, ticket: bytes, now: float) -> naive.Resolved:
    """Ticket Resolve with certificates: RESOLVE_INIT_PK and RESOLVE_RESP, as foretold."""
    octets = Octets(flow.random)
    init = responder.resolve_init(
        account=account(RESPONDER), identity=flow.responder, kms=flow.kms, rand=octets, now=now + 0.5
    )
    csb_id = int.from_bytes(octets.again(4), "big")
    size, own, kms = flow.suite.key_length, key_pair(RESPONDER), key_pair(KMS)
    envelope_key, randrr = octets.again(size), octets.again(size)
    octets.all_used()
    read = naive_pk.open_init_pk(init, naive.IDRR, kms, own)
    assert (read.envelope_key, read.subject) == (envelope_key, ticket)
    again = naive_pk.resolve_init_pk(
        flow.naive_suite,
        csb_id,
        ntp(now + 0.5),
        randrr,
        uri(flow.responder),
        uri(flow.kms),
        ticket,
        own,
        (own.certificate,),
        kms,
        envelope_key,
        read.padding,
    )
    assert init == again
    answers = Octets(flow.random)
    resolved = mikey.resolve_ticket(
        init,
        rules=rules(flow, RESPONDER, flow.responder),
        find_credential=flow.bob,
        find_ticket_key=flow.ticket_key,
        rand=answers,
        now=now + 1,
    )
    answers.again(size)
    response = resolve_response(flow, init, ticket, envelope_key, uri(flow.responder), answers, now + 1)
    assert resolved.response == response
    responder.resolved(response, now + 1.25)
    return naive.open_resolve_resp(init, response, envelope_key)
