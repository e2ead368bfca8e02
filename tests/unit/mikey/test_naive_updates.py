"""CSB updates and Error messages of mrf_protocols.mikey, foretold by naive_mikey; MRF_MIKEY_FLOWS as elsewhere."""

from __future__ import annotations

import naive_mikey as naive
import pytest
from mikey_flows import (
    TPK_NAME,
    Flow,
    as_key_data,
    asks_to_resolve,
    flows,
    kms_issues,
    kms_resolves,
    ntp,
    policy_flags,
    resolved_locally,
    uri,
    wanted_policy,
    whole,
)

from mrf_protocols import mikey
from mrf_protocols.mikey.numbers import KeyType
from mrf_protocols.mikey.payloads import SecurityPolicy


class Running:
    """An exchange of two parties of mrf_protocols.mikey, finished; what naive_mikey makes of it."""

    def __init__(self, flow: Flow) -> None:
        rng, now = flow.random, flow.start
        ticket = mikey.make_ticket(
            tpk=flow.tpk,
            tpk_id=TPK_NAME,
            initiator=flow.initiator,
            kms=flow.kms,
            responders=flow.responders,
            rand=rng.randbytes,
            now=now,
            suite=flow.suite,
            flags=policy_flags(flow.flags),
            key_types=[KeyType(kind) for kind in flow.key_types],
        )
        initiator = mikey.TransferInitiator(
            ticket, flow.initiator, flow.responder, csb_id=rng.getrandbits(32), rand=rng.randbytes, now=now
        )
        responder = mikey.TransferResponder(initiator.init(), now)
        if "E" in flow.flags:
            asked = asks_to_resolve(flow, responder, naive.read_transfer_init(initiator.init()).ticket, now)
            response = kms_resolves(flow, asked, now + 1)
            responder.resolved(response, now + 1)
            resolved = naive.open_resolve_resp(asked, response, flow.psk_r)
        else:
            responder.open_locally(flow.ticket_key, flow.responder)
            resolved = resolved_locally(flow, initiator.init())
        answer = responder.respond(rng.randbytes, now + 2)
        if answer.message:
            initiator.response(answer.message, now + 3)
        self.flow, self.init, self.tek = flow, initiator.init(), answer.tek
        mpkr = resolved.mpkr.key if resolved.mpkr else None
        self.last = naive.last_protection(self.init, answer.message, resolved.mpki.key, mpkr)
        self.spi = naive.read_transfer_init(self.init).sessions[0].spi
        self.ends = (initiator.session(), responder.session())
        self.names = ((naive.IDRI, uri(flow.initiator)), (naive.IDRR, uri(flow.responder)))

    def new_keys(self, letter: str) -> tuple[naive.Key, ...]:
        """One or two keys with new SPIs, for who may supply any."""
        rng = self.flow.random
        if letter not in self.flow.flags:
            return ()
        return tuple(
            naive.Key(
                kind,
                rng.randbytes(5),
                rng.randbytes(self.flow.suite.key_length),
                rng.randbytes(14 if kind in naive.SALTED else 0),
            )
            for kind in rng.choices([0, 1, 2, 3, 4, 5], k=rng.choice([1, 2]))
        )


