"""A laboratory with every kind of trunk on loopback, and certificates of an authority that was made for it."""

from __future__ import annotations

import re
import ssl
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

from certificates import Certified, certify
from system_support import settings

from lab import CALLER, DOMAIN, Lab, Settings, free_ports
from mrf_ue.sip import SipSettings
from mrfc.trunks.digest import Algorithm, ha1

HOME, PBX, STRANGER, BUSY, CARRIER = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
"""Sources, each of another kind."""
EDGE = "192.0.2.1"
"""How the MRFC is called from outside, over UDP on IPv4."""
CALLEE6 = "sip:bob@[::1]"
OUTSIDE = "sip:bob@carrier.example"
"""Whom we call through the carrier."""
FAR = "sip:bob@far.example"
"""Whom we call through a carrier over TLS."""
PASSWORD = "long way home"
OUR_PASSWORD = "way out"


@dataclass(frozen=True)
class Files:
    """An authority, and certificates with their keys."""

    folder: Path
    authority: Certified

    def write(self, name: str, held: Certified) -> tuple[Path, Path]:
        """A certificate and its key as files."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(held.pem)
        key.touch(mode=0o600)
        key.write_bytes(held.key_pem)
        return certificate, key

    def issue(
        self, name: str, number: int, *, uris: tuple[str, ...] = (), hosts: tuple[str, ...] = ()
    ) -> tuple[Path, Path]:
        """A certificate of our authority."""
        now = time.time()
        return self.write(name, certify(name, number, uris=uris, hosts=hosts, issuer=self.authority, now=now))

    def client(self, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
        """How somebody connects who trusts our authority."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    def server(self, certificate: tuple[Path, Path]) -> ssl.SSLContext:
        """How somebody listens who wants to see a certificate of our authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.folder / "ca.pem")
        context.load_cert_chain(*certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_files(folder: Path) -> Files:
    """An authority of its own, whose name and key tell it from others."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 100 + len(folder.name)
    files = Files(folder, certify(f"authority {folder.name}", number, authority=True, now=time.time()))
    files.write("ca", files.authority)
    return files


class TrunkLab(Lab):
    """UDP, TCP and TLS on both address families, and a trunk of each kind."""

    def __init__(self, folder: Path) -> None:
        self.files = make_files(folder / "tls")
        self.server_certificate = self.files.issue(
            "mrfc", 1, uris=(f"sip:{DOMAIN}",), hosts=("127.0.0.1", "::1")
        )
        self.carrier_certificate = self.files.issue(
            "carrier", 2, uris=("sip:carrier.example",), hosts=("127.0.0.1", "::1")
        )
        self.other_certificate = self.files.issue("other", 3, uris=("sip:other.example",))
        self.far_certificate = self.files.issue("far", 4, uris=("sip:far.example",))
        stranger = make_files(folder / "elsewhere")
        self.unknown_certificate = stranger.issue("carrier", 2, uris=("sip:carrier.example",))
        self.tls_port, self.carrier_port, self.far_port = free_ports(3)
        super().__init__(folder, self._settings())

    def _settings(self) -> Settings:
        chosen = settings(
            dial_out={"ring_timeout": 10.0},
            guard={"rate": 400, "flood": 1000, "max_message": 60_000, "max_body": 30_000},
        )
        chosen.mrfc["trunk"] = [
            {"name": "home", "networks": [f"{HOME}/32", "::1/128"], "transports": ["udp", "tcp"]},
            {"name": "pbx", "networks": [f"{PBX}/32"], "users_file": "pbx.users"},
            {"name": "busy", "networks": [f"{BUSY}/32"], "rate": 2, "flood": 20},
            {
                "name": "carrier",
                "transports": ["tls"],
                "subjects": ["sip:carrier.example"],
                "callees": ["sip:*@carrier.example"],
                "next_hop": f"sip:{CARRIER}:{self.carrier_port}",
                "username": "mrfc",
                "password_file": "carrier.password",
            },
            {
                "name": "far",
                "transports": ["tls"],
                "subjects": ["sip:far.example"],
                "callees": ["sip:*@far.example"],
                "next_hop": f"sip:{CARRIER}:{self.far_port};transport=tls",
            },
        ]
        chosen.mrfp["media"] = {**chosen.mrfp["media"], "ipv4": "127.0.0.1", "ipv6": "::1"}
        certificate, key = self.server_certificate
        chosen.defines = {
            "MRFC_LISTEN_TLS": f"tls:127.0.0.1:{self.tls_port}",
            "MRFC_LISTEN_TLS6": f"tls:[::1]:{self.tls_port}",
            "MRFC_TLS_CERTIFICATE": f'"{certificate}"',
            "MRFC_TLS_KEY": f'"{key}"',
            "MRFC_TLS_CA": f'"{self.files.folder / "ca.pem"}"',
            "MRFC_TLS_REQUIRE": "0",
            "MRFC_TCP_CONNECTIONS": "300",
        }
        return chosen

    def _write_configuration(self) -> None:
        sip, tls = self.ports.sip, self.tls_port
        self.settings.mrfc["sip"]["contact"] = f"{EDGE}:{sip}"
        self.settings.mrfc["sip"]["contacts"] = {
            "tcp": f"127.0.0.1:{sip}",
            "udp6": f"[::1]:{sip}",
            "tcp6": f"[::1]:{sip}",
            "tls": f"127.0.0.1:{tls}",
            "tls6": f"[::1]:{tls}",
        }
        self.settings.defines |= {
            "MRFC_LISTEN_UDP": f"udp:127.0.0.1:{sip} advertise {EDGE}:{sip}",
            "MRFC_LISTEN_UDP6": f"udp:[::1]:{sip}",
            "MRFC_LISTEN_TCP6": f"tcp:[::1]:{sip}",
        }
        known = {each: ha1(each, "pbx", DOMAIN, PASSWORD) for each in Algorithm}
        self._secret("pbx.users", "\n".join(f"pbx:{DOMAIN}:{value}" for value in known.values()))
        self._secret("carrier.password", OUR_PASSWORD)
        super()._write_configuration()
        self.provision("bob6", CALLEE6, self.folder / "bob.psk")
        self.provision("bob-outside", OUTSIDE, self.folder / "bob.psk")
        self.provision("bob-far", FAR, self.folder / "bob.psk")

    def sip(self, transport: str, *, ipv6: bool = False, host: str = "") -> SipSettings:
        """How a UE that has the carrier's certificate speaks SIP with the MRFC."""
        own = host or ("::1" if ipv6 else "127.0.0.1")
        server = "::1" if ipv6 else "127.0.0.1"
        port = self.tls_port if transport == "tls" else self.ports.sip
        plain = SipSettings(CALLER, transport, proxy=(server, port), local=(own, 0))
        if transport != "tls":
            return plain
        return replace(
            plain,
            tls=self.files.client(self.carrier_certificate),
            tls_server=None,
        )

    def counted(self, trunk: str, result: str) -> int:
        """The metric mrfc_trunk_requests_total."""
        found = self._metric(rf'mrfc_trunk_requests_total{{result="{result}",trunk="{trunk}"}}')
        assert found is not None, f"{trunk} {result}"
        return found

    def impostors(self, trunk: str) -> int:
        """The metric mrfc_impostors_total."""
        return self._metric(rf'mrfc_impostors_total{{trunk="{trunk}"}}') or 0

    def _metric(self, name: str) -> int | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports.http}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{name} (\d+)", text, re.MULTILINE)
        return None if found is None else int(found[1])
