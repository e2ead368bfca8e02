"""What lives as long as the Kamailio process: the channel to the engine, and in one process the engine itself.

Kamailio runs the script anew when it is told to reload it, but keeps imported modules. What must outlive a reload is
therefore kept here, in this module, and not in the script.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass

from mrf_ops import logs
from mrf_ops.service import cannot_listen
from mrfc import config
from mrfc.channel import EngineChannel
from mrfc.engine import Engine
from mrfc.sip.port import Response, SipPort
from mrfc.start import unusable_certificates, unwritable_files
from mrfc.trunks.guard import Gate

log = logging.getLogger(__name__)

# Other processes cannot reload the script while a callback runs, so the loop pauses now and then. This process
# can, before a callback within a callback: see InHand.
SLICE = 0.2
RETRY = 2.0  # seconds between attempts to start the engine, for instance while its Mp port is taken


@dataclass(slots=True)
class InHand:
    """What a call into Kamailio and the callbacks within that call share.

    Kamailio may read the script anew just before such a callback, so that it finds another object of the script than
    the one that has made the call.
    """

    response: Response | None = None  # what `ksr_answer` has to send
    sending: bool = False
    followed: bool = False  # tm has asked us about the request that goes out


class Host:
    """Channel, configuration and engine of this process."""

    _shared: Host | None = None

    def __init__(self, config_path: str) -> None:
        self._config_path = config_path
        self.config = config.load(config_path)
        self.channel = EngineChannel()
        self._nonce_secret = secrets.token_bytes(32)
        self._renewed = 0
        self.gate = self._gate()
        self.in_hand = InHand()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Engine | None = None
        self._again_at = 0.0

    def _gate(self) -> Gate:
        return Gate(
            self.config.guard,
            self.config.trunk,
            self.config.sip.domain,
            self._nonce_secret,
            time.time,
            lambda: secrets.token_hex(12),
        )

    def renew(self, times: int) -> None:
        """Take over the tables guard and trunk in this process, when the engine has read them anew so many times.

        Raises ConfigError when the file has got faults since; the guard stays as it was.
        """
        if times == self._renewed:
            return
        self._renewed = times
        wanted = config.load(self._config_path)
        self.config.guard, self.config.trunk = wanted.guard, wanted.trunk
        self.gate = self._gate()

    @classmethod
    def is_made(cls) -> bool:
        """Whether this process has one already: the script is read a second time."""
        return cls._shared is not None

    @classmethod
    def shared(cls, config_path: str) -> Host:
        """The one of this process, made before Kamailio forks and inherited by every process.

        Raises ConfigError, with which Kamailio does not start.
        """
        if cls._shared is None:
            cls._shared = cls(config_path)
        return cls._shared

    @property
    def fails(self) -> bool:
        """Whether the engine was to start, in this process, and could not yet."""
        return self._engine is None and self._again_at > 0

    def log_to(self, handler: logging.Handler) -> None:
        """Log lines of this process go there, as the configuration has it."""
        logs.setup("MRFC", self.config.log.level, self.config.log.form, handler)

    def run_slice(self, sip: SipPort, log_handler: logging.Handler) -> None:
        """Run the engine's loop for a slice; the first call starts the engine, and tries again when that fails."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        if self._engine is None:
            due = time.monotonic() >= self._again_at
            self._loop.run_until_complete(self._start(sip, log_handler) if due else asyncio.sleep(SLICE))
            return
        self._engine.outgoing.inner = sip
        self._loop.call_later(SLICE, self._loop.stop)
        self._loop.run_forever()

    async def _start(self, sip: SipPort, log_handler: logging.Handler) -> None:
        self.log_to(log_handler)
        if faults := [*unwritable_files(self.config), *unusable_certificates(self.config)]:
            self._not_yet("; ".join(faults))
            return
        try:
            engine = Engine(
                self.config, self.channel, sip, log_handler, lambda: config.load(self._config_path)
            )
        except OSError as error:
            self._not_yet(str(error))
            return
        try:
            await engine.start()
        except OSError as error:
            await engine.stop()
            mp = self.config.mp
            self._not_yet(cannot_listen("mp.host, mp.port", mp.host, mp.port, error))
            return
        self._engine = engine

    def _not_yet(self, why: str) -> None:
        log.error("the engine cannot start: %s; next attempt in %.0f s", why, RETRY)
        self._again_at = time.monotonic() + RETRY
