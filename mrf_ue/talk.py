"""The steps that callers and called ends share: TCP, TLS, floor, once the answer has settled who does what."""

from typing import Any, Protocol

from mrf_ops.trace import Tracer
from mrf_protocols.mikey import CsbSession, TransferResult
from mrf_protocols.sdp import Agreement, Exchange, Party, Setup
from mrf_protocols.tls_psk import PskCredentials, TlsPolicy, TlsRole, make_context
from mrf_ue.accepted import Accepted
from mrf_ue.bearer import Bearer, Connection, address_text
from mrf_ue.console import Console, ConsoleOptions
from mrf_ue.floor_session import FloorSession
from mrf_ue.options import KeySettings, Timeouts
from mrf_ue.renewal import Renewals, Standing
from mrf_ue.show import Show, quiet
from mrf_ue.sip import SipEndpoint
from mrf_ue.sip_live_call import LiveCall


class TalkOptions(Protocol):
    """What the shared steps need to know; the fields are those of DialInOptions."""

    @property
    def keys(self) -> KeySettings:
        """Account at the KMS, suite, and how the key is called in TLS."""

    @property
    def setup(self) -> Setup:
        """What our offers say of who opens TCP."""

    @property
    def bearer_host(self) -> str:
        """Our address for BFCP; empty: that of SIP."""

    @property
    def tls(self) -> TlsPolicy:
        """TLS versions and suites."""

    @property
    def floors(self) -> tuple[int, ...]:
        """Floors to ask for; empty: the first of the conference."""

    @property
    def hold(self) -> float:
        """Seconds to keep the floor."""

    @property
    def console(self) -> ConsoleOptions | None:
        """Floor control by hand or by script; None: ask, hold and release once."""

    @property
    def reconnect(self) -> bool:
        """Whether to come back when the connection is lost."""

    @property
    def timeouts(self) -> Timeouts:
        """Seconds for each step."""