def update(run: Running, starter: int, now: float) -> None:
    """One update, started by the Initiator (0) or the Responder (1) of the initial exchange."""
    flow, rng = run.flow, run.flow.random
    one, other = run.ends[starter], run.ends[1 - starter]
    ours, theirs = run.new_keys("LM"[starter]), run.new_keys("ML"[starter])
    response = not ours or (bool(theirs) and rng.random() < 0.5)
    if not ours and not theirs:
        return
    csb_id = naive.read_transfer_init(run.init).csb_id
    started = one.start(now=now, keys=as_key_data(ours), response=response)
    session = naive.Session(1, (0,), ours[0].spi if ours else b"")
    names = (run.names[starter], run.names[1 - starter])
    again = naive.update_init(
        flow.naive_suite,
        csb_id,
        int(response),
        ntp(now),
        *names,
        (session,),
        [naive.sp_body(0)],
        run.last,
        ours,
    )
    assert started == again
    _, identity_i = run.names[0]
    _, identity_r = run.names[1]
    message, sent = naive.open_update(started, run.last, identity_i.data + identity_r.data)
    assert sent == ours
    received = other.receive(started, now=now + 1, keys=as_key_data(theirs) if response else ())
    known = ours
    if response:
        spi = (theirs or ours)[0].spi
        session = session._replace(spi=spi)
        again = naive.update_resp(started, ntp(now + 1), names[1], (session,), [], run.last, theirs)
        assert received.message == again
        message, sent = naive.open_update(received.message, run.last, started)
        assert sent == theirs
        known = (*theirs, *ours)
        one.finish(received.message, now + 2)
    else:
        assert received.message == b""
    tek = naive.updated_key(message, session, "H" in flow.flags, run.last, known)
    assert received.tek == one.result.tek == other.result.tek == tek


@pytest.mark.parametrize("suite", [0, 1], ids=["128", "256"])
@pytest.mark.parametrize("mode", [3, 4], ids=["mode3", "mode4"])
def test_updates_are_as_foretold(suite: int, mode: int) -> None:
    for flow in flows(suite, mode):
        run = Running(flow)
        for number in range(3):
            update(run, flow.random.randrange(2), flow.start + 10 + 10 * number)


@pytest.mark.parametrize("suite", [0, 1], ids=["128", "256"])
def test_error_messages_are_as_foretold(suite: int) -> None:
    for flow in flows(suite, 4):
        run, now, number = Running(flow), flow.start + 4, flow.random.randrange(16)
        read, sps = naive.read_transfer_init(run.init), [naive.sp_body(7)]
        mpki = naive.open_base_ticket(read.ticket, flow.tpk).mpki.key
        func, octets = flow.naive_suite.prf, flow.naive_suite.auth_octets
        auth_key = naive.message_key(func, naive.AUTH_KEY, mpki, read.csb_id, False, read.randri, b"", octets)
        responder = mikey.TransferResponder(run.init, now)
        plain = naive.error_message(run.init, ntp(now), (number,), [], None)
        assert responder.error(number, now) == plain
        assert mikey.read_error(plain) == number
        responder.open_locally(flow.ticket_key, flow.responder)
        with_mac = naive.error_message(run.init, ntp(now), (number,), [], auth_key)
        assert responder.error(number, now) == with_mac
        suggested = naive.error_message(run.init, ntp(now), (number,), sps, None)
        policy = SecurityPolicy(7, naive.TLS_PROT_TYPE)
        assert mikey.error_message(run.init, number, now, supported=(policy,)) == suggested


@pytest.mark.parametrize("suite", [0, 1], ids=["128", "256"])
def test_error_messages_of_the_kms_are_as_foretold(suite: int) -> None:
    for flow in flows(suite, 1):
        rng = flow.random
        init = naive.request_init_psk(
            flow.naive_suite,
            rng.getrandbits(32),
            ntp(flow.start),
            rng.randbytes(100),
            uri(flow.initiator),
            uri(flow.kms),
            wanted_policy(flow)._replace(end=whole(flow.start - 3600)),
            None,
            flow.psk_i,
        )
        read = naive.open_request_init_psk(init, flow.psk_i)
        with pytest.raises(mikey.MikeyError, match="expired") as caught:
            kms_issues(flow, init, flow.start)
        func, octets = flow.naive_suite.prf, flow.naive_suite.auth_octets
        auth_key = naive.message_key(
            func, naive.AUTH_KEY, flow.psk_i, read.csb_id, False, read.randri, b"", octets
        )
        number, protector = caught.value.number, caught.value.protector
        answer = mikey.error_message(init, number, flow.start, protector=protector)
        assert number == mikey.ErrorNumber.INVALID_TPPAR
        assert answer == naive.error_message(init, ntp(flow.start), (15,), [], auth_key)
