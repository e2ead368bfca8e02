"""Participants to be called, as fast as one process can play them: UDP, one answer for each INVITE, BYE after the ACK.

Started by dial_outs.py: `callees.py KMS-URL PSK-HEX PORT`. Each INVITE is answered as UE-B answers it, its ticket
resolved at the KMS; TCP is not opened, since the SIP and Mp side is what is measured.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from typing import cast

from lab import CALLEE, KMS_IDENTITY
from mrf_kms.client import KmsClient
from mrf_protocols import mikey, sdp
from mrf_protocols.sdp import FloorControlRole, Setup

POLICY = sdp.AnswerPolicy(role=FloorControlRole.C_ONLY, setup=Setup.ACTIVE)


class Callees(asyncio.DatagramProtocol):
    """All participants on one port."""

    def __init__(self, kms: KmsClient, psk: bytes) -> None:
        self._kms = kms
        self._psk = psk
        self._transport: asyncio.DatagramTransport
        self._seen: dict[str, bytes] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        text = data.decode()
        method = text.partition(" ")[0]
        if method == "INVITE":
            task = asyncio.get_running_loop().create_task(self._answer(text, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif method == "ACK":
            self._leave(text, address)

    async def _answer(self, invite: str, address: tuple[str, int]) -> None:
        call_id = header(invite, "Call-ID")
        if call_id in self._seen:  # a retransmission
            if self._seen[call_id]:
                self._transport.sendto(self._seen[call_id], address)
            return
        self._seen[call_id] = b""
        body = await self._session(invite.partition("\r\n\r\n")[2])
        host, port = self._transport.get_extra_info("sockname")
        head = [f"{name}: {header(invite, name)}" for name in ("Via", "From", "Call-ID", "CSeq")]
        head.append(f"To: {header(invite, 'To')};tag={secrets.token_hex(4)}")
        head.append(f"Contact: <sip:bob@{host}:{port}>")
        head += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        self._seen[call_id] = ("SIP/2.0 200 OK\r\n" + "\r\n".join(head) + "\r\n\r\n" + body).encode()
        self._transport.sendto(self._seen[call_id], address)

    async def _session(self, body: str) -> str:
        offer = sdp.parse(body)
        agreed = sdp.evaluate_offer(offer, POLICY)
        assert agreed.key_mgmt is not None
        transfer = mikey.TransferResponder(agreed.key_mgmt.data, time.time())
        request = transfer.resolve_init(
            psk=self._psk,
            psk_id="bob",
            identity=mikey.kms_user_identity(CALLEE),
            kms=KMS_IDENTITY,
            rand=os.urandom,
            now=time.time(),
        )
        transfer.resolved(await self._kms.ticket_resolve(request, "bench"), time.time())
        message = transfer.respond(os.urandom, time.time()).message
        media = sdp.ClientMedia(sdp.Address("127.0.0.1", 9), (sdp.KeyMgmt(sdp.MIKEY, message),))
        return sdp.serialize(sdp.answer_bfcp(offer, agreed, media, sdp.Origin.of("127.0.0.1", 1)))

    def _leave(self, ack: str, address: tuple[str, int]) -> None:
        host, port = self._transport.get_extra_info("sockname")
        bye = [
            f"BYE sip:meeting@{address[0]}:{address[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(6)}",
            "Max-Forwards: 70",
            f"From: {header(ack, 'To')}",
            f"To: {header(ack, 'From')}",
            f"Call-ID: {header(ack, 'Call-ID')}",
            "CSeq: 1 BYE",
            "Content-Length: 0",
        ]
        self._transport.sendto(("\r\n".join(bye) + "\r\n\r\n").encode(), address)


def header(message: str, name: str) -> str:
    """The first header of that name, as Kamailio writes it."""
    start = message.index(f"\r\n{name}: ") + len(name) + 4
    return message[start : message.index("\r\n", start)]


async def main(kms: str, psk: str, port: str) -> None:
    """Play until the process is ended."""
    client = KmsClient(kms)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(
        lambda: Callees(client, bytes.fromhex(psk)), local_addr=("127.0.0.1", int(port))
    )
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
