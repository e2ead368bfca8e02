"""The media realms of a running MRFP: sockets in the right place, and addresses in and out of service."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import replace

from mrf_ops.metrics import Metrics
from mrfp_agent import host_network
from mrfp_agent.config import Media
from mrfp_agent.media_watch import MediaWatch
from mrfp_agent.namespace import NamespaceSockets
from mrfp_agent.network import SocketOptions, media_socket
from mrfp_agent.ports import Address, MediaPorts
from mrfp_agent.realms import NetworkSeen, Realm, RealmStates, ServiceState, trouble

_log = logging.getLogger(__name__)


class MediaRealms:
    """All realms of the configuration.

    `start` looks at the host and goes on doing so until `close`. `on_service(available)` is told when the last
    address goes out of service (False) and when the first one comes back (True).
    """

    def __init__(self, media: Media, on_service: Callable[[bool], None], metrics: Metrics) -> None:
        self._realms = media.realms()
        self._states = RealmStates(self._realms, media.restore_after)
        self._namespaces = {name: NamespaceSockets(name) for name in {r.namespace for r in self._realms}}
        self._places: dict[str, tuple[SocketOptions, NamespaceSockets, str]] = {
            host: (media.socket_options(realm.dscp), self._namespaces[realm.namespace], realm.vrf)
            for realm in self._realms
            for host in realm.hosts
        }
        self._on_service = on_service
        self._available = True
        self.ports = MediaPorts(media.ranges(), media.quarantine)
        self._watch = MediaWatch(self._realms, self._states, self._namespaces, self._changed)
        up = metrics.gauge("realm_in_service", "1 while a media realm has a usable address", ["realm"])
        left = metrics.gauge("ports_left", "Ports not given to terminations", ["realm"])
        self._changes = metrics.counter(
            "realm_changes", "Addresses that went out of service or came back", ["realm", "state"]
        )
        for realm in self._realms:
            up.labels(realm.name).set_function(_truth(self._states.in_service, realm))
            left.labels(realm.name).set_function(_amount(self.ports.left, realm.name))
            for state in ("in", "out"):
                self._changes.labels(realm.name, state)

    @property
    def available(self) -> bool:
        """Whether new terminations find an address."""
        return self._available

    async def start(self) -> list[str]:
        """Watch from now on. Gives a sentence for each wanted route that is not there. Raises OSError."""
        await self._watch.start()
        return await self._watch.unreachable()

    async def close(self) -> None:
        """Stop watching, remove the addresses that were added, and leave other namespaces."""
        await self._watch.close()
        for sockets in self._namespaces.values():
            sockets.close()

    def bind(self, local: Address) -> socket.socket:
        """A socket on one of the addresses, where its realm is. Raises NetworkError."""
        options, sockets, device = self._places[local.host]
        return media_socket(local, options, sockets.tcp, device)

    def status(self) -> list[dict[str, object]]:
        """Each realm with its addresses and what is wrong with them."""
        return [
            {
                "realm": realm.name,
                "in_service": self._states.in_service(realm),
                "namespace": realm.namespace,
                "ports_left": self.ports.left(realm.name),
                "addresses": {host: self._states.reason(host) or "in service" for host in realm.hosts},
            }
            for realm in self._realms
        ]

    def _changed(self, change: ServiceState) -> None:
        self.ports.set_in_service(change.host, change.in_service)
        self._changes.labels(change.realm, "in" if change.in_service else "out").inc()
        if change.in_service:
            _log.info("media realm %s: %s is in service", change.realm, change.host)
        else:
            _log.error("media realm %s: %s is out of service: %s", change.realm, change.host, change.reason)
        # told after all changes that were seen together, so that one of several addresses does not count as the last
        asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        available = self._states.any_in_service()
        if available != self._available:
            self._available = available
            self._on_service(available)


def _truth(ask: Callable[[Realm], bool], realm: Realm) -> Callable[[], float]:
    return lambda: float(ask(realm))


def _amount(ask: Callable[[str], int], realm: str) -> Callable[[], float]:
    return lambda: float(ask(realm))


async def lasting_troubles(media: Media) -> list[str]:
    """What no plugged-in cable would mend: addresses, interfaces and namespaces that are not there.

    Changes nothing. Addresses that the MRFP adds itself need not be there. Raises OSError.
    """
    sentences: list[str] = []
    for realm in media.realms():
        seen: NetworkSeen | None
        sockets = NamespaceSockets(realm.namespace)
        try:
            found = await host_network.look(sockets)
            seen = replace(found, links=dict.fromkeys(found.links, True))
        except FileNotFoundError:
            seen = None
        finally:
            sockets.close()
        if realm.add_addresses and seen is not None and realm.interface in seen.links:
            continue
        sentences += [text for text in (trouble(realm, host, seen) for host in realm.hosts) if text]
    return list(dict.fromkeys(sentences))
