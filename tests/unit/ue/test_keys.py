"""The UE asks another instance of its KMS with a new message when one may have answered and nothing came."""

import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from mikey_pair import KMS, ROOM, Pair

from mrf_kms.client import KmsRefused, KmsUnavailable
from mrf_ops.trace import NullSink, Tracer
from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    ErrorNumber,
    KmsRules,
    MikeyError,
    PolicyFlag,
    TransferInitiator,
    TransferResponder,
    issue_ticket,
    resolve_ticket,
)
from mrf_ue import keys as ue_keys
from mrf_ue.accepted import Accepted
from mrf_ue.errors import KmsFailed
from mrf_ue.options import KeySettings

ALICE = "sip:alice@home.example"
TRACER = Tracer("UE", NullSink())


class TwoInstances:
    """A KMS of two instances: the first takes the message and says nothing."""

    def __init__(self, pair: Pair, silent: int = 1, fault: Exception | None = None) -> None:
        self.pair, self.silent, self.fault = pair, silent, fault
        self.asked: list[bytes] = []

    async def ticket_request(self, body: bytes, correlation: str) -> bytes:
        pair = self.pair
        return self.answer(
            body,
            lambda: (
                issue_ticket(
                    body,
                    rules=KmsRules(KMS),
                    find_credential=pair.credential,
                    ticket_key=pair.tpk,
                    rand=os.urandom,
                    now=time.time(),
                ).response
            ),
        )

    async def ticket_resolve(self, body: bytes, correlation: str) -> bytes:
        pair = self.pair
        return self.answer(
            body,
            lambda: (
                resolve_ticket(
                    body,
                    rules=KmsRules(KMS),
                    find_credential=pair.credential,
                    find_ticket_key=pair.ticket_key,
                    rand=os.urandom,
                    now=time.time(),
                ).response
            ),
        )

    def answer(self, body: bytes, work: Callable[[], bytes]) -> bytes:
        self.asked.append(body)
        if len(self.asked) <= self.silent:
            raise self.fault or KmsUnavailable("no answer", ask_again=True)
        return work()

    async def close(self) -> None: ...


@pytest.fixture
def pair() -> Pair:
    return Pair()


def settings(pair: Pair, *, resolves: bool = False) -> KeySettings:
    user = pair.mrfc if resolves else pair.user
    return KeySettings("http://kms", user.psk_id, user.psk, KMS)


def serve(monkeypatch: pytest.MonkeyPatch, kms: TwoInstances) -> TwoInstances:
    def client(*_: object, **__: object) -> TwoInstances:
        return kms

    monkeypatch.setattr(ue_keys, "KmsClient", client)
    return kms


async def test_a_ticket_from_the_second_instance(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    kms = serve(monkeypatch, TwoInstances(pair))
    assert await ue_keys.get_ticket(settings(pair), ALICE, ROOM, "c", TRACER)
    assert len(set(kms.asked)) == 2, "a new message, not the same again"


async def test_resolved_by_the_second_instance(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    kms = serve(monkeypatch, TwoInstances(pair, silent=0))
    ticket = await ue_keys.get_ticket(settings(pair), ALICE, ROOM, "c", TRACER)
    kms.asked, kms.silent = [], 1
    offer = TransferInitiator(ticket, ALICE, ROOM, csb_id=7, rand=os.urandom, now=time.time())
    transfer = TransferResponder(offer.init(), time.time())
    keys = await ue_keys.resolve_ticket(settings(pair, resolves=True), transfer, ROOM, "c", TRACER)
    assert offer.response(keys.message, time.time()).tek == keys.tek
    assert len(set(kms.asked)) == 2


@pytest.mark.parametrize(
    ("silent", "fault", "asked"),
    [
        (2, None, 2),
        (1, KmsUnavailable("connection refused"), 1),
        (1, KmsRefused(403, 7), 1),
    ],
)
async def test_otherwise_the_person_is_told(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, silent: int, fault: Exception | None, asked: int
) -> None:
    kms = serve(monkeypatch, TwoInstances(pair, silent, fault))
    with pytest.raises(KmsFailed, match="the KMS gives no ticket for "):
        await ue_keys.get_ticket(settings(pair), ALICE, ROOM, "c", TRACER)
    assert len(kms.asked) == asked


async def test_an_answer_of_nonsense_is_the_kms_failing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    kms = TwoInstances(pair, silent=0)
    serve(monkeypatch, kms)
    monkeypatch.setattr(kms, "answer", lambda body, work: body)
    with pytest.raises(KmsFailed, match="gives no ticket"):
        await ue_keys.get_ticket(settings(pair), ALICE, ROOM, "c", TRACER)


async def offered(pair: Pair, flags: PolicyFlag, *csb_ids: int) -> list[bytes]:
    """TRANSFER_INITs with one ticket."""
    ticket = await ue_keys.get_ticket(replace(settings(pair), flags=flags), ALICE, ROOM, "c", TRACER)
    return [
        TransferInitiator(ticket, ALICE, ROOM, csb_id=csb_id, rand=os.urandom, now=time.time()).init()
        for csb_id in csb_ids
    ]


@pytest.mark.parametrize(
    ("flags", "numbers"),
    [
        (DEFAULT_FLAGS, [None, ErrorNumber.INVALID_TS, ErrorNumber.INVALID_TPPAR]),
        (DEFAULT_FLAGS | PolicyFlag.J, [None, ErrorNumber.INVALID_TS, None]),
    ],
)
async def test_nothing_is_accepted_twice(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, flags: PolicyFlag, numbers: list[ErrorNumber | None]
) -> None:
    """The same message again, then another one with the same ticket; the KMS is asked for what is new only."""
    kms = serve(monkeypatch, TwoInstances(pair, silent=0))
    first, second = await offered(pair, flags, 1, 2)
    kms.asked, accepted, account = [], Accepted(), settings(pair, resolves=True)

    async def resolve(message: bytes) -> ErrorNumber | int | None:
        transfer = TransferResponder(message, time.time())
        try:
            await ue_keys.resolve_ticket(account, transfer, ROOM, "c", TRACER, accepted)
        except MikeyError as error:
            return error.number
        return None

    assert [await resolve(message) for message in (first, first, second)] == numbers
    assert len(kms.asked) == numbers.count(None)


async def test_a_message_that_nobody_proved_uses_up_no_ticket(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, TwoInstances(pair, silent=0))
    (good,) = await offered(pair, DEFAULT_FLAGS, 1)
    accepted, account = Accepted(), settings(pair, resolves=True)
    forged = TransferResponder(good[:-1] + bytes([good[-1] ^ 1]), time.time())
    with pytest.raises(MikeyError, match="MAC"):
        await ue_keys.resolve_ticket(account, forged, ROOM, "c", TRACER, accepted)
    transfer = TransferResponder(good, time.time())
    assert await ue_keys.resolve_ticket(account, transfer, ROOM, "c", TRACER, accepted)


async def test_of_two_at_once_one_is_accepted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, TwoInstances(pair, silent=0))
    accepted, account = Accepted(), settings(pair, resolves=True)
    transfers = [
        TransferResponder(message, time.time()) for message in await offered(pair, DEFAULT_FLAGS, 1, 2)
    ]
    for transfer in transfers:
        accepted.check(transfer)
    await ue_keys.resolve_ticket(account, transfers[0], ROOM, "c", TRACER, accepted)
    with pytest.raises(MikeyError, match="used before"):
        accepted.take(transfers[1])
