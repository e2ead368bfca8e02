"""Options that several commands of `mrf-ue` have, and what they mean as values."""

import argparse
import ssl
from pathlib import Path

from aiosipua import SipDigestAuth, parse_uri

from mrf_ops.config import read_secret
from mrf_protocols.mikey import PSK_IDENTITY_TEMPLATE, PskIdentityForm, kms_user_identity
from mrf_ue.certificate import add_certificate, certificate_account
from mrf_ue.options import KeySettings
from mrf_ue.sip import SipSettings
from mrf_ue.sip_address import DEFAULT_PORTS
from mrf_ue.sip_transport import Address

DEFAULT_KMS_TIMEOUT = 5.0


def add_sip(dial: argparse.ArgumentParser, *, identity: bool = True) -> None:
    """Who we are, and how SIP is spoken. `identity`: whether it has to be given."""
    sip = dial.add_argument_group("SIP")
    sip.add_argument(
        "--identity", required=identity, metavar="SIP-URI", help="who we are, e.g. sip:alice@example"
    )
    sip.add_argument("--display-name", default="", metavar="NAME", help="what others may call us")
    sip.add_argument("--transport", choices=["udp", "tcp", "tls"], help="default: what the URI says, or udp")
    sip.add_argument("--local-address", default="", metavar="A[:PORT]", help="local address for SIP and BFCP")
    sip.add_argument("--tls-ca", type=Path, metavar="FILE", help="authority of the SIP server's certificate")
    sip.add_argument(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="our own certificate (PEM), where the server asks for one",
    )
    sip.add_argument("--tls-key", type=Path, metavar="FILE", help="its key; default: in the same file")
    sip.add_argument("--username", "--user", metavar="NAME", help="for SIP digest authentication")
    sip.add_argument("--password-file", type=Path, metavar="FILE", help="the password for --username")


def add_kms(dial: argparse.ArgumentParser) -> None:
    """The KMS, and our key there."""
    kms = dial.add_argument_group("KMS")
    kms.add_argument(
        "--kms",
        default="",
        metavar="URL",
        help="base URL, e.g. http://127.0.0.1:8088; of several instances a list with commas",
    )
    kms.add_argument("--psk-id", metavar="ID", help="name of our key at the KMS; default: the identity")
    kms.add_argument(
        "--psk-file", type=Path, metavar="FILE", help="our key, in hexadecimal digits; needed for tickets"
    )
    add_certificate(kms)
    kms.add_argument(
        "--kms-identity", metavar="ID", help="the KMS in MIKEY; default: kms.<domain of the identity>"
    )
    kms.add_argument("--kms-ca", type=Path, metavar="FILE", help="authority of an https KMS's certificate")


def add_psk_identity(group: "argparse._ArgumentGroup") -> None:
    """How TLS names the key."""
    group.add_argument(
        "--psk-identity",
        default=PSK_IDENTITY_TEMPLATE,
        metavar="TEMPLATE",
        help="how TLS names the key: {csb_id}, {cs_id}, {ticket} (default %(default)s)",
    )


def transport_of(arguments: argparse.Namespace, uri: str) -> str:
    """The transport that option or URI names. Raises ValueError."""
    parsed = parse_uri(uri)
    transport = arguments.transport or (parsed.params.get("transport") or "udp").lower()
    if parsed.scheme == "sips":
        transport = "tls"
    if transport not in DEFAULT_PORTS:
        raise ValueError(f"transport {transport} is not known")
    return str(transport)


def sip_settings(arguments: argparse.Namespace, transport: str) -> SipSettings:
    """How we speak SIP. Raises ValueError, OSError."""
    login = None
    if arguments.username:
        if arguments.password_file is None:
            raise ValueError("--username needs --password-file")
        login = SipDigestAuth(arguments.username, read_secret(arguments.password_file).reveal().decode())
    return SipSettings(
        identity=arguments.identity,
        transport=transport,
        local=address_of(arguments.local_address, 0),
        login=login,
        tls=tls_context(arguments) if transport == "tls" else None,
        display_name="".join(letter for letter in arguments.display_name if letter.isprintable()),
    )


def tls_context(
    arguments: argparse.Namespace, purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH
) -> ssl.SSLContext:
    """How SIP is spoken over TLS. Where we listen, who calls has to show a certificate of --tls-ca, if that is given.

    Raises ValueError.
    """
    try:
        context = ssl.create_default_context(purpose, cafile=arguments.tls_ca)
    except OSError as error:
        raise ValueError(f"{arguments.tls_ca} cannot be used: {error}") from None
    if arguments.tls_cert is not None:
        try:
            context.load_cert_chain(arguments.tls_cert, arguments.tls_key)
        except OSError as error:
            raise ValueError(f"{arguments.tls_cert} cannot be used: {error}") from None
    if purpose is ssl.Purpose.CLIENT_AUTH and arguments.tls_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def key_settings(arguments: argparse.Namespace) -> KeySettings:
    """Our standing with the KMS. Raises ValueError, OSError, MikeyError."""
    urls = tuple(arguments.kms.split(","))
    if arguments.kms and not all(url.startswith(("http://", "https://")) for url in urls):
        raise ValueError(f"--kms {arguments.kms} is no http or https URL")
    identity = kms_user_identity(arguments.identity)
    certified = certificate_account(arguments)
    if certified is None and arguments.psk_file is None and not getattr(arguments, "unsecured", False):
        raise ValueError("--psk-file, or --kms-cert with --kms-key and --kms-envelope-cert, is needed")
    return KeySettings(
        kms_url=urls,
        psk_id=arguments.psk_id or identity,
        psk=b"" if arguments.psk_file is None else read_secret(arguments.psk_file).reveal_hex(),
        certified=certified,
        psk_identity=PskIdentityForm(arguments.psk_identity),
        kms_identity=arguments.kms_identity or f"kms.{identity.rpartition('@')[2].removeprefix('sip:')}",
        ca_file=arguments.kms_ca,
        kms_timeout=min(arguments.timeout or DEFAULT_KMS_TIMEOUT, DEFAULT_KMS_TIMEOUT),
    )


def address_of(text: str, default_port: int) -> Address:
    """HOST, HOST:PORT, [IPv6]:PORT or a bare IPv6 address. Raises ValueError."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if port and not (port.isdecimal() and int(port) < 65536):
        raise ValueError(f"{text} is not HOST:PORT")
    return host, int(port) if port else default_port
