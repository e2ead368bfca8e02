"""Who knows some keys of a ticket and not others gets nowhere (RFC 6043 12.2, 12.4): attackers built with naive_mikey.

With key forking MPKi, and the TEKs and GTGKs of a ticket, are known to everyone who may resolve it; MPKr and the
TGKs to the Initiator and the KMS alone, MPKr' and the TGK' to one Responder. MRF_MIKEY_FLOWS as elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import naive_mikey as naive
import pytest
from mikey_flows import (
    Flow,
    Octets,
    asks_to_resolve,
    flows,
    issued_ticket,
    kms_resolves,
    ntp,
    policy_flags,
    uri,
    wanted_policy,
)

from mrf_protocols import mikey
from mrf_protocols.mikey import ErrorNumber

every_suite = pytest.mark.parametrize("suite", [0, 1], ids=["128", "256"])
FORKING = "DEFGHINO"


def forking_flows(suite: int) -> Iterator[Flow]:
    for flow in flows(suite, 1):
        yield replace(flow, flags=FORKING, key_types=(0,), lifetime=None, cleared="", sdp_ids="mikey")


def forking_ticket(flow: Flow) -> tuple[bytes, naive.OpenedTicket]:
    policy = wanted_policy(flow)._replace(keys=())
    octets = Octets(flow.random, [flow.random.randbytes(n) for n in (flow.suite.key_length,) * 2])
    octets.given.append(flow.random.randbytes(max(len(flow.tpk), flow.suite.key_length)))
    return issued_ticket(flow, policy, (), octets, flow.start)


def transfer_init(flow: Flow, ticket: bytes, mpki: bytes, mpkr: bytes, spi: bytes = b"\x01") -> bytes:
    return naive.transfer_init(
        flow.naive_suite,
        flow.random.getrandbits(32),
        ntp(flow.start),
        flow.random.randbytes(32),
        uri(flow.initiator),
        uri(flow.called),
        (naive.Session(1, (0,), spi),),
        [naive.sp_body(0)],
        ticket,
        mpki,
        mpkr,
        (),
        b"mikey",
    )


@contextlib.contextmanager
def refused(number: ErrorNumber = ErrorNumber.AUTH_FAILURE) -> Iterator[None]:
    with pytest.raises(mikey.MikeyError) as caught:
        yield
    assert caught.value.number == number, str(caught.value)


def resolve(flow: Flow, ticket: bytes) -> None:
    """Bob asks the KMS about a ticket."""
    init = naive.resolve_init_psk(
        flow.naive_suite,
        flow.random.getrandbits(32),
        ntp(flow.start),
        flow.random.randbytes(len(flow.psk_r)),
        uri(flow.responder),
        uri(flow.kms),
        ticket,
        None,
        flow.psk_r,
    )
    mikey.resolve_ticket(
        init,
        rules=mikey.KmsRules(flow.kms),
        find_credential=flow.bob,
        find_ticket_key=flow.ticket_key,
        rand=flow.random.randbytes,
        now=flow.start,
    )


@every_suite
def test_who_resolved_a_ticket_cannot_offer_it_to_another(suite: int) -> None:
    """12.4: Mallory has MPKi, TEKs, GTGKs from the KMS, and MPKr' of its own, but not MPKr; Bob's KMS sees it in Vr."""
    for flow in forking_flows(suite):
        ticket, opened = forking_ticket(flow)
        honest = transfer_init(flow, ticket, opened.mpki.key, opened.mpkr.key)
        resolve(flow, naive.read_transfer_init(honest).ticket)
        forked = naive.forked(
            flow.naive_suite.prf, naive.FORK_MPKR, opened.mpkr.key, flow.responder.encode(), bytes(32)
        )
        for guess in (forked, opened.mpki.key, flow.random.randbytes(len(opened.mpkr.key))):
            init = transfer_init(flow, ticket, opened.mpki.key, guess)
            mikey.TransferResponder(init, flow.start)
            with refused():
                resolve(flow, naive.read_transfer_init(init).ticket)


@every_suite
def test_initiator_data_of_another_message_are_refused(suite: int) -> None:
    """4.2.3.6: the Responder compares V with Vi, here even before it asks the KMS."""
    for flow in forking_flows(suite):
        ticket, opened = forking_ticket(flow)
        first, second = (transfer_init(flow, ticket, opened.mpki.key, opened.mpkr.key) for _ in range(2))
        _, _, data = naive.ticket_pieces(naive.read_transfer_init(second).ticket)
        place = next(part for part in naive.parsed(first).parts if part.kind == naive.TICKET)
        spliced = first[: place.end - len(data)] + data + first[place.end :]
        mikey.TransferResponder(first, flow.start)
        with refused():
            mikey.TransferResponder(spliced, flow.start)


@every_suite
def test_key_forking_cannot_be_switched_off(suite: int) -> None:
    """A.1: the ticket's MAC covers the flags, so the KMS notices; MPKi protects a fine TRANSFER_INIT."""
    for flow in forking_flows(suite):
        ticket, opened = forking_ticket(flow)
        policy, data, _ = naive.ticket_pieces(ticket)
        plain = naive.policy_body(naive.read_policy(policy)._replace(flags=FORKING.replace("I", "")))
        init = transfer_init(flow, naive.ticket_body(plain, data), opened.mpki.key, opened.mpkr.key)
        mikey.TransferResponder(init, flow.start)
        with refused():
            resolve(flow, naive.read_transfer_init(init).ticket)


