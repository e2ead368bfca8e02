"""A real KMS process, and what its users do."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mrf_kms.client import KmsClient, KmsRefused
from mrf_protocols.mikey import (
    DEFAULT_FLAGS,
    SUITE_128,
    ErrorNumber,
    GrantedTicket,
    PolicyFlag,
    Suite,
    TicketRequestExchange,
    TransferInitiator,
    TransferResponder,
)

ALICE, ROOM, KMS = "sip:alice@home.example", "sip:room1@conf.example", "kms.home.example"
READY = re.compile(r"ready: \S+ at (https?://\S+?)/keymanagement")


@dataclass
class Kms:
    """One KMS: its folder, its users' keys, and its process while it runs."""

    folder: Path
    extra: str = ""
    keys: dict[str, bytes] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    def configure(
        self,
        extra_kms: str = "",
        extra_http: str = "",
        store: str = 'file = "kms.sqlite"',
        tables: str = "",
    ) -> None:
        (self.folder / "kms.toml").write_text(
            f'[kms]\nidentity = "{KMS}"\n{extra_kms}\n[http]\nport = 0\n{extra_http}\n'
            f'[store]\n{store}\n[trace]\nfile = "trace.jsonl"\n{tables}\n'
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mrf_kms.cli", *arguments, "--config", str(self.folder / "kms.toml")]

    def run(self, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def add(self, psk_id: str, *identities: str) -> None:
        options = [option for identity in identities for option in ("--identity", identity)]
        self.keys[psk_id] = bytes.fromhex(self.run("user", "add", psk_id, *options, "--generate"))

    def start(self) -> None:
        # Emptied, so that an old ready line is not taken for a new one.
        with (self.folder / "log").open("w") as log:
            process = self.process = subprocess.Popen(self.command("serve"), stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            ready = READY.search(self.log())
            if ready:
                self.url = ready[1]
                return
            time.sleep(0.02)  # waiting for another process, which has no event to give
        pytest.fail(self.log())

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def end(self) -> None:
        """Whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@asynccontextmanager
async def client_of(kms: Kms, ca_file: Path | None = None, timeout: float = 30.0) -> AsyncIterator[KmsClient]:
    client = KmsClient(kms.url, ca_file=ca_file, timeout=timeout)
    try:
        yield client
    finally:
        await client.close()


def request(kms: Kms, suite: Suite = SUITE_128, lifetime: float | None = None) -> TicketRequestExchange:
    return TicketRequestExchange(
        psk=kms.keys["alice-psk"],
        psk_id="alice-psk",
        initiator=ALICE,
        kms=KMS,
        responders=[ROOM],
        csb_id=int.from_bytes(os.urandom(4)),
        rand=os.urandom,
        now=time.time(),
        suite=suite,
        flags=DEFAULT_FLAGS | PolicyFlag.I,
        lifetime=lifetime,
    )


async def ticket_from(kms: Kms, client: KmsClient, suite: Suite = SUITE_128) -> GrantedTicket:
    exchange = request(kms, suite)
    return exchange.response(await client.ticket_request(exchange.request(), "call-1"), time.time())


def resolution(kms: Kms, ticket: GrantedTicket) -> tuple[TransferInitiator, TransferResponder, bytes]:
    offer = TransferInitiator(
        ticket, ALICE, ROOM, csb_id=int.from_bytes(os.urandom(4)), rand=os.urandom, now=time.time()
    )
    responder = TransferResponder(offer.init(), time.time())
    init = responder.resolve_init(
        psk=kms.keys["mrfc-psk"], psk_id="mrfc-psk", identity=ROOM, kms=KMS, rand=os.urandom, now=time.time()
    )
    return offer, responder, init


async def use(kms: Kms, client: KmsClient, ticket: GrantedTicket) -> None:
    """Transfer and resolve a ticket, and check that both ends have the same key."""
    offer, responder, init = resolution(kms, ticket)
    responder.resolved(await client.ticket_resolve(init, "call-1"), time.time())
    answer = responder.respond(os.urandom, time.time())
    assert offer.response(answer.message, time.time()).tek == answer.tek


async def refused(number: ErrorNumber | None, status: int, call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(KmsRefused) as caught:
        await call()
    assert (caught.value.number, caught.value.status) == (number, status)


def server_certificate(folder: Path) -> None:
    """kms.crt and kms.key for HTTPS on loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kms")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "kms.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "kms.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
