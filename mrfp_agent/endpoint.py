"""A termination in the world: the machine, its sockets and its timer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from mrf_protocols.bfcp import BfcpError, Message
from mrfp_agent.network import Connection, Listener, NetworkError, SocketOptions, media_socket
from mrfp_agent.ports import Address
from mrfp_agent.readiness import Readiness
from mrfp_agent.termination import Termination
from mrfp_agent.termination_values import (
    BfcpReceived,
    CandidateDropped,
    ClientHello,
    CloseTcp,
    Connect,
    ConnectionEnded,
    Established,
    EstablishmentFailed,
    Output,
    RemoteEnd,
    SendOctets,
    StartListening,
    StopListening,
    TcpUp,
    TerminationState,
    Transport,
)
from mrfp_agent.timer_wheel import Timer, TimerWheel

_SLICE = 0.005
"""Seconds of one user's messages at a time: all users, and Mp, live in the same loop."""

Event = TcpUp | ClientHello | CandidateDropped | Established | EstablishmentFailed | ConnectionEnded


class EndpointUser(Protocol):
    """Who is told what happens at a termination."""

    def endpoint_event(self, endpoint: Endpoint, event: Event) -> None:
        """A step of the connection's life."""

    def endpoint_received(self, endpoint: Endpoint, content: Message | BfcpError) -> None:
        """A BFCP message has come, or something that should have been one."""


class MediaNetwork:
    """What all endpoints share: the event loop, timers, readiness, sockets, and counts of what is open.

    `options`: of sockets. `bind` gives a socket bound to a local address, or raises NetworkError; by default one of
    this process's network namespace.
    """

    __slots__ = ("bind", "connections", "listeners", "loop", "options", "readiness", "timers")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: SocketOptions,
        bind: Callable[[Address], socket.socket] | None = None,
    ) -> None:
        self.loop = loop
        self.options = options
        self.bind = bind or (lambda local: media_socket(local, options))
        self.timers = TimerWheel(loop)
        self.readiness = Readiness(loop)
        self.listeners = 0
        self.connections = 0

    def close(self) -> None:
        """Watch no socket any more; to be called when all endpoints are released."""
        self.readiness.close()


class Endpoint:
    """Carries out what its `Termination` asks for and reports to it what happens.

    `name` is the TerminationID, `local` the address it listens on and connects from.
    """

    __slots__ = (
        "_connections",
        "_listener",
        "_machine",
        "_network",
        "_postponed",
        "_timer",
        "_user",
        "local",
        "name",
    )

    def __init__(
        self, name: str, local: Address, machine: Termination, network: MediaNetwork, user: EndpointUser
    ) -> None:
        self.name = name
        self.local = local
        self._machine = machine
        self._network = network
        self._user = user
        self._listener: Listener | None = None
        self._connections: dict[int, Connection] = {}
        self._timer: Timer | None = None
        self._postponed = False

    @property
    def state(self) -> TerminationState:
        """State of the termination."""
        return self._machine.state

    @property
    def transport(self) -> Transport:
        """Transport of the BFCP stream."""
        return self._machine.transport

    def reserve(self) -> None:
        """Listen, and hold whoever comes until `configure`. Raises NetworkError."""
        self._carry_out(self._machine.reserve())

    def configure(self, remote: RemoteEnd) -> None:
        """Bring up the connection. Raises NetworkError, ValueError (see `Termination.configure`)."""
        self._carry_out(self._machine.configure(remote, self._network.loop.time()))
        self._work_off()

    def send(self, message: bytes) -> None:
        """Send an encoded message to the peer, as long as there is one."""
        self._carry_out(self._machine.send(message))

    def end(self, reason: str) -> None:
        """Close the established connection; reported as `ConnectionEnded`."""
        self._carry_out(self._machine.end(reason))

    def release(self) -> None:
        """Close everything without a report. Not usable afterwards."""
        self._carry_out(self._machine.release())

    # Reports of the sockets

    def tcp_accepted(self, accepted: socket.socket, peer: Address) -> None:
        """A connection to the local address has come in."""
        number = self._machine.new_connection()
        connection = self._add(number, accepted)
        self._carry_out(self._machine.accepted(number, peer, self._network.loop.time()))
        connection.start_reading()

    def tcp_connected(self, connection: Connection) -> None:
        """An attempt has succeeded."""
        self._carry_out(self._machine.connected(connection.number, self._network.loop.time()))

    def tcp_connect_failed(self, connection: Connection, reason: str) -> None:
        """An attempt has failed."""
        self._remove(connection.number)
        self._carry_out(self._machine.connect_failed(connection.number, self._network.loop.time()))

    def tcp_received(self, connection: Connection, octets: memoryview) -> None:
        """Octets have come."""
        now = self._network.loop.time()
        self._carry_out(self._machine.octets_received(connection.number, octets, now))
        if self._machine.has_more and not self._postponed:
            self._work_off()

    def tcp_lost(self, connection: Connection, reason: str) -> None:
        """A connection is gone."""
        self._remove(connection.number)
        self._carry_out(self._machine.connection_lost(connection.number, reason))

    # Messages that have come together

    def _work_off(self) -> None:
        """One by one, for a slice of time; the rest in the next turn of the loop, and nothing is read before."""
        machine, time = self._machine, self._network.loop.time
        now = time()
        end = now + _SLICE
        while machine.has_more and now < end:
            self._carry_out(machine.proceed(now))
            now = time()
        if machine.has_more:
            self._postpone()

    def _postpone(self) -> None:
        self._postponed = True
        for connection in self._connections.values():  # the established one, there is no other
            connection.stop_reading()
        self._network.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._postponed = False
        self._work_off()
        if not self._postponed:
            for connection in self._connections.values():
                connection.start_reading()

    # Outputs of the machine

    def _carry_out(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case SendOctets():
                    connection = self._connections.get(output.connection)
                    if connection is not None:
                        connection.send(output.octets, output.last)
                case TcpUp() | ClientHello() | Established():
                    self._user.endpoint_event(self, output)
                case BfcpReceived():
                    if self._machine.state is TerminationState.ESTABLISHED:
                        self._user.endpoint_received(self, output.content)
                case CloseTcp():
                    closing = self._connections.get(output.connection)
                    if closing is not None:
                        closing.close()
                        self._remove(output.connection)
                case StopListening():
                    self._stop_listening()
                case Connect():
                    self._connect(output)
                case StartListening():
                    network = self._network
                    self._listener = Listener(network.readiness, self.local, self, network.bind(self.local))
                    network.listeners += 1
                case _:
                    self._user.endpoint_event(self, output)
        if self._timer is not None or self._machine.deadline is not None:
            self._arm()

    def _connect(self, order: Connect) -> None:
        network = self._network
        try:
            made = network.bind(self.local)
        except NetworkError:
            network.loop.call_soon(self._connect_impossible, order.connection)
            return
        self._add(order.connection, made).connect(order.remote)

    def _connect_impossible(self, number: int) -> None:
        self._carry_out(self._machine.connect_failed(number, self._network.loop.time()))

    def _add(self, number: int, made: socket.socket) -> Connection:
        network = self._network
        connection = Connection(network.readiness, number, made, self, network.options)
        self._connections[number] = connection
        network.connections += 1
        return connection

    def _remove(self, number: int) -> None:
        if self._connections.pop(number, None) is not None:
            self._network.connections -= 1

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._network.listeners -= 1

    def _arm(self) -> None:
        """Follow the machine's deadline."""
        self._timer = self._network.timers.follow(self._timer, self._machine.deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self._carry_out(self._machine.tick(self._network.loop.time()))
