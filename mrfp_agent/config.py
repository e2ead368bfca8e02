"""Configuration of the MRFP: the tables of configs/mrfp.toml."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from mrf_ops import config, lines
from mrf_ops.config import Count, Port, PortOrAny, Seconds
from mrf_ops.logs import Form, Level
from mrf_protocols.h248.values import DeviceName
from mrf_protocols.tls_psk import TlsPolicy
from mrfp_agent.gateway import GatewaySettings
from mrfp_agent.mp_settings import MpSettings, MrfcAddress
from mrfp_agent.network import SocketOptions
from mrfp_agent.ports import Address, PortRange, make_address
from mrfp_agent.realms import LocalAddress, Network, Realm
from mrfp_agent.termination_values import TerminationTimers

Hosts = str | list[str]
Device = Annotated[str, msgspec.Meta(pattern=r"^[^/\s]{0,15}$")]
Dscp = Annotated[int, msgspec.Meta(ge=0, le=63)]


class Mp(msgspec.Struct, forbid_unknown_fields=True):
    """Where the MRFCs are, and what to do without them."""

    mrfcs: list[str]
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")] = "mrfp"
    timeout: Seconds = 3.0
    silence: Seconds = 60.0
    retry: Seconds = 0.5
    longest_retry: Seconds = 30.0
    release_without_mrfc: bool = True
    loss_grace: Seconds = 60.0
    stop_grace: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None
    allow_cleartext: bool = False

    def __post_init__(self) -> None:
        if not self.mrfcs:
            raise ValueError("mrfcs needs at least one host:port")
        for host, _, transport in self.addresses():
            if transport is lines.Transport.TLS:
                if self.tls() is None:
                    raise ValueError("an MRFC by tls needs certificate, key and authority")
            elif not (self.allow_cleartext or lines.is_loopback(host)):
                raise ValueError(
                    f"Mp with {host} over {transport} would carry keys in clear text: "
                    "use tls, or set allow_cleartext = true"
                )

    def addresses(self) -> tuple[MrfcAddress, ...]:
        """Addresses of the MRFCs, most wanted first."""
        return tuple(map(_mrfc, self.mrfcs))

    def tls(self) -> lines.TlsFiles | None:
        """Our certificate, where TLS is used."""
        if self.certificate is None or self.key is None or self.authority is None:
            return None
        return lines.TlsFiles(self.certificate, self.key, self.authority)

    def settings(self) -> MpSettings:
        """The same for the Mp side."""
        return MpSettings(
            mrfcs=self.addresses(),
            mid=DeviceName(self.name),
            timeout=self.timeout,
            silence=self.silence,
            first_pause=self.retry,
            longest_pause=self.longest_retry,
            tls=self.tls(),
            allow_cleartext=self.allow_cleartext,
        )


class MediaRealm(msgspec.Struct, forbid_unknown_fields=True):
    """Addresses that users of one network reach."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    ports: list[Port]
    ipv4: Hosts = msgspec.field(default_factory=list)
    ipv6: Hosts = msgspec.field(default_factory=list)
    interface: Device = ""
    vrf: Device = ""
    namespace: Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9_.-]{0,254})?$")] = ""
    dscp: Dscp | None = None
    peers: list[str] = msgspec.field(default_factory=list)
    reach: list[str] = msgspec.field(default_factory=list)
    add_addresses: bool = False

    def __post_init__(self) -> None:
        if self.add_addresses and not self.interface:
            raise ValueError("add_addresses needs the interface that the addresses are added to")
        self.realm()

    def realm(self) -> Realm:
        """The same as a value. Raises ValueError."""
        return Realm(
            name=self.name,
            addresses=_local_addresses(self.ipv4, self.ipv6),
            ports=_ports(self.ports),
            interface=self.interface,
            vrf=self.vrf,
            namespace=self.namespace,
            dscp=self.dscp,
            peers=tuple(_network(text) for text in self.peers),
            add_addresses=self.add_addresses,
            reach=tuple(_host(text) for text in self.reach),
        )