class TalkSteps:
    """One BFCP connection, step by step. Every step raises UeError when it fails.

    A subclass settles `party`, `endpoint`, `call`, `own` and `peer` (KMS user identities), `keys` unless there is no
    TLS, `agreement`, `conference_id`, `floor_ids` and `user_id`.
    """

    party: Party
    endpoint: SipEndpoint
    call: LiveCall[Any]
    keys: TransferResult
    agreement: Agreement
    conference_id: int
    floor_ids: tuple[int, ...]
    bearer: Bearer
    connection: Connection
    floor: FloorSession
    renewals: Renewals

    def __init__(self, talk_options: TalkOptions, tracer: Tracer, show: Show) -> None:
        self.tracer = tracer
        self.show = show
        self._talk = talk_options
        self.accepted = Accepted()

    @property
    def own(self) -> str:
        """Our KMS user identity."""
        raise NotImplementedError

    @property
    def peer(self) -> str:
        """The far end's."""
        raise NotImplementedError

    def credentials(self) -> PskCredentials:
        """PSK and its identity; to override in order to use wrong ones."""
        return PskCredentials(self.keys.psk_identity, self.keys.tek)

    def user_id(self) -> int:
        """The BFCP User ID to use; to override in order to use somebody else's."""
        raise NotImplementedError

    def bearer_host(self) -> str:
        """Our address for BFCP: that of SIP unless the options say otherwise."""
        return self._talk.bearer_host or self.endpoint.end.host

    async def connect(self) -> None:
        """TCP, opened by whom the answer says; it may have been there since before the answer."""
        peer, seconds = self.agreement.peer.address, self._talk.timeouts.connect
        if self.agreement.tcp_opener is self.party:
            self.connection = await self.bearer.connect((peer.host, peer.port), self.bearer_host(), seconds)
            self.show("TCP", f"connected to {address_text(self.connection.remote)}")
        else:
            self.connection = await self.bearer.accepted(peer.host, seconds)
            self.show("TCP", f"connection from {address_text(self.connection.remote)}")

    async def secure(self) -> None:
        """TLS: the offerer is the client, whoever opened TCP (RFC 4583 8). Nothing to do for TCP/BFCP."""
        if not self.agreement.peer.proto.secured:
            self.connection.go_without_tls()
            self.show("TLS", "none: BFCP is open to all on the way")
            self._begin()
            return
        role = TlsRole.CLIENT if self.agreement.tls_client is self.party else TlsRole.SERVER
        credentials = self.credentials()
        context = make_context(role, self._talk.tls)
        seconds = self._talk.timeouts.tls
        version, cipher = await self.connection.secure(context, role, credentials, seconds)
        self.show("TLS", f"{version} {cipher}, as {role.value}, PSK identity {credentials.identity}")
        self._begin()

    def _begin(self) -> None:
        """Floor control begins, and from now on the connection may be replaced."""
        self.floor = FloorSession(self.connection, self.conference_id, self.user_id(), self.show)
        self.renewals = Renewals(self.standing(), self.exchange(), self._moved, self.floor.rest)
        self.renewals.session = self.session
        self.floor.renew, self.floor.update = self.renewals.renew, self.renewals.update
        if self._talk.reconnect:
            self.floor.recover = self.renewals.recover

    def _moved(self, connection: Connection) -> None:
        self.connection = connection
        self.floor.move(connection)

    def standing(self) -> Standing:
        """What the call has settled, for changes of its connection."""
        options = self._talk
        return Standing(
            call=self.call,
            tracer=self.tracer,
            show=self.show,
            keys=options.keys,
            accepted=self.accepted,
            timeouts=options.timeouts,
            tls=options.tls,
            own=self.own,
            peer=self.peer,
            host=self.bearer_host(),
            setup=options.setup,
            secured=self.agreement.peer.proto.secured,
        )

    def exchange(self) -> Exchange:
        """The descriptions of the first offer and answer."""
        raise NotImplementedError

    def session(self) -> CsbSession | None:
        """What the first exchange of keys left for CSB updates; None without TLS."""
        return None

    async def end_renewals(self) -> None:
        """No change of the connection any more."""
        if hasattr(self, "renewals"):
            await self.renewals.close()

    async def hello(self) -> None:
        """Hello and HelloAck."""
        await self.floor.hello(self._talk.timeouts.floor)

    async def request_floor(self) -> None:
        """Ask for the floor and wait until it is granted."""
        floors = self._talk.floors or self.floor_ids[:1]
        granted = await self.floor.request(floors, self._talk.timeouts.floor)
        self.show("BFCP", f"floor {', '.join(map(str, floors))} granted, request {granted.floor_request_id}")

    async def hold_floor(self) -> None:
        """Keep the floor as long as the options say."""
        await self.floor.hold(self._talk.hold)

    async def release_floor(self) -> None:
        """Give the floor back."""
        await self.floor.release(self._talk.timeouts.floor)

    async def floor_control(self, options: ConsoleOptions) -> None:
        """Do what the user or the script says; who types is told of floors, not of messages."""
        if options.script is None:
            self.floor.show = quiet
        console = Console(self.floor, self.floor_ids, options, self.show, self._talk.timeouts.floor)
        await console.run()

    async def talk(self) -> None:
        """All of them, in order: what happens while the call is up."""
        await self.connect()
        await self.secure()
        await self.hello()
        if self._talk.console is not None:
            await self.floor_control(self._talk.console)
            return
        await self.request_floor()
        await self.hold_floor()
        await self.release_floor()

    async def bye(self) -> None:
        """Hang up, then close the BFCP connection: it is not lost, it has ended."""
        self.show("SIP", "-> BYE")
        await self.call.bye(self._talk.timeouts.bye)
        self.close_connection()

    def close_connection(self) -> None:
        """Close TLS and TCP, if they are up."""
        if hasattr(self, "connection"):
            self.connection.close()
