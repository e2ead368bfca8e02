"""Keeps an eye on the addresses of the media realms: netlink on one side, `RealmStates` on the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from mrfp_agent import host_network
from mrfp_agent.namespace import Identity, NamespaceSockets, identity
from mrfp_agent.realms import LocalAddress, NetworkSeen, Realm, RealmStates, ServiceState, trouble

_log = logging.getLogger(__name__)

_SETTLE = 0.02
"""Seconds in which changes that come together are looked at together."""
_LOOK_AGAIN = 5.0
"""Seconds after which the host is looked at unasked: namespaces come and go without a netlink message."""


class MediaWatch:
    """Watches for as long as it is open; `on_change` is told of every address that goes or comes back."""

    def __init__(
        self,
        realms: Sequence[Realm],
        states: RealmStates,
        namespaces: dict[str, NamespaceSockets],
        on_change: Callable[[ServiceState], None],
    ) -> None:
        self._realms = tuple(realms)
        self._states = states
        self._namespaces = namespaces
        self._on_change = on_change
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: dict[str, tuple[asyncio.Task[None], Identity | None]] = {}
        self._added: list[tuple[Realm, LocalAddress]] = []

    async def start(self) -> None:
        """Look once, then whenever something changes."""
        await self._look()
        self._tasks.append(asyncio.create_task(self._run()))

    async def close(self) -> None:
        """Stop, and take away the addresses that were added here."""
        tasks = self._tasks + [task for task, _ in self._listeners.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for realm, address in self._added:
            try:
                await host_network.remove_address(self._namespaces[realm.namespace], realm.interface, address)
            except OSError as error:
                _log.warning("media realm %s: %s stays: %s", realm.name, address.host, error)
        self._added.clear()

    async def unreachable(self) -> list[str]:
        """A sentence for each address that some realm wants to reach and has no route to."""
        sentences: list[str] = []
        for realm in self._realms:
            for remote in realm.reach:
                for host in realm.hosts:
                    if self._states.reason(host) or (":" in host) != (":" in remote):
                        continue
                    if not await host_network.has_route(self._namespaces[realm.namespace], remote, host):
                        sentences.append(f"media realm {realm.name}: no route from {host} to {remote}")
        return sentences

    async def _run(self) -> None:
        while True:
            deadline = self._states.deadline
            now = asyncio.get_running_loop().time()
            pause = _LOOK_AGAIN if deadline is None else min(_LOOK_AGAIN, max(0.0, deadline - now))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
                await asyncio.sleep(_SETTLE)
            self._wanted.clear()
            await self._look()

    async def _look(self) -> None:
        seen: dict[str, NetworkSeen | None] = {}
        for name, sockets in self._namespaces.items():
            self._listen(name)
            try:
                seen[name] = await host_network.look(sockets)
            except OSError as error:
                _log.debug("network namespace %s cannot be looked at: %s", name or "(ours)", error)
                seen[name] = None
        await self._add_missing(seen)
        troubles = {
            host: trouble(realm, host, seen[realm.namespace])
            for realm in self._realms
            for host in realm.hosts
        }
        for change in self._states.observe(troubles, asyncio.get_running_loop().time()):
            self._on_change(change)

    async def _add_missing(self, seen: dict[str, NetworkSeen | None]) -> None:
        for realm in self._realms:
            there = seen[realm.namespace]
            if not realm.add_addresses or there is None or not there.links.get(realm.interface):
                continue
            for address in realm.addresses:
                if address.host in there.addresses:
                    continue
                try:
                    added = await host_network.add_address(
                        self._namespaces[realm.namespace], realm.interface, address
                    )
                except OSError as error:
                    _log.warning(
                        "media realm %s: cannot add %s to %s: %s",
                        realm.name,
                        address.host,
                        realm.interface,
                        error,
                    )
                    continue
                self._wanted.set()  # to see it
                if added and (realm, address) not in self._added:
                    self._added.append((realm, address))
                    _log.info("media realm %s: added %s to %s", realm.name, address.host, realm.interface)

    def _listen(self, name: str) -> None:
        """Have one listener per namespace, in the namespace that has the name now."""
        current = identity(name) if name else None
        task, known = self._listeners.get(name, (None, None))
        if task is not None and not task.done() and known == current:
            return
        if task is not None:
            task.cancel()
        self._listeners[name] = asyncio.create_task(self._forward(name)), current

    async def _forward(self, name: str) -> None:
        try:
            async for _ in host_network.changes(self._namespaces[name]):
                self._wanted.set()
        except OSError as error:  # the namespace is not there, or more changes than the socket holds
            _log.debug("no news from network namespace %s: %s", name or "(ours)", error)
