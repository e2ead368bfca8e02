"""Messages of Mp changed by chance, as far as they can be read: both sides answer with errors of the standard alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from otp_messages import Mutator
from unit.h248.messages import FACTS, INVENTORY, MP_MESSAGES, PROCEDURES

from mrf_ops.trace import Tracer
from mrf_protocols.h248 import H248Error, decode, encode, mp
from mrf_protocols.h248 import values as v
from mrfp_agent.mp_execution import Execution

MUTANTS = 10_000


class Media:
    """Carries out everything."""

    def handle(self, procedure: mp.Procedure) -> mp.Acknowledgement:
        mp.describe_request(1, procedure)
        if isinstance(procedure, mp.ConfigureBfcpTermination | mp.ReserveBfcpTermination):
            return mp.TerminationConfigured(12, FACTS.name, ("192.0.2.1", 5000))
        if isinstance(procedure, mp.ReleaseBfcpTermination):
            return mp.TerminationReleased(procedure.context, procedure.termination)
        if isinstance(procedure, mp.AuditHeartbeat):
            return mp.HeartbeatAnswered()
        if isinstance(procedure, mp.ConfigureConference):
            return mp.ContextConfigured(procedure.context)
        return mp.TerminationConfigured(procedure.context, procedure.termination)

    def inventory(self, in_service: v.ServiceState) -> mp.Inventory:
        return INVENTORY

    def watch(self, watch: mp.WatchMrfp) -> None:
        pass

    def service_change(self, change: mp.ServiceChange) -> mp.ServiceChangeAccepted:
        return mp.ServiceChangeAccepted()


def readable() -> Iterator[v.Message]:
    for mutator in [Mutator(encode(message)) for message in MP_MESSAGES.values()]:
        for _ in range(MUTANTS // len(MP_MESSAGES)):
            with suppress(H248Error):
                yield decode(mutator.mutate())


@pytest.fixture(scope="module")
def messages() -> list[v.Message]:
    found = list(readable())
    assert len(found) >= MUTANTS // 20
    return found


def test_the_mrfp_answers_every_request(messages: list[v.Message]) -> None:
    media = Media()
    execution = Execution(media, media, Tracer("MRFP"))
    replies = [
        (item, execution.carry_out(item))
        for message in messages
        for item in message.transactions
        if isinstance(item, v.TransactionRequest)
    ]
    assert replies
    for request, reply in replies:
        assert reply.transaction_id == request.transaction_id
        octets = encode(v.Message(3, v.DeviceName("mrfp1"), (reply,)))
        assert decode(octets).transactions == (reply,)


def test_the_mrfc_reads_or_refuses_every_reply(messages: list[v.Message]) -> None:
    replies = [
        item for each in messages for item in each.transactions if isinstance(item, v.TransactionReply)
    ]
    assert replies
    for reply in replies:
        for procedure in PROCEDURES:
            with suppress(H248Error):
                mp.parse_reply(procedure, reply)
        for parse in (mp.parse_inventory, mp.parse_notify_reply, mp.parse_service_change_reply):
            with suppress(H248Error):
                parse(reply)


def test_the_mrfc_reads_or_refuses_every_command(messages: list[v.Message]) -> None:
    requests = [
        item for each in messages for item in each.transactions if isinstance(item, v.TransactionRequest)
    ]
    for action in (action for request in requests for action in request.actions):
        for command in action.commands:
            for parse in (mp.parse_notify, mp.parse_service_change):
                with suppress(H248Error):
                    parse(action, command)
            with suppress(H248Error):
                mp.parse_root_notify(command)
