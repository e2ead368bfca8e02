"""Where SIP messages go: hosts and ports of URIs (RFC 3263 without NAPTR and SRV)."""

import asyncio
import ipaddress
import socket

from aiosipua import parse_uri

from mrf_ue.errors import SipRefused
from mrf_ue.sip_transport import Address

DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}


def uri_address(uri: str, transport: str) -> Address:
    """Host and port that a SIP URI names, with the transport's default port."""
    parsed = parse_uri(uri)
    if not parsed.host:
        raise SipRefused(f"{uri!r} names no host")
    return parsed.host.strip("[]"), parsed.port or DEFAULT_PORTS[transport]


async def resolve(address: Address) -> Address:
    """The numeric address of a host; no NAPTR or SRV records are asked. Raises SipRefused."""
    host, port = address
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return host, port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise SipRefused(f"host {host} is unknown: {error.strerror}") from None
    return str(found[0][4][0]), port


def local_host_towards(remote: Address) -> str:
    """The local address from which packets to `remote` leave. Raises SipRefused."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(remote)
        except OSError as error:
            raise SipRefused(f"no way to {remote[0]}: {error.strerror}") from None
        return str(probe.getsockname()[0])
