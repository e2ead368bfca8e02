"""The MRFP as a whole: media gateway, Mp side, HTTP for operators."""

from __future__ import annotations

import asyncio
import gc
import logging

from mrf_ops.metrics import Metrics
from mrf_ops.trace import Tracer, open_sink
from mrf_protocols.tls_psk import TlsRole, make_context
from mrfp_agent.config import MrfpConfig
from mrfp_agent.endpoint import MediaNetwork
from mrfp_agent.gateway import MediaGateway
from mrfp_agent.media_network import MediaRealms, lasting_troubles
from mrfp_agent.metrics import MediaMetrics
from mrfp_agent.mp_gateway import MpGateway
from mrfp_agent.network import file_descriptors_needed, raise_file_descriptor_limit
from mrfp_agent.status_server import StatusServer

_log = logging.getLogger(__name__)


class StartError(Exception):
    """The MRFP cannot run on this host with this configuration; the text is for the operator."""


async def check_host(config: MrfpConfig) -> list[str]:
    """Look at what the configuration needs of this host; returns warnings. Raises StartError."""
    media = config.media
    troubles = await lasting_troubles(media)
    if troubles and media.check_addresses:
        raise StartError(f"media: {'; '.join(troubles)}")
    warnings = [f"media: {sentence}" for sentence in troubles]
    ports = sum(each.last - each.first + 1 for each in media.ranges())
    if ports < config.limits.terminations:
        warnings.append(f"media.ports: {ports} ports for up to {config.limits.terminations} terminations")
    needed = file_descriptors_needed(config.limits.terminations)
    limit = raise_file_descriptor_limit(needed)
    if limit < needed:
        warnings.append(f"limits.terminations needs {needed} open files, the system allows {limit}")
    return warnings


class Agent:
    """One MRFP process. `start`, then `close`; both on the event loop that serves it."""

    def __init__(self, config: MrfpConfig, loop: asyncio.AbstractEventLoop) -> None:
        """Raises OSError (trace file), TlsPskError (this Python's ssl module)."""
        self._config = config
        self._tracer = Tracer("MRFP", open_sink(config.trace.file))
        metrics = Metrics("mrfp", process=True)
        policy = config.tls.policy()
        self._realms = MediaRealms(config.media, self._service_changed, metrics)
        self._media = MediaGateway(
            config.gateway_settings(),
            MediaNetwork(loop, config.media.socket_options(), self._realms.bind),
            self._realms.ports,
            {role: make_context(role, policy) for role in TlsRole},
            MediaMetrics(metrics),
            self._tracer,
        )
        self._mp = MpGateway(
            config.mp.settings(),
            self._media.handle,
            self._tracer,
            on_registered=self._media.association_restored,
            on_lost=self._association_lost,
        )
        self._media.notify = self._mp.notify
        self._http = StatusServer(metrics, self._status, self._health, self._realms.status)

    async def start(self) -> None:
        """Check the host, listen for operators, look for an MRFC. Raises StartError."""
        for warning in await check_host(self._config):
            _log.warning("%s", warning)
        for warning in await self._realms.start():
            _log.warning("%s", warning)
        http = self._config.http
        try:
            port = await self._http.open(http.host, http.port)
        except OSError as error:
            raise StartError(f"http: cannot listen on {http.host}:{http.port}: {error.strerror}") from None
        self._mp.start()
        gc.freeze()  # what is there now stays for good: no collection need look at it again
        _log.info("up: media on %s, HTTP on port %d", ", ".join(self._config.media.hosts()), port)

    async def close(self) -> None:
        """Tell the MRFC, close every connection, stop."""
        await self._mp.close()
        released = self._media.release_everything()
        await self._realms.close()
        await self._http.close()
        self._media.association_restored()  # disarms the timer that the end of the association has set
        self._tracer.close()
        _log.info("down: %d terminations released", released)

    def _association_lost(self) -> None:
        mp = self._config.mp
        self._media.association_lost(mp.loss_grace if mp.release_without_mrfc else None)

    def _service_changed(self, available: bool) -> None:
        if available:
            _log.info("media is available again")
        else:
            _log.error("no media realm is in service: the MRFC is asked for no new calls")
        self._mp.set_available(available)

    def _health(self) -> dict[str, bool]:
        return {"registered": self._mp.registered, "media": self._realms.available}

    def _status(self) -> dict[str, int | bool]:
        return {"registered": self._mp.registered, "media": self._realms.available, **self._media.status()}
