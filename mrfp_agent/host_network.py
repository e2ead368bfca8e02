"""What the kernel knows of addresses, links and routes, by netlink; and media addresses put on interfaces."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NETLINK_ROUTE, rtnl
from pyroute2.netlink.exceptions import NetlinkError

from mrfp_agent.namespace import NamespaceSockets
from mrfp_agent.realms import AddressSeen, LocalAddress, NetworkSeen

_GROUPS: Final = rtnl.RTMGRP_LINK | rtnl.RTMGRP_IPV4_IFADDR | rtnl.RTMGRP_IPV6_IFADDR
_UP_AND_RUNNING: Final = 0x1 | 0x40  # IFF_UP, IFF_RUNNING: administratively up, and with carrier
_NO_DUPLICATE_DETECTION: Final = 0x02  # IFA_F_NODAD
_DUPLICATE: Final = 0x08  # IFA_F_DADFAILED
_TENTATIVE: Final = 0x40  # IFA_F_TENTATIVE


@asynccontextmanager
async def _netlink(sockets: NamespaceSockets) -> AsyncIterator[Any]:
    """A netlink connection in a namespace, made without a fork. Raises OSError."""
    opened = sockets.make(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_ROUTE)
    async with AsyncIPRoute(fileno=opened.detach()) as routes:
        yield routes


async def look(sockets: NamespaceSockets) -> NetworkSeen:
    """All addresses and links of a namespace. Raises OSError."""
    links: dict[str, bool] = {}
    names: dict[int, str] = {}
    addresses: dict[str, AddressSeen] = {}
    try:
        async with _netlink(sockets) as routes:
            async for message in await routes.get_links():
                name = names[message["index"]] = message.get_attr("IFLA_IFNAME")
                links[name] = message["flags"] & _UP_AND_RUNNING == _UP_AND_RUNNING
            async for message in await routes.get_addr():
                flags = message.get_attr("IFA_FLAGS") or 0
                seen = AddressSeen(names.get(message["index"], ""), not flags & (_TENTATIVE | _DUPLICATE))
                # IFA_ADDRESS is the far end of a point-to-point link; IFA_LOCAL is ours where there is one
                host = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
                addresses[ipaddress.ip_address(host).compressed] = seen
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error
    return NetworkSeen(addresses, links)


async def changes(sockets: NamespaceSockets) -> AsyncIterator[None]:
    """Yields once when listening has begun and after each batch of changes of links or addresses. Raises OSError."""
    try:
        async with _netlink(sockets) as monitor:
            await monitor.bind(groups=_GROUPS)
            yield
            while True:
                async for _ in monitor.get():  # ends after each batch
                    pass
                yield
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error


async def add_address(sockets: NamespaceSockets, interface: str, address: LocalAddress) -> bool:
    """Put an address on an interface; False when it was there. Raises OSError."""
    flags = {"flags": _NO_DUPLICATE_DETECTION} if ":" in address.host else {}
    try:
        async with _netlink(sockets) as routes:
            index = await _index(routes, interface)
            await routes.addr("add", index=index, address=address.host, prefixlen=address.prefix, **flags)
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            return False
        raise OSError(error.code, str(error)) from error
    return True


async def remove_address(sockets: NamespaceSockets, interface: str, address: LocalAddress) -> None:
    """Take an address from an interface; nothing when it is gone already. Raises OSError."""
    try:
        async with _netlink(sockets) as routes:
            index = await _index(routes, interface)
            await routes.addr("del", index=index, address=address.host, prefixlen=address.prefix)
    except NetlinkError as error:
        if error.code not in (errno.EADDRNOTAVAIL, errno.ENODEV):
            raise OSError(error.code, str(error)) from error


async def has_route(sockets: NamespaceSockets, remote: str, local: str) -> bool:
    """Whether packets from a local address to a remote one have a way out. Raises OSError."""
    try:
        async with _netlink(sockets) as routes:
            await routes.route("get", dst=remote, src=local)
    except NetlinkError as error:
        if error.code in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.ESRCH):
            return False
        raise OSError(error.code, str(error)) from error
    return True


async def _index(routes: Any, interface: str) -> int:
    found = await routes.link_lookup(ifname=interface)
    if not found:
        raise OSError(errno.ENODEV, f"interface {interface} is not there")
    index: int = found[0]
    return index