@every_suite
def test_who_resolved_a_ticket_cannot_answer_for_another(suite: int) -> None:
    """12.2: a TRANSFER_RESP under MPKi, or under MPKr' of another Responder or of another fork, is refused."""
    for flow in forking_flows(suite):
        initiator, resolved = offered(flow)
        init, session = initiator.init(), naive.read_transfer_init(initiator.init()).sessions[0]
        assert resolved.mpkr is not None
        assert resolved.idrr is not None
        assert resolved.randrkms is not None
        randrr, other = flow.random.randbytes(32), flow.random.randbytes(len(resolved.randrkms))
        right = (resolved.idrr, resolved.randrkms, resolved.mpkr.key)
        for idrr, randrkms, mpk in (
            (resolved.idrr, resolved.randrkms, resolved.mpki.key),
            (uri(flow.initiator), resolved.randrkms, resolved.mpkr.key),
            (resolved.idrr, other, resolved.mpkr.key),
            (None, resolved.randrkms, resolved.mpkr.key),
            (resolved.idrr, None, resolved.mpkr.key),
            right,
        ):
            response = naive.transfer_resp(init, ntp(flow.start), randrr, idrr, randrkms, (session,), [], mpk)
            if (idrr, randrkms, mpk) == right:
                initiator.response(response, flow.start)
            else:
                number = ErrorNumber.AUTH_FAILURE if idrr and randrkms else ErrorNumber.UNSPECIFIED
                with refused(number):
                    initiator.response(response, flow.start)


def offered(flow: Flow) -> tuple[mikey.TransferInitiator, naive.Resolved]:
    """A TRANSFER_INIT of mrf_protocols.mikey, and what the KMS gives its Responder."""
    rand = flow.random.randbytes
    exchange = mikey.TicketRequestExchange(
        psk=flow.psk_i,
        psk_id="alice-key",
        initiator=flow.initiator,
        kms=flow.kms,
        responders=flow.responders,
        csb_id=1,
        rand=rand,
        now=flow.start,
        suite=flow.suite,
        flags=policy_flags(flow.flags),
    )
    granted = exchange.response(
        mikey.issue_ticket(
            exchange.request(),
            rules=mikey.KmsRules(flow.kms),
            find_credential=flow.alice,
            ticket_key=flow.ticket_key(None),
            rand=rand,
            now=flow.start,
        ).response,
        flow.start,
    )
    initiator = mikey.TransferInitiator(
        granted, flow.initiator, flow.called, csb_id=2, rand=rand, now=flow.start
    )
    responder = mikey.TransferResponder(initiator.init(), flow.start)
    asked = asks_to_resolve(flow, responder, naive.read_transfer_init(initiator.init()).ticket, flow.start)
    return initiator, naive.open_resolve_resp(asked, kms_resolves(flow, asked, flow.start), flow.psk_r)
