"""The UE asks another instance of its KMS with a new message when one may have answered and nothing came."""

import os
import time
from collections.abc import Callable

import pytest
from mikey_pair import KMS, ROOM, Pair

from mrf_kms.client import KmsRefused, KmsUnavailable
from mrf_ops.trace import NullSink, Tracer
from mrf_protocols.mikey import KmsRules, TransferInitiator, TransferResponder, issue_ticket, resolve_ticket
from mrf_ue import keys as ue_keys
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