class Media(msgspec.Struct, forbid_unknown_fields=True):
    """Local addresses and ports of the users' connections."""

    ports: list[Port] = msgspec.field(default_factory=list)
    ipv4: Hosts = msgspec.field(default_factory=list)
    ipv6: Hosts = msgspec.field(default_factory=list)
    realm: list[MediaRealm] = msgspec.field(default_factory=list)
    quarantine: Annotated[float, msgspec.Meta(ge=0)] = 60.0
    check_addresses: bool = True
    restore_after: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    dscp: Dscp = 0
    keepalive: Count = 60
    user_timeout: Seconds = 30.0
    send_limit: Count = 65536

    def __post_init__(self) -> None:
        if self.ipv4 or self.ipv6 or self.ports or not self.realm:
            _ports(self.ports)
            _local_addresses(self.ipv4, self.ipv6)
        realms = self.realms()
        config.refuse_doubles("realm name", [realm.name for realm in realms])
        config.refuse_doubles("address", [host for realm in realms for host in realm.hosts])

    def realms(self) -> tuple[Realm, ...]:
        """All realms; the addresses outside of any [[media.realm]] are the realm "default"."""
        named = tuple(realm.realm() for realm in self.realm)
        if not (self.ipv4 or self.ipv6):
            return named
        return (Realm("default", _local_addresses(self.ipv4, self.ipv6), _ports(self.ports)), *named)

    def hosts(self) -> tuple[str, ...]:
        """All local addresses."""
        return tuple(host for realm in self.realms() for host in realm.hosts)

    def ranges(self) -> list[PortRange]:
        """The port range on each address."""
        return [ports for realm in self.realms() for ports in realm.ranges()]

    def socket_options(self, dscp: int | None = None) -> SocketOptions:
        """Options of every media connection, of a realm that has its own DSCP or of the others."""
        return SocketOptions(
            self.dscp if dscp is None else dscp, self.keepalive, self.user_timeout, self.send_limit
        )


class Terminations(msgspec.Struct, forbid_unknown_fields=True):
    """How long a termination waits for what; see `TerminationTimers`."""

    tcp_connect: Seconds = 30.0
    tcp_retry: Seconds = 0.5
    client_hello: Seconds = 30.0
    handshake: Seconds = 10.0
    message: Seconds = 10.0
    candidates: Count = 8

    def timers(self) -> TerminationTimers:
        """The times, for the machine."""
        return TerminationTimers(
            self.tcp_connect, self.tcp_retry, self.client_hello, self.handshake, self.message
        )


class Tls(msgspec.Struct, forbid_unknown_fields=True):
    """What TLS-PSK sessions may negotiate; see `TlsPolicy` and `PskCredentials`."""

    tls13: bool = True
    ecdhe_psk: bool = True
    plain_psk: bool = True
    accept_any_identity: bool = False

    def __post_init__(self) -> None:
        if not (self.tls13 or self.ecdhe_psk or self.plain_psk):
            raise ValueError("with tls13, ecdhe_psk and plain_psk all false nothing is left to negotiate")

    def policy(self) -> TlsPolicy:
        """Versions and key exchanges allowed."""
        return TlsPolicy(self.tls13, self.ecdhe_psk, self.plain_psk)


class Bfcp(msgspec.Struct, forbid_unknown_fields=True):
    """BFCP connections of users."""

    unsecured: Literal["refuse", "allow"] = "refuse"


class FloorControl(msgspec.Struct, forbid_unknown_fields=True):
    """Floor control server."""

    grace: Seconds = 60.0
    confirm_timeout: Seconds = 10.0


class Limits(msgspec.Struct, forbid_unknown_fields=True):
    """More than this is refused."""

    contexts: Count = 10_000
    terminations: Count = 10_000


