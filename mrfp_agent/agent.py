"""The MRFP as a whole: media gateway, Mp side, HTTP for operators."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl

import msgspec

from mrf_ops import logs
from mrf_ops.config import changed_keys
from mrf_ops.metrics import Metrics
from mrf_ops.pulse import Pulse
from mrf_ops.service import Service, cannot_listen
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


LIVE = ("termination", "tls", "bfcp", "floor_control", "limits", "log")
"""Tables that a reload takes over: for terminations and conferences to come."""


UNSECURED = (
    'bfcp.unsecured = "allow": BFCP may run WITHOUT TLS, open to all on the way, where the MRFC asks for it'
)


class StartError(Exception):
    """The MRFP cannot run on this host with this configuration; the text is for the operator."""


async def check_host(config: MrfpConfig) -> list[str]:
    """Look at what the configuration needs of this host; returns warnings. Raises StartError."""
    media = config.media
    troubles = await lasting_troubles(media)
    if troubles and media.check_addresses:
        raise StartError(f"media: {'; '.join(troubles)}")
    if (files := config.mp.tls()) is not None:
        try:
            files.context(server_side=False)
        except OSError as error:
            fault = files.fault(error)
            raise StartError(f"mp.certificate, mp.key, mp.authority cannot be used: {fault}") from None
    warnings = [f"media: {sentence}" for sentence in troubles]
    if config.bfcp.unsecured == "allow":
        warnings.append(UNSECURED)
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
        self._service = Service()
        metrics = Metrics("mrfp", process=True)
        metrics.watch_tracer(self._tracer)
        self._pulse = Pulse(metrics, self._service)
        self._realms = MediaRealms(config.media, self._service_changed, metrics)
        self._network = MediaNetwork(loop, config.media.socket_options(), self._realms.bind)
        self._media = MediaGateway(
            config.gateway_settings(),
            self._network,
            self._realms.ports,
            _tls_contexts(config),
            MediaMetrics(metrics),
            self._tracer,
        )
        self._mp = MpGateway(
            config.mp.settings(),
            self._media,
            self._tracer,
            on_registered=self._media.association_restored,
            on_lost=self._association_lost,
            load=self._media.load,
        )
        self._media.notify = self._mp.notify
        registered = metrics.gauge("registered", "1 while an MRFC commands this MRFP")
        registered.set_function(lambda: float(self._mp.registered))
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
            raise StartError(cannot_listen("http.host, http.port", http.host, http.port, error)) from None
        self._mp.start()
        self._pulse.start()
        gc.freeze()  # what is there now stays for good: no collection need look at it again
        _log.info("up: media on %s, HTTP on port %d", ", ".join(self._config.media.hosts()), port)
        self._tell_ready()

    def reload(self, config: MrfpConfig) -> None:
        """Take over what can change while calls go on, and say what cannot."""
        self._service.reloading()
        changed = changed_keys(self._config, config)
        self._media.reconfigure(config.gateway_settings(), _tls_contexts(config))
        logs.setup("MRFP", config.log.level, config.log.form)
        later = [key for key in changed if key.partition(".")[0] not in LIVE]
        now = [key for key in changed if key not in later]
        _log.info("reloaded: %s", ", ".join(now) or "nothing that can change without a restart has changed")
        if config.bfcp.unsecured == "allow":
            _log.warning("%s", UNSECURED)
        if later:
            _log.warning("changed, but used only after a restart, which ends all calls: %s", ", ".join(later))
        # what waits for a restart stays "changed" at the next reload
        self._config = msgspec.structs.replace(self._config, **{name: getattr(config, name) for name in LIVE})
        self._tell_ready()

    def _tell_ready(self) -> None:
        self._service.ready(f"media on {', '.join(self._config.media.hosts())}")

    async def close(self) -> None:
        """Tell the MRFC, close every connection, stop."""
        self._service.stopping()
        self._pulse.stop()
        await self._mp.close(self._config.mp.stop_grace)
        released = self._media.release_everything()
        self._network.close()
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


def _tls_contexts(config: MrfpConfig) -> dict[TlsRole, ssl.SSLContext]:
    policy = config.tls.policy()
    return {role: make_context(role, policy) for role in TlsRole}
