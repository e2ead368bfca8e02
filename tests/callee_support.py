"""UEs that are called, and UEs that call without an offer, for system tests."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from system_support import SECONDS, Scene, Ue, until

from lab import CALLEE, KMS_IDENTITY, Lab
from loopback_ports import free_ports
from mrf_protocols import sdp
from mrf_protocols.mikey import Acceptance, TransferResponder
from mrf_protocols.sdp import FloorControlRole, Party, Setup
from mrf_protocols.tls_psk import PskCredentials, TlsPolicy
from mrf_ue.answer import next_call
from mrf_ue.answer_steps import AnswerScript
from mrf_ue.keys import resolve_ticket
from mrf_ue.options import TLS_POLICIES, AnswerOptions, KeySettings, Timeouts
from mrf_ue.sip import SipEndpoint, SipSettings
from mrf_ue.sip_live_call import AnsweringCall


class CalledUe(AnswerScript):
    """One call to a UE that can be told to misbehave."""

    wrong_credentials: PskCredentials | None = None
    edit_response: Callable[[bytes], bytes] = staticmethod(bytes)

    def credentials(self) -> PskCredentials:
        """The right ones, or those of the test."""
        return self.wrong_credentials or super().credentials()

    def transfer_response(self) -> bytes:
        """TRANSFER_RESP, edited."""
        return self.edit_response(super().transfer_response())

    async def prepare(self) -> None:
        """Ring, check the offer, resolve the ticket."""
        await self.ring()
        await self.resolve(self.check_offer())

    async def pick_up(self) -> None:
        """All of it, up to the ACK."""
        await self.prepare()
        await self.accept()
        await self.wait_ack()

    async def hung_up(self) -> None:
        """Wait for the BYE of the MRFC."""
        await asyncio.wait_for(self.call.hung_up.wait(), SECONDS)


class Callee:
    """A UE that waits for calls of the MRFC."""

    def __init__(self, scene: Scene, options: AnswerOptions, endpoint: SipEndpoint) -> None:
        self._scene = scene
        self._options = options
        self._endpoint = endpoint
        self._called: list[CalledUe] = []
        self.call_id = ""

    @classmethod
    @asynccontextmanager
    async def waiting(
        cls,
        scene: Scene,
        *,
        setup: Setup = Setup.ACTIVE,
        tls: TlsPolicy = TLS_POLICIES["any"],
        transport: str = "udp",
        bearer_host: str = "",
        sip: SipSettings | None = None,
        psk_id: str = "bob",
    ) -> AsyncIterator[Callee]:
        """Listen for a call; at the end everything is closed. `sip` says where, if not as usual."""
        options = replace(answer_options(scene.lab, setup, tls, transport), bearer_host=bearer_host)
        options = replace(options, sip=sip or options.sip, keys=replace(options.keys, psk_id=psk_id))
        endpoint = SipEndpoint(options.sip)
        await endpoint.listen()
        callee = cls(scene, options, endpoint)
        try:
            yield callee
        finally:
            for ue in callee._called:
                await ue.close()
            await endpoint.close()

    @staticmethod
    @asynccontextmanager
    async def calling(
        scene: Scene, *, setup: Setup = Setup.ACTIVE, tls: TlsPolicy = TLS_POLICIES["any"]
    ) -> AsyncIterator[LateOfferUe]:
        """A UE that has called without an offer, up to its ACK."""
        plain = await scene.ue(tls=tls)
        ue = LateOfferUe(plain.options)
        ue.choice = setup
        scene.ues.append(ue)
        await ue.open()
        await ue.join_late()
        yield ue

    @property
    def uri(self) -> str:
        """Whom to call."""
        host, port = self._endpoint.end.host, self._endpoint.end.port
        suffix = "" if self._options.sip.transport == "udp" else f";transport={self._options.sip.transport}"
        where = f"[{host}]" if ":" in host else host
        return f"{CALLEE.partition('@')[0]}@{where}:{port}{suffix}"

    async def called(self) -> CalledUe:
        """Ask the MRFC to call, and give the call that comes."""
        coming = self.next_call()
        await self.ask()
        return self.take(await asyncio.wait_for(coming, SECONDS))

    def next_call(self) -> asyncio.Future[AnsweringCall]:
        """The next call that comes, whoever asked for it."""
        return asyncio.ensure_future(next_call(self._endpoint))

    def take(self, call: AnsweringCall) -> CalledUe:
        """A UE for a call that came."""
        ue = CalledUe(self._options, self._endpoint, call)
        self._called.append(ue)
        return ue

    async def ask(self) -> None:
        """Ask the MRFC to call."""
        answer = await asyncio.to_thread(ask_for_call, self._scene.lab, self.uri)
        self.call_id = answer["call_id"]

    async def outcome(self) -> dict[str, Any]:
        """How the dial-out ended."""
        end = time.monotonic() + SECONDS
        while True:
            found = await asyncio.to_thread(ask_operator, self._scene.lab, f"/dial-outs/{self.call_id}")
            if found.get("state") in {"joined", "failed"}:
                return found
            assert time.monotonic() < end, found
            await asyncio.sleep(0.03)


class LateOfferUe(Ue):
    """Calls without an offer, and answers the one that comes in the 200."""

    party = Party.ANSWERER
    choice: Setup = Setup.ACTIVE
    _user_id = 0

    async def join_late(self) -> None:
        """INVITE, 200 with the offer, ACK with the answer."""
        await self.call.invite(b"")
        response = await self.call.wait_answer(SECONDS)
        offer = sdp.parse(response.body)
        self.agreement = sdp.evaluate_offer(
            offer, sdp.AnswerPolicy(role=FloorControlRole.C_ONLY, setup=self.choice)
        )
        peer, message = self.agreement.peer, self.agreement.key_mgmt
        assert message is not None
        assert peer.conference_id is not None
        assert peer.user_id is not None
        self.conference_id, self._user_id = peer.conference_id, peer.user_id
        self.floor_ids = tuple(floor.floor_id for floor in peer.floors)
        transfer = TransferResponder(message.data, time.time(), Acceptance(responders=(self.initiator,)))
        self.keys = await resolve_ticket(
            self.options.keys, transfer, self.initiator, self.call_id, self.tracer
        )
        address = sdp.Address("127.0.0.1", 9)
        if self.agreement.tcp_opener is Party.OFFERER:
            address = sdp.Address(*await self.bearer.listen("127.0.0.1"))
        media = sdp.ClientMedia(address, (sdp.KeyMgmt(sdp.MIKEY, self.keys.message),))
        answer = sdp.answer_bfcp(
            offer, self.agreement, media, sdp.Origin.of("127.0.0.1", secrets.randbits(62))
        )
        self._exchange = sdp.Exchange(answer, offer)
        await self.call.ack(sdp.encode(answer))

    def exchange(self) -> sdp.Exchange:
        """Our answer to their offer."""
        return self._exchange

    def user_id(self) -> int:
        """The one that the offer gave us."""
        return self._user_id

    def bearer_host(self) -> str:
        """Where we are."""
        return "127.0.0.1"


def answer_options(lab: Lab, setup: Setup, tls: TlsPolicy, transport: str) -> AnswerOptions:
    """Bob, on a port of the system's choice."""
    keys = KeySettings(
        f"http://127.0.0.1:{lab.ports.kms}", "bob", bytes.fromhex(lab.callee_psk), KMS_IDENTITY
    )
    return AnswerOptions(
        sip=SipSettings(CALLEE, transport, local=("127.0.0.1", free_ports(1)[0])),
        keys=keys,
        setup=setup,
        tls=tls,
        timeouts=Timeouts().at_most(SECONDS),
    )


def ask_for_call(lab: Lab, uri: str, conference: str = "meeting") -> dict[str, Any]:
    """Ask as an operator over HTTP; gives the answer."""
    return ask_operator(lab, f"/conferences/{conference}/participants", {"uri": uri})


def ask_operator(lab: Lab, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to the MRFC's HTTP port with the operator's token."""
    token = (lab.folder / "operator.token").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{lab.ports.http}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        found = {"status": error.code, **json.load(error)}
    return found


__all__ = ["CalledUe", "Callee", "LateOfferUe", "ask_for_call", "ask_operator", "until"]