class Http(msgspec.Struct, forbid_unknown_fields=True):
    """Where /metrics, /health and /status are answered."""

    host: str = "127.0.0.1"
    port: PortOrAny = 9464


class Log(msgspec.Struct, forbid_unknown_fields=True):
    """Log lines, on standard error."""

    level: Level = "info"
    form: Form = "text"


class Trace(msgspec.Struct, forbid_unknown_fields=True):
    """Trace events for ladder diagrams."""

    file: Path | None = None
    peer: str = "UE"


class MrfpConfig(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    mp: Mp
    media: Media
    termination: Terminations = msgspec.field(default_factory=Terminations)
    tls: Tls = msgspec.field(default_factory=Tls)
    bfcp: Bfcp = msgspec.field(default_factory=Bfcp)
    floor_control: FloorControl = msgspec.field(default_factory=FloorControl)
    limits: Limits = msgspec.field(default_factory=Limits)
    http: Http = msgspec.field(default_factory=Http)
    log: Log = msgspec.field(default_factory=Log)
    trace: Trace = msgspec.field(default_factory=Trace)

    def gateway_settings(self) -> GatewaySettings:
        """What the media gateway needs of it."""
        return GatewaySettings(
            timers=self.termination.timers(),
            maximum_candidates=self.termination.candidates,
            accept_any_identity=self.tls.accept_any_identity,
            allow_unsecured=self.bfcp.unsecured == "allow",
            floor_grace=self.floor_control.grace,
            confirm_timeout=self.floor_control.confirm_timeout,
            maximum_terminations=self.limits.terminations,
            maximum_contexts=self.limits.contexts,
            peer_name=self.trace.peer,
        )


def load(path: Path | str) -> MrfpConfig:
    """Read the file. Raises mrf_ops.config.ConfigError with all its faults."""
    return config.load(path, MrfpConfig)


def _listed(hosts: Hosts) -> tuple[str, ...]:
    if isinstance(hosts, str):
        return (hosts,) if hosts else ()
    return tuple(hosts)


def _ports(ports: list[int]) -> tuple[int, int]:
    if len(ports) != 2 or ports[0] > ports[1]:
        raise ValueError("ports needs two numbers: the first and the last port")
    return ports[0], ports[1]


def _local_addresses(ipv4: Hosts, ipv6: Hosts) -> tuple[LocalAddress, ...]:
    """Addresses of both versions, each with or without a prefix length ("192.0.2.1/24"). Raises ValueError."""
    addresses = []
    for version, hosts in ((4, _listed(ipv4)), (6, _listed(ipv6))):
        for text in hosts:
            try:
                found = ipaddress.ip_interface(text)
            except ValueError:
                raise ValueError(f'"{text}" is no IP address') from None
            if found.version != version:
                raise ValueError("ipv4 holds IPv4 addresses, ipv6 holds IPv6 addresses")
            addresses.append(LocalAddress(found.ip.compressed, found.network.prefixlen))
    if not addresses:
        raise ValueError("ipv4 or ipv6 needs an address")
    return tuple(addresses)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f'"{text}" is no network: {error}') from None


def _host(text: str) -> str:
    try:
        return make_address(text, 0).host
    except ValueError:
        raise ValueError(f'"{text}" is no IP address') from None


def _mrfc(text: str) -> MrfcAddress:
    """ "host:port" by TCP, or the transport before it: "tls:mrfc.example:2944"."""
    transport, colon, rest = text.partition(":")
    if colon and ":" in rest and transport in set(lines.Transport):
        return MrfcAddress(*_host_and_port(rest), lines.Transport(transport))
    return MrfcAddress(*_host_and_port(text))


def _host_and_port(text: str) -> Address:
    """ "192.0.2.1:2944", "[2001:db8::1]:2944" or "mrfc.example:2944"; a name is resolved when it is used."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'"{text}" is not host:port')
    return Address(host.removeprefix("[").removesuffix("]"), int(port))
